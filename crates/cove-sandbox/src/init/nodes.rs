//! The device nodes of a container in a user namespace, which may not make its own.
//!
//! The creator makes them, in a filesystem of the container's alone: nothing that its root does to
//! them is seen elsewhere, and they are found by number, whatever the host calls them. Where the
//! creator may not make any either, the host's own are shown by read-only mounts, which devices can
//! be written through all the same.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_sys::mountattr::attr;
use oci_spec::runtime::LinuxIdMapping;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Uid, lstat, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};

use super::devices::{Node, nodes};
use super::fail::{During, Step, refuse};
use super::mount::{attributes_of, files_of, make_read_only};
use crate::error::InitFault;
use crate::plan::{Plan, filled};

/// Where the nodes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A filesystem that the creator made, mounted nowhere yet.
    Own(OwnedFd),
    /// Mounts of the host's, in the order of the nodes.
    Host(Vec<Option<OwnedFd>>),
}

impl Source {
    /// While the host's tree is in sight.
    pub(crate) fn new(plan: &Plan<'_>, own: Option<OwnedFd>) -> Step<Self> {
        match own {
            Some(mount) => Ok(Self::Own(mount)),
            None => Ok(Self::Host(
                nodes(plan)?.iter().map(of_host).collect::<Step<_>>()?,
            )),
        }
    }

    /// A mount of each node that is a device.
    pub(crate) fn mounts(
        self,
        root: BorrowedFd<'_>,
        nodes: &[Node<'_>],
    ) -> Step<Vec<Option<OwnedFd>>> {
        match self {
            Self::Host(mounts) => Ok(mounts),
            Self::Own(filesystem) => {
                let names = nodes
                    .iter()
                    .zip(0u32..)
                    .map(|(node, index)| node.is_device().then(|| index.to_string()));
                files_of(&filesystem, root, names).during(|| "open the device nodes")
            }
        }
    }
}

/// The creator's part: a filesystem with the devices, each under its index. `None` where it may
/// not make devices.
pub(crate) fn filesystem(plan: &Plan<'_>) -> Step<Option<OwnedFd>> {
    let nodes = nodes(plan)?;
    let faces = nodes.iter().map(|node| face(plan, node));
    let faces = faces.collect::<Step<Vec<_>>>()?;
    // The modes are those asked for, whatever the caller's umask is.
    let umask = rustix::process::umask(Mode::empty());
    let made = make(plan, &nodes, &faces);
    rustix::process::umask(umask);
    match made {
        Ok(mount) => Ok(Some(mount)),
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error).during(|| "make device nodes for a user namespace"),
    }
}

/// Mode and owner of a node, on the host.
#[derive(Debug, Clone, Copy)]
struct Face {
    mode: Mode,
    owner: (u32, u32),
}

/// What everybody on the host may read and write is the container's as it asks for it. Of anything
/// else it gets what the host's own node would give it: a user namespace keeps its root from the
/// disks also where an engine lists all devices.
fn face(plan: &Plan<'_>, node: &Node<'_>) -> Step<Face> {
    let joined = plan.namespaces.joins(cove_sys::ns::USER);
    let open = |mode: u32| mode & 0o6 == 0o6;
    let wished = || {
        let maps =
            |maps: Option<&Vec<LinuxIdMapping>>, id| outside(id, maps.map_or(&[], Vec::as_slice));
        let linux = plan.linux;
        let uids = linux.and_then(|linux| linux.uid_mappings().as_ref());
        let gids = linux.and_then(|linux| linux.gid_mappings().as_ref());
        Face {
            mode: node.mode,
            owner: (maps(uids, node.owner.0), maps(gids, node.owner.1)),
        }
    };
    if !node.is_device() || (node.is_default() && !joined) {
        return Ok(wished());
    }
    let (_, stat) = find(node)?;
    // What maps a namespace that others made is not known here.
    if open(stat.st_mode) && !joined {
        return Ok(wished());
    }
    Ok(Face {
        mode: Mode::from_raw_mode(stat.st_mode & 0o7777),
        owner: (stat.st_uid, stat.st_gid),
    })
}

fn make(plan: &Plan<'_>, nodes: &[Node<'_>], faces: &[Face]) -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Searched by the container's root, to whom it does not belong.
    fsconfig_set_string(&fs, "mode", "711")?;
    if let Some(label) = filled(plan.linux.and_then(|linux| linux.mount_label().as_ref())) {
        fsconfig_set_string(&fs, "context", label)?;
    }
    fsconfig_create(&fs)?;
    let flags = attributes_of(attr::NOSUID | attr::NOEXEC);
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    for ((node, face), index) in nodes.iter().zip(faces).zip(0u32..) {
        if !node.is_device() {
            continue;
        }
        let name = index.to_string();
        mknodat(&mount, &name, node.kind, face.mode, node.number())?;
        if face.owner != (0, 0) {
            let (uid, gid) = (Uid::from_raw(face.owner.0), Gid::from_raw(face.owner.1));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&mount, &name, Some(uid), Some(gid), flags)?;
        }
    }
    Ok(mount)
}

/// An id of the container on the host. One that it does not have leaves the node to the host's
/// root, and so to nobody inside.
fn outside(id: u32, maps: &[LinuxIdMapping]) -> u32 {
    let host = |map: &LinuxIdMapping| {
        let offset = id.checked_sub(map.container_id())?;
        (offset < map.size()).then(|| map.host_id().checked_add(offset))?
    };
    maps.iter().find_map(host).unwrap_or(0)
}

fn of_host(node: &Node<'_>) -> Step<Option<OwnedFd>> {
    if !node.is_device() {
        return Ok(None);
    }
    let (path, _) = find(node)?;
    let text = || format!("open the host's device {}", path.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, &path, flags | OpenTreeFlags::AT_SYMLINK_NOFOLLOW).during(text)?;
    if !rustix::fs::fstat(&mount).is_ok_and(|stat| is_it(node, &stat)) {
        return refuse(
            InitFault::Setup,
            format!("{}: it is not the same any more", text()),
        );
    }
    make_read_only(&mount).during(text)?;
    Ok(Some(mount))
}

/// The host's node with this number, most likely of the same name.
fn find(node: &Node<'_>) -> Step<(PathBuf, Stat)> {
    const DEEPEST: u32 = 8;
    if let Ok(stat) = lstat(node.path)
        && is_it(node, &stat)
    {
        return Ok((node.path.to_owned(), stat));
    }
    match below(Path::new("/dev"), node, DEEPEST) {
        Some(found) => Ok(found),
        None => refuse(
            InitFault::Setup,
            format!(
                "device {} in a user namespace: the host has none with its number",
                node.path.display()
            ),
        ),
    }
}

fn below(directory: &Path, node: &Node<'_>, depth: u32) -> Option<(PathBuf, Stat)> {
    let mut deeper = Vec::new();
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        match lstat(&path) {
            Ok(stat) if is_it(node, &stat) => return Some((path, stat)),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                deeper.push(path);
            }
            // Devices come and go.
            Ok(_) | Err(_) => {}
        }
    }
    let depth = depth.checked_sub(1)?;
    deeper.iter().find_map(|path| below(path, node, depth))
}

fn is_it(node: &Node<'_>, stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == node.kind && stat.st_rdev == node.number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_container_on_the_host() {
        let map = |inside, outside, size| {
            serde_json::from_value(
                serde_json::json!({"containerID": inside, "hostID": outside, "size": size}),
            )
            .unwrap()
        };
        let maps = [map(0, 100_000, 10), map(10, 5, 1)];
        for (inside, wanted) in [(0, 100_000), (9, 100_009), (10, 5), (11, 0)] {
            assert_eq!(outside(inside, &maps), wanted, "{inside}");
        }
        assert_eq!(outside(3, &[map(0, u32::MAX, 9)]), 0);
    }
}
