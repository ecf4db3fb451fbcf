//! Device nodes and the links every `/dev` has.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::fail::{During, Step, refuse};
use super::mount::attach;
use super::path::{self, Links};
use crate::error::InitFault;

/// Name, major, minor of what every container has, with mode 0666.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// A node to make.
#[derive(Debug, Clone, Copy)]
struct Node {
    kind: FileType,
    major: u32,
    minor: u32,
    mode: Mode,
    owner: Option<(u32, u32)>,
}

/// Detached copies of the host's nodes, for a container that may not make its own.
pub(crate) type HostNodes = Vec<(String, OwnedFd)>;

/// Opens the host's nodes while its tree is in sight.
pub(crate) fn host_nodes(devices: &[LinuxDevice]) -> Step<HostNodes> {
    let names = DEFAULT.iter().map(|(name, ..)| format!("/dev/{name}"));
    let own = devices
        .iter()
        .map(|device| device.path().to_string_lossy().into_owned());
    let mut nodes: HostNodes = Vec::new();
    for name in names.chain(own) {
        if nodes.iter().any(|(seen, _)| *seen == name) {
            continue;
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount =
            open_tree(CWD, &name, flags).during(|| format!("open the host's device {name}"))?;
        nodes.push((name, mount));
    }
    Ok(nodes)
}

/// Makes the default nodes and links in a `/dev` that is the container's own.
pub(crate) fn defaults(root: BorrowedFd<'_>, host: Option<&HostNodes>) -> Step {
    let text = || "open /dev in the container";
    let dev = match path::locate(root, Path::new("/dev"), Links::Refuse, OFlags::DIRECTORY) {
        Ok(dev) => dev,
        Err(Errno::LOOP) => return refuse(InitFault::Hostile, "/dev is a symbolic link"),
        Err(Errno::NOENT) => path::target(
            root,
            Path::new("/dev"),
            path::Need::Directory,
            Links::Refuse,
        )?,
        Err(error) => return Err(error).during(text),
    };
    for (name, major, minor) in DEFAULT {
        let mode = Mode::from_raw_mode(0o666);
        let node = Node {
            kind: FileType::CharacterDevice,
            major,
            minor,
            mode,
            owner: None,
        };
        one(
            dev.as_fd(),
            OsStr::new(name),
            &node,
            Path::new("/dev"),
            host,
        )?;
    }
    for (name, to) in LINKS {
        link(dev.as_fd(), name, to)?;
    }
    link(dev.as_fd(), "ptmx", "pts/ptmx")
}

fn link(dev: BorrowedFd<'_>, name: &str, to: &str) -> Step {
    let text = || format!("link /dev/{name}");
    match rustix::fs::symlinkat(to, dev, name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let found = rustix::fs::readlinkat(dev, name, Vec::new());
            if found.is_ok_and(|found| found.as_bytes() == to.as_bytes()) {
                return Ok(());
            }
            // What an image left there, be it a file or another link, gives way.
            rustix::fs::unlinkat(dev, name, AtFlags::empty()).during(text)?;
            rustix::fs::symlinkat(to, dev, name).during(text)
        }
        Err(error) => Err(error).during(text),
    }
}

/// Makes the nodes of `linux.devices`.
pub(crate) fn listed(
    root: BorrowedFd<'_>,
    devices: &[LinuxDevice],
    host: Option<&HostNodes>,
) -> Step {
    for device in devices {
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
        let node = Node {
            kind,
            major: number(device.major()),
            minor: number(device.minor()),
            mode: Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777),
            owner: Some((device.uid().unwrap_or(0), device.gid().unwrap_or(0)))
                .filter(|owner| *owner != (0, 0)),
        };
        let (above, name) = path::parent(root, device.path(), Links::Inside)?;
        let directory = device.path().parent().unwrap_or(Path::new("/"));
        one(above.as_fd(), name, &node, directory, host)?;
    }
    Ok(())
}

fn one(
    above: BorrowedFd<'_>,
    name: &OsStr,
    node: &Node,
    directory: &Path,
    host: Option<&HostNodes>,
) -> Step {
    let full = directory.join(name);
    let text = || format!("make device {}", full.display());
    if let Some(host) = host
        && node.kind != FileType::Fifo
    {
        let wanted = full.to_string_lossy();
        let Some((_, mount)) = host.iter().find(|(path, _)| *path == wanted) else {
            return refuse(
                InitFault::Setup,
                format!("{}: the host has none to bind", text()),
            );
        };
        return bind(above, name, mount).during(text);
    }
    let number = match node.kind {
        FileType::Fifo => 0,
        _ => makedev(node.major, node.minor),
    };
    match rustix::fs::mknodat(above, name, node.kind, node.mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => return matches(above, name, node, number),
        Err(error) => return Err(error).during(text),
    }
    if let Some((uid, gid)) = node.owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(above, name, Some(uid), Some(gid), flags).during(text)?;
    }
    Ok(())
}

/// The specification: a file that is there must be the device asked for.
fn matches(above: BorrowedFd<'_>, name: &OsStr, node: &Node, number: u64) -> Step {
    let shown = name.to_string_lossy();
    let stat = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW)
        .during(|| format!("examine device {shown}"))?;
    if path::kind(&stat) == node.kind && (number == 0 || stat.st_rdev == number) {
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
