//! Copies into and out of an instance, as tar archives.
//!
//! The instance may be hostile and running: a path of its own is resolved by
//! the kernel beneath a descriptor of its root, as the instance would see it,
//! and what was found is held as a descriptor. Nothing of it is executed,
//! loaded or read for configuration, except its user database for `archive`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_model::event::InstanceChange;
use cove_model::instance::Record;
pub use cove_storage::{Extract, Owner, extract, pack};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Instances;
use crate::error::{Error, Result};
use crate::users::Accounts;

/// What a path in an instance names; a symbolic link is not followed, unless
/// the path ends with `/` or `/.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last component; `/` for the root, `.` where the path ends so.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Type and permissions as stat(2) has them.
    pub mode: u32,
    /// Of the last change of content: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Where a symbolic link leads, all links on the way followed inside the
    /// instance: absolute there. It need not exist.
    pub link_target: Option<String>,
}

impl PathStat {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// Whether it is a device node.
    #[must_use]
    pub fn is_device(&self) -> bool {
        let kind = FileType::from_raw_mode(self.mode);
        matches!(kind, FileType::BlockDevice | FileType::CharacterDevice)
    }
}

impl Instances<'_> {
    /// What `path` names in an instance, running or not.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing is there.
    pub fn stat_path(&self, record: &Record, path: &str) -> Result<PathStat> {
        let root = self.view_of(record)?;
        let missing = |errno| failure(record, path, errno);
        let place = Place::find(root.as_fd(), path).map_err(missing)?;
        let stat = place.stat().map_err(missing)?;
        let link_target = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            Some(evaluate(root.as_fd(), path).map_err(missing)?)
        } else {
            None
        };
        Ok(PathStat {
            name: base_name(path).to_owned(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode,
            mtime: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            link_target,
        })
    }

    /// Writes what `path` names in an instance, and what is beneath it, as an
    /// archive whose first member is called `base`: `.` for a directory whose
    /// contents are wanted rather than itself. Unless `links`, what is a
    /// symbolic link by now is not copied. Returns what was left out.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing is there; when a file cannot be read
    /// or `out` takes no more.
    pub fn copy_out(
        &self,
        record: &Record,
        path: &str,
        base: &str,
        links: bool,
        out: impl Write,
    ) -> Result<Vec<String>> {
        let root = self.view_of(record)?;
        let missing = |errno| failure(record, path, errno);
        let place = Place::find(root.as_fd(), path).map_err(missing)?;
        let handle = place.handle().map_err(missing)?;
        if cove_storage::kernel::has(&handle).map_err(missing)? {
            return Err(kernel_file(record, path));
        }
        let what = shown(record, path);
        let base = base.as_bytes();
        let packed = pack(&place.parent, place.name(), base, links, &what, out);
        let packed = packed.map_err(Error::Storage)?;
        if packed.found {
            self.note(record, InstanceChange::CopyOut);
            Ok(packed.skipped)
        } else {
            // It was removed or replaced this very moment.
            Err(failure(record, path, Errno::NOENT))
        }
    }

    /// Extracts an archive, which may be compressed, into an
    /// existing directory of an instance. Everything belongs to whom the
    /// archive says; with `archive` to the instance's user, if it has one.
    /// Returns what was left out.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the directory is not there; when it cannot be
    /// written, or the archive is damaged or at odds with what is there.
    pub fn copy_in(
        &self,
        record: &Record,
        directory: &str,
        reader: impl Read,
        archive: bool,
    ) -> Result<Vec<String>> {
        let root = self.view_of(record)?;
        let fail = |errno| failure(record, directory, errno);
        let inside = clean(directory);
        let target = match open_inside(root.as_fd(), &inside, OFlags::DIRECTORY) {
            Err(Errno::NOTDIR) => {
                return Err(Error::Invalid(
                    "extraction point is not a directory".to_owned(),
                ));
            }
            other => other.map_err(fail)?,
        };
        if cove_storage::kernel::has(&target).map_err(fail)? {
            return Err(kernel_file(record, directory));
        }
        check_writable(record, &target).map_err(fail)??;
        let owner = if archive && !record.spec.run.user.is_empty() {
            let identity = Accounts::read(root.as_fd())?.identify(&record.spec.run.user, &[])?;
            Owner::Fixed(identity.uid, identity.gid)
        } else {
            Owner::Archive
        };
        let follow = |path: &[u8]| -> io::Result<OwnedFd> {
            let path = [inside.as_bytes(), path].join(&b'/');
            Ok(open_inside(root.as_fd(), &*path, OFlags::DIRECTORY)?)
        };
        let options = Extract {
            owner,
            devices: true,
            follow: Some(&follow),
        };
        let skipped = extract(&target, &shown(record, directory), reader, &options)
            .map_err(Error::Storage)?;
        self.note(record, InstanceChange::CopyIn);
        Ok(skipped)
    }
}

/// Docker's words for a root or volume that is not to be written.
fn check_writable(record: &Record, target: &OwnedFd) -> Result<Result<()>, Errno> {
    let flags = rustix::fs::fstatvfs(target)?.f_flag;
    if !flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Ok(Ok(()));
    }
    let is_root = rustix::fs::fstatfs(target)?.f_type == OVERLAY;
    let what = if record.spec.read_only_root && is_root {
        "container rootfs"
    } else {
        "mounted volume"
    };
    Ok(Err(Error::Conflict(format!("{what} is marked read-only"))))
}

/// `statfs` type of the file system that roots are.
const OVERLAY: i64 = 0x794c_7630;

/// A name in a directory that is held open.
struct Place {
    parent: OwnedFd,
    /// Empty for the directory itself.
    name: Vec<u8>,
}

impl Place {
    /// Resolves all of a path but its last component, inside `root`.
    fn find(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Self> {
        let clean = clean(path);
        let (parent, name) = clean.rsplit_once('/').unwrap_or(("", &clean));
        let (parent, name) = if asserts_directory(path) {
            (clean.as_str(), "")
        } else {
            (parent, name)
        };
        Ok(Self {
            parent: open_inside(root, parent, OFlags::DIRECTORY)?,
            name: name.as_bytes().to_vec(),
        })
    }

    fn name(&self) -> &[u8] {
        if self.name.is_empty() {
            b"."
        } else {
            &self.name
        }
    }

    fn handle(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, self.name(), flags, Mode::empty())
    }

    fn stat(&self) -> rustix::io::Result<Stat> {
        rustix::fs::statat(&self.parent, self.name(), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Symbolic links in one path beyond which it is taken for a loop, as the
/// kernel does.
const LINKS: usize = 40;
/// A path with `..` behind a link cannot be told from an escape while anything
/// on the host is renamed; then the kernel wants to be asked again.
const ATTEMPTS: usize = 1000;

/// Opens what a path names as the instance sees it, without magic links. The
/// result is a handle: nothing happens to what is there.
pub(super) fn open_inside(
    root: BorrowedFd<'_>,
    path: impl AsRef<[u8]>,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = match path.as_ref() {
        b"" => b".",
        path => path,
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    for _ in 1..ATTEMPTS {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// The path that a path leads to inside `root`: absolute, without symbolic
/// links. It is only a text, to be resolved inside `root` again.
fn evaluate(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<String> {
    let mut done: Vec<String> = Vec::new();
    let parts = |path: &str| -> Vec<String> { path.rsplit('/').map(str::to_owned).collect() };
    let mut ahead = parts(&clean(path));
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => done.push(part),
        }
        let Some(target) = read_link(root, &done.join("/"))? else {
            continue;
        };
        links += 1;
        if links > LINKS {
            return Err(Errno::LOOP);
        }
        done.pop();
        if target.starts_with('/') {
            done.clear();
        }
        ahead.extend(parts(&target));
    }
    Ok(format!("/{}", done.join("/")))
}

fn read_link(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Option<String>> {
    let handle = match open_inside(root, path, OFlags::NOFOLLOW) {
        Ok(handle) => handle,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match rustix::fs::readlinkat(&handle, "", Vec::new()) {
        // Arguments are UTF-8, so what is not cannot be asked for either.
        Ok(target) => target.into_string().map(Some).map_err(|_| Errno::ILSEQ),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A path without `.`, `..`, double and outer slashes: `..` takes away the
/// name before it, as Docker has it.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        None | Some("") => "/",
        Some(name) => name,
    }
}

/// How errors name a place in an instance.
fn shown(record: &Record, path: &str) -> PathBuf {
    Path::new(&format!("{}:", record.name)).join(clean(path))
}

fn failure(record: &Record, path: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOENT => Error::NotFound(format!(
            "Could not find the file {path} in container {}",
            record.name
        )),
        errno => Error::File {
            action: "look at",
            path: shown(record, path),
            source: errno.into(),
        },
    }
}

fn kernel_file(record: &Record, path: &str) -> Error {
    Error::Unsupported(format!(
        "{path} in container {} is the kernel's, not the container's: it cannot be copied",
        record.name
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_resolved_inside_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/passwd"), "inside").unwrap();
        symlink("/etc", root.join("abs")).unwrap();
        symlink("../../../../../../etc", root.join("a/climb")).unwrap();
        symlink("/etc/passwd", root.join("file")).unwrap();
        symlink("/nowhere/x", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink(root.parent().unwrap(), root.join("out")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = rustix::fs::open(root, flags, Mode::empty()).unwrap();
        let fd = fd.as_fd();
        for (path, target) in [
            ("/file", "/etc/passwd"),
            ("abs/passwd", "/etc/passwd"),
            ("a/climb/passwd", "/etc/passwd"),
            ("a/../../../file", "/etc/passwd"),
            ("dangling", "/nowhere/x"),
            ("dangling/deeper", "/nowhere/x/deeper"),
            ("/", "/"),
        ] {
            assert_eq!(evaluate(fd, path).unwrap(), target, "{path}");
        }
        assert_eq!(evaluate(fd, "loop"), Err(Errno::LOOP));
        for (path, kind) in [
            ("abs", Ok(FileType::Symlink)),
            ("abs/", Ok(FileType::Directory)),
            ("abs/.", Ok(FileType::Directory)),
            ("abs/passwd", Ok(FileType::RegularFile)),
            ("a/climb/passwd", Ok(FileType::RegularFile)),
            ("../../etc/passwd", Ok(FileType::RegularFile)),
            ("", Ok(FileType::Directory)),
            ("/", Ok(FileType::Directory)),
            ("etc/passwd/", Err(Errno::NOTDIR)),
            ("out/", Err(Errno::NOENT)),
            ("abs/shadow", Err(Errno::NOENT)),
        ] {
            let found = Place::find(fd, path).and_then(|place| place.stat());
            let found = found.map(|stat| FileType::from_raw_mode(stat.st_mode));
            assert_eq!(found, kind, "{path}");
        }
    }

    #[test]
    fn magic_links_are_not_followed() {
        let proc = rustix::fs::open("/proc", OFlags::PATH, Mode::empty()).unwrap();
        let opened = open_inside(proc.as_fd(), "self/root/etc", OFlags::empty());
        assert_eq!(opened.unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn the_last_component_names_the_copy() {
        for (path, base) in [
            ("/", "/"),
            ("", "/"),
            ("a", "a"),
            ("/a/b/", "b"),
            ("/a/.", "."),
        ] {
            assert_eq!(base_name(path), base);
        }
    }
}
