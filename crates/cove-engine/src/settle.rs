//! Writing back what a pull brought, after it was acknowledged: a process of
//! its own does it, so that nobody waits, and ends.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use cove_storage::Store;
use cove_sys::spawn::spawn_session;

use crate::{Engine, Roots};

/// The name under which the binary settles: its `argv[0]`.
pub const ARGV0: &str = "cove-settle";

impl Engine {
    /// Starts the process. It is our child until we end.
    pub(crate) fn settle_later(&self) {
        // Without it the layers are as durable, and the next one settles them.
        let _settled_later = self.start_settling();
    }

    fn start_settling(&self) -> io::Result<()> {
        let exe = File::open("/proc/self/exe")?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let null = null.as_fd();
        let Roots { root, runroot } = &self.roots;
        let argv = [ARGV0.as_ref(), root.as_os_str(), runroot.as_os_str()]
            .map(|word| CString::new(word.as_bytes()));
        let argv = argv.into_iter().collect::<Result<Vec<_>, _>>()?;
        spawn_session(exe.as_fd(), &argv, &[], &[null, null, null]).map(drop)
    }
}

/// Settles an installation, the words of whose directories are `args`; returns
/// the exit status of the process. For a binary whose `argv[0]` is [`ARGV0`].
#[must_use]
pub fn main(args: &[OsString]) -> i32 {
    let [root, runroot] = args else {
        eprintln!("{ARGV0}: this is started by cove, not by hand");
        return 125;
    };
    // No directory of the caller's stays in use; ours are absolute.
    let _stays_there = rustix::process::chdir("/");
    let settled = Store::open(root.as_ref(), runroot.as_ref()).and_then(|store| store.settle());
    // Nobody listens; `system fsck` tells what stays.
    i32::from(settled.is_err())
}
