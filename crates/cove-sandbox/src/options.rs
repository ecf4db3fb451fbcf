//! What a caller chooses beside the specification when it creates a container or executes in one.

use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where the first process gets its standard streams from when it has no terminal.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's descriptors 0, 1 and 2.
    #[default]
    Inherit,
    /// Three descriptors that become 0, 1 and 2.
    Fds([OwnedFd; 3]),
}

/// What happens to the master side of the terminal if `process.terminal` asks for one.
#[derive(Debug, Default)]
pub enum Console<'a> {
    /// It is returned in [`Created::console`](crate::Created) or [`ExecChild::console`](crate::ExecChild).
    #[default]
    Return,
    /// As [`Console::Return`], and line ends leave the terminal as the program writes them: for a
    /// caller in the foreground, whose own terminal or file has its ways with them.
    Foreground,
    /// It is sent over this Unix socket (`--console-socket`).
    Socket(&'a Path),
}

/// Who makes the cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManagerChoice {
    /// Cove, by writing to the cgroup filesystem.
    #[default]
    Fs,
    /// systemd, asked over its bus (`--systemd-cgroup`); `cgroupsPath` reads `slice:prefix:name`.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup and resource limits are refused.
    None,
}

/// How the init learns that it may execute the user's program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartMode {
    /// Any process can start the container later, also after the creator is gone: the init
    /// listens on a socket in the container's state directory.
    #[default]
    Detached,
    /// Only the [`Created`](crate::Created) value can; the init dies with it. Fewer system calls,
    /// for a caller that starts at once. The container's lock is held until then.
    Direct,
}

/// Choices for [`create`](crate::create).
#[derive(Debug)]
pub struct CreateOptions<'a> {
    /// Name of the container: letters, digits and `_+-.`, unique under `state_root`.
    pub id: &'a str,
    /// The bundle: relative root and mount sources resolve against it, and hooks learn it.
    pub bundle: &'a Path,
    /// Directory on tmpfs in which `<id>/` is made.
    pub state_root: &'a Path,
    /// A detached mount that becomes the root filesystem instead of `root.path`.
    pub rootfs: Option<OwnedFd>,
    /// Standard streams without a terminal.
    pub stdio: Stdio,
    /// Where the terminal's master goes.
    pub console: Console<'a>,
    /// Written with the pid of the init, atomically.
    pub pid_file: Option<&'a Path>,
    /// A Unix socket over which a pidfd of the init is sent.
    pub pidfd_socket: Option<&'a Path>,
    /// How many descriptors from 3 on the program inherits beside `LISTEN_FDS`.
    pub preserve_fds: u32,
    /// How many of the descriptors from 3 on are sockets handed over by socket activation; they are
    /// inherited too and announced to the program as `LISTEN_FDS`.
    pub listen_fds: u32,
    /// Use `MS_MOVE` and chroot where the host's root cannot be pivoted (initramfs).
    pub no_pivot: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who makes the cgroup.
    pub cgroup: CgroupManagerChoice,
    /// How many of the last components of `cgroupsPath` are the caller's own:
    /// the last of its containers takes them away.
    pub cgroup_owned: usize,
    /// Make [`NOTIFY_DIRECTORY`](crate::NOTIFY_DIRECTORY) in the container's state directory, for
    /// the specification to mount.
    pub notify: bool,
    /// How the container is started.
    pub start: StartMode,
}

impl<'a> CreateOptions<'a> {
    /// The defaults of `run`: inherit standard streams, own cgroup, pivot, detached start.
    #[must_use]
    pub fn new(id: &'a str, bundle: &'a Path, state_root: &'a Path) -> Self {
        Self {
            id,
            bundle,
            state_root,
            rootfs: None,
            stdio: Stdio::Inherit,
            console: Console::Return,
            pid_file: None,
            pidfd_socket: None,
            preserve_fds: 0,
            listen_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
            cgroup: CgroupManagerChoice::Fs,
            cgroup_owned: 0,
            notify: false,
            start: StartMode::Detached,
        }
    }
}

/// Choices for [`Container::exec`](crate::Container::exec).
#[derive(Debug, Default)]
pub struct ExecOptions<'a> {
    /// Standard streams without a terminal.
    pub stdio: Stdio,
    /// Where the terminal's master goes.
    pub console: Console<'a>,
    /// Written with the pid of the new process, atomically.
    pub pid_file: Option<&'a Path>,
    /// A Unix socket over which a pidfd of the new process is sent.
    pub pidfd_socket: Option<&'a Path>,
    /// How many descriptors from 3 on the program inherits.
    pub preserve_fds: u32,
    /// A cgroup below the container's in which the process starts, relative to it.
    pub cgroup: Option<&'a str>,
    /// What the caller hands on to any child of its is not handed on: limits that the process does
    /// not name are those of the init, and priorities the defaults.
    pub as_init: bool,
    /// Execute although the container is paused (the process then stays frozen until resumed).
    pub ignore_paused: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Once it is readable the process is not waited for any longer than a start usually takes.
    pub interrupt: Option<BorrowedFd<'a>>,
}
