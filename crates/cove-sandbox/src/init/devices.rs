//! Device nodes and the links every `/dev` has.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;

use super::fail::{During, Step, refuse};
use super::mount::attach;
use super::path::{self, Links};
use crate::error::InitFault;
use crate::plan::{Plan, clean};

/// Path, major, minor of what every container has, with mode 0666.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The multiplexer of the container's own terminals, whoever lists another.
const MULTIPLEXER: (&str, &str) = ("/dev/ptmx", "pts/ptmx");

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    MULTIPLEXER,
];

/// A node to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    pub path: &'a Path,
    pub kind: FileType,
    pub major: u32,
    pub minor: u32,
    pub mode: Mode,
    /// As the container sees it.
    pub owner: (u32, u32),
}

impl Node<'_> {
    /// What `st_rdev` tells of it.
    pub(crate) fn number(&self) -> u64 {
        match self.kind {
            FileType::Fifo => 0,
            _ => makedev(self.major, self.minor),
        }
    }

    /// Whether only the owner of the host can make it.
    pub(crate) fn is_device(&self) -> bool {
        self.kind != FileType::Fifo
    }

    /// Whether it is one of those that every container has, whatever its name is.
    pub(crate) fn is_default(&self) -> bool {
        let number = (self.major, self.minor);
        self.kind == FileType::CharacterDevice
            && DEFAULT
                .iter()
                .any(|&(_, major, minor)| (major, minor) == number)
    }

    fn text(&self) -> String {
        format!("make device {}", self.path.display())
    }
}

/// The nodes of `linux.devices`, and the default ones that it does not name: what engines list of
/// the host's `/dev` has the host's modes and owners. What the runtime makes itself, or a mount
/// brings, is passed over.
pub(crate) fn nodes<'a>(plan: &'a Plan<'_>) -> Step<Vec<Node<'a>>> {
    let listed = plan
        .linux
        .and_then(|linux| linux.devices().as_deref())
        .unwrap_or_default();
    let mut nodes = Vec::with_capacity(listed.len() + DEFAULT.len());
    if !listed.is_empty() {
        let mounted: Vec<_> = plan.mounts.iter().map(|entry| clean(entry.dest)).collect();
        for device in listed {
            let place = clean(device.path());
            if place != Path::new(MULTIPLEXER.0) && !mounted.contains(&place) {
                nodes.push(node(device)?);
            }
        }
    }
    for (path, major, minor) in DEFAULT {
        let path = Path::new(path);
        if !listed.iter().any(|device| device.path() == path) {
            nodes.push(Node {
                path,
                kind: FileType::CharacterDevice,
                major,
                minor,
                mode: Mode::from_raw_mode(0o666),
                owner: (0, 0),
            });
        }
    }
    Ok(nodes)
}

fn node(device: &LinuxDevice) -> Step<Node<'_>> {
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            let text = format!("device {} has no type", device.path().display());
            return refuse(InitFault::Setup, text);
        }
    };
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    Ok(Node {
        path: device.path(),
        kind,
        major: number(device.major()),
        minor: number(device.minor()),
        mode: Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777),
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    })
}

/// Makes the nodes, and the links that every `/dev` has, in one that is the container's own.
/// `ready` has, in the order of the nodes, a mount of each that the container may not make itself.
pub(crate) fn make(
    root: BorrowedFd<'_>,
    nodes: &[Node<'_>],
    mut ready: Option<Vec<Option<OwnedFd>>>,
) -> Step {
    let dev = directory(root)?;
    for (index, node) in nodes.iter().enumerate() {
        let elsewhere;
        let (above, name) = match (node.path.parent(), node.path.file_name()) {
            (Some(above), Some(name)) if above == Path::new("/dev") => (dev.as_fd(), name),
            _ => {
                let (above, name) = path::parent(root, node.path, Links::Inside)?;
                elsewhere = above;
                (elsewhere.as_fd(), name)
            }
        };
        let ready = ready.as_mut().and_then(|all| all.get_mut(index)?.take());
        match ready {
            Some(mount) => bind(above, name, &mount).during(|| node.text())?,
            None => one(above, name, node)?,
        }
    }
    for (path, to) in LINKS {
        let path = Path::new(path);
        if !nodes.iter().any(|node| node.path == path) {
            link(dev.as_fd(), path, to)?;
        }
    }
    Ok(())
}

fn directory(root: BorrowedFd<'_>) -> Step<OwnedFd> {
    let dev = Path::new("/dev");
    match path::locate(root, dev, Links::Refuse, OFlags::DIRECTORY) {
        Ok(found) => Ok(found),
        Err(Errno::LOOP) => refuse(InitFault::Hostile, "/dev is a symbolic link"),
        Err(Errno::NOENT) => path::target(root, dev, path::Need::Directory, Links::Refuse),
        Err(error) => Err(error).during(|| "open /dev in the container"),
    }
}

fn link(dev: BorrowedFd<'_>, path: &Path, to: &str) -> Step {
    let text = || format!("link {}", path.display());
    let name = path.file_name().unwrap_or_default();
    match rustix::fs::symlinkat(to, dev, name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let found = rustix::fs::readlinkat(dev, name, Vec::new());
            if found.is_ok_and(|found| found.as_bytes() == to.as_bytes()) {
                return Ok(());
            }
            // What an image left there, be it a file or another link, gives way.
            match rustix::fs::unlinkat(dev, name, AtFlags::empty()) {
                // Something is mounted there, by the user's will.
                Err(Errno::BUSY | Errno::ISDIR) => Ok(()),
                Err(error) => Err(error).during(text),
                Ok(()) => rustix::fs::symlinkat(to, dev, name).during(text),
            }
        }
        Err(error) => Err(error).during(text),
    }
}

fn one(above: BorrowedFd<'_>, name: &OsStr, node: &Node<'_>) -> Step {
    match rustix::fs::mknodat(above, name, node.kind, node.mode, node.number()) {
        Ok(()) => {}
        Err(Errno::EXIST) => return matches(above, name, node),
        Err(error) => return Err(error).during(|| node.text()),
    }
    if node.owner != (0, 0) {
        let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(above, name, Some(uid), Some(gid), flags).during(|| node.text())?;
    }
    Ok(())
}

/// The specification: a file that is there must be the device asked for.
fn matches(above: BorrowedFd<'_>, name: &OsStr, node: &Node<'_>) -> Step {
    let shown = name.to_string_lossy();
    let stat = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW)
        .during(|| format!("examine device {shown}"))?;
    if path::kind(&stat) == node.kind && (!node.is_device() || stat.st_rdev == node.number()) {
        return Ok(());
    }
    refuse(
        InitFault::Hostile,
        format!("device {shown} exists already and is something else"),
    )
}

fn bind(above: BorrowedFd<'_>, name: &OsStr, mount: &OwnedFd) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o644);
    match rustix::fs::mknodat(above, name, FileType::RegularFile, mode, 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(above, name, flags, Mode::empty())?;
    if path::kind(&rustix::fs::fstat(&target)?) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    attach(mount, &target)
}

/// Whether what `fd` refers to is the device `major:minor`.
pub(crate) fn is_character_device(fd: impl AsFd, major: u32, minor: u32) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        path::kind(&stat) == FileType::CharacterDevice && stat.st_rdev == makedev(major, minor)
    })
}
