//! Writing back what a pull brought, after it was acknowledged: a process of
//! its own does it, so that nobody waits, and ends.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cove_storage::{Settler, Store};
use cove_sys::signalfd::SignalFd;
use cove_sys::spawn::spawn_session;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use crate::Engine;

/// The name under which the binary settles: its `argv[0]`. The root and the
/// settler's name follow; standard input is what it hears of errors by.
pub const ARGV0: &str = "cove-settle";
/// Before these words: another process is to do it, whose parent we are not.
const DETACHED: &str = "detached";

impl Engine {
    /// Lets the layers of a pull be settled.
    pub(crate) fn settle_later(&self, settler: &Settler) {
        let words = [
            OsStr::new(DETACHED),
            self.roots.root.as_os_str(),
            OsStr::new(settler.name()),
        ];
        // Without it the layers are as durable, and their logs stay.
        if let Ok(pid) = spawn(&words, settler.hears().as_fd()) {
            // A command that goes on, such as `run`, has no child that ends beside it.
            let _status = waitpid(Pid::from_raw(pid), WaitOptions::empty());
        }
    }
}

fn spawn(words: &[&OsStr], stdin: BorrowedFd<'_>) -> io::Result<i32> {
    let exe = File::open("/proc/self/exe")?;
    let null = File::options().write(true).open("/dev/null")?;
    let argv = [OsStr::new(ARGV0)];
    let argv = argv.iter().chain(words);
    let argv = argv.map(|word| CString::new(word.as_bytes()));
    let argv = argv.collect::<Result<Vec<_>, _>>()?;
    spawn_session(
        exe.as_fd(),
        &argv,
        &[],
        &[stdin, null.as_fd(), null.as_fd()],
    )
}

/// What a binary does that was started as [`ARGV0`]; returns its exit status.
#[must_use]
pub fn main(args: &[OsString]) -> i32 {
    let hears = io::stdin();
    let done = match args {
        [detached, root, name] if detached == DETACHED => {
            spawn(&[root, name], hears.as_fd()).is_ok()
        }
        [root, name] => settle(root.as_ref(), &name.to_string_lossy(), hears.as_fd()),
        _ => {
            eprintln!("{ARGV0}: this is started by cove, not by hand");
            return 125;
        }
    };
    i32::from(!done)
}

/// Whether it is settled: nobody listens to why not, and the logs stay then.
fn settle(root: &Path, name: &str, hears: BorrowedFd<'_>) -> bool {
    // It ends soon, by itself: the end of a session or a service need not end it.
    let signals = [Signal::TERM, Signal::HUP, Signal::INT].map(Signal::as_raw);
    let _blocked = SignalFd::block(&signals);
    // No directory of the caller's stays in use; the root is absolute.
    let _stays_there = rustix::process::chdir("/");
    // One that was removed meanwhile is not made again.
    root.join("layers").is_dir()
        && Store::open(root).is_ok_and(|store| store.settle(name, hears).is_ok())
}
