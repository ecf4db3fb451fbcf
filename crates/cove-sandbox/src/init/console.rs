//! The terminal of the container, from its own devpts.
//!
//! Master and slave are reached by descriptor only: `/dev/pts/ptmx` is checked to be the
//! multiplexer of a devpts, the slave comes from the master (CVE-2025-52565).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcsetwinsize};

use super::devices::is_character_device;
use super::fail::{During, Step, refuse};
use super::mount::{attach, copy_of};
use super::path::{self, Links, Need};
use crate::error::InitFault;
use crate::plan::ProcessPlan;

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Both sides of a new terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a terminal in the devpts of the tree at `root`.
pub(crate) fn open(root: BorrowedFd<'_>, process: &ProcessPlan<'_>) -> Step<Terminal> {
    let text = || "open a terminal in the container's /dev/pts";
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let multiplexer = Path::new("/dev/pts/ptmx");
    let master = path::open(root, multiplexer, flags, Mode::empty(), resolve).during(text)?;
    let fs = rustix::fs::fstatfs(&master).during(text)?;
    if fs.f_type != DEVPTS_SUPER_MAGIC || !is_character_device(&master, 5, 2) {
        return refuse(
            InitFault::Hostile,
            "/dev/pts/ptmx is not a terminal multiplexer",
        );
    }
    rustix::pty::unlockpt(&master).during(text)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).during(text)?;
    if let Some((rows, columns)) = process.console_size {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).during(|| "set the size of the terminal")?;
    }
    Ok(Terminal { master, slave })
}

/// Shows the slave as `/dev/console`.
pub(crate) fn bind(root: BorrowedFd<'_>, slave: &OwnedFd) -> Step {
    let text = || "bind /dev/console";
    let target = path::target(root, Path::new("/dev/console"), Need::File, Links::Refuse)?;
    let copy = copy_of(slave, false).during(text)?;
    attach(&copy, &target).during(text)
}

/// Makes the slave the controlling terminal of this session.
pub(crate) fn control(slave: impl AsFd) -> Step {
    rustix::process::ioctl_tiocsctty(slave).during(|| "take the controlling terminal")
}
