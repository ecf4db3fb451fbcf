//! The supervisor's side of stdio: FIFOs that the container holds open too, or
//! the master of its terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cove_model::control::{Stream, TerminalSize};
use cove_sys::mountattr::{MountAttr, attr, mount_setattr};
use rustix::fs::{AtFlags, Mode, OFlags, chmodat, mkfifoat, openat};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::config::Config;
use crate::logs::LogStream;
use crate::paths;
use crate::workload::ContainerStdio;

/// More than the usual 64 KiB, for fewer switches between writer and reader.
/// The kernel only takes pages that are written to.
const PIPE_SIZE: usize = 256 * 1024;

/// One output that is read.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) log: LogStream,
    pub(super) stream: Stream,
    /// It is watched.
    pub(super) watched: bool,
    /// Nobody has the terminal open at the moment, which the kernel goes on saying.
    pub(super) deserted: bool,
    /// Everybody who could write to it is gone.
    pub(super) ended: bool,
}

impl Output {
    fn new(fd: OwnedFd, log: LogStream, stream: Stream) -> Self {
        Self {
            fd,
            log,
            stream,
            watched: false,
            deserted: false,
            ended: false,
        }
    }

    /// What `read` gives when nothing will come any more: 0 of a FIFO, EIO of a terminal.
    pub(super) fn is_end(result: &Result<usize, rustix::io::Errno>) -> bool {
        matches!(result, Ok(0) | Err(rustix::io::Errno::IO))
    }
}

/// Makes the FIFOs that are not there yet and opens the reading ends.
pub(super) fn open_outputs(dir: BorrowedFd<'_>) -> io::Result<Vec<Output>> {
    let mut outputs = Vec::with_capacity(2);
    for (name, log, stream) in [
        (paths::STDOUT, LogStream::Stdout, Stream::Stdout),
        (paths::STDERR, LogStream::Stderr, Stream::Stderr),
    ] {
        make_fifo(dir, name)?;
        let fd = open(dir, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        // An unprivileged user may have no share of pipe memory left; then it stays as it is.
        rustix::pipe::fcntl_setpipe_size(&fd, PIPE_SIZE).unwrap_or(0);
        outputs.push(Output::new(fd, log, stream));
    }
    Ok(outputs)
}

/// The master of a terminal as the only output.
pub(super) fn console_output(console: &OwnedFd) -> io::Result<Vec<Output>> {
    let flags = rustix::fs::fcntl_getfl(console)?;
    rustix::fs::fcntl_setfl(console, flags | OFlags::NONBLOCK)?;
    Ok(vec![Output::new(
        console.try_clone()?,
        LogStream::Stdout,
        Stream::Stdout,
    )])
}

/// The container's side, and the writing end of its stdin.
pub(super) fn container_side(
    dir: BorrowedFd<'_>,
    config: &Config,
    size: Option<TerminalSize>,
) -> io::Result<(ContainerStdio, Option<OwnedFd>)> {
    if config.tty {
        return Ok((ContainerStdio::Terminal { size }, None));
    }
    let view = read_only(dir).ok();
    let view = view.as_ref().map_or(dir, |view| view.as_fd());
    let (stdin, writer) = if config.open_stdin {
        make_fifo(dir, paths::STDIN)?;
        // The reader first: a writer without one is refused. It must not read and write,
        // or the container would hold its own stdin open for ever.
        let reader = open(view, paths::STDIN, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let writer = open(dir, paths::STDIN, OFlags::WRONLY | OFlags::NONBLOCK)?;
        rustix::fs::fcntl_setfl(&reader, OFlags::empty())?;
        (reader, Some(writer))
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        (rustix::fs::open("/dev/null", flags, Mode::empty())?, None)
    };
    let stdio = ContainerStdio::Pipes {
        stdin,
        stdout: open(view, paths::STDOUT, OFlags::RDWR)?,
        stderr: open(view, paths::STDERR, OFlags::RDWR)?,
    };
    Ok((stdio, writer))
}

/// Sets the size of a terminal.
pub(super) fn resize(console: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(console, size)?)
}

/// The directory by a read-only mount of its own. A FIFO is written through it all the same, but the
/// container, which reaches it as `/proc/self/fd/1`, cannot change the mode, the owner or the times
/// of the host's node; nor make the mount writable, whose root it does not reach. Without the
/// privilege to mount there is none, nor a container that may more than its caller.
fn read_only(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(dir, "", flags)?;
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(&mount, false, &change)?;
    Ok(mount)
}

/// Whoever runs in the container may open it again by name (`/dev/stdout`); on the host nobody else
/// gets into the directory.
fn make_fifo(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match mkfifoat(dir, name, Mode::RUSR | Mode::WUSR) {
        Ok(()) => Ok(chmodat(
            dir,
            name,
            Mode::from_raw_mode(0o666),
            AtFlags::empty(),
        )?),
        Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(
        dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
