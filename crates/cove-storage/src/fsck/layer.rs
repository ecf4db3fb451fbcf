//! One layer: its archive is rebuilt, and its files are compared with what
//! the archive says.

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;

use cove_model::Digest;
use cove_model::error::sentence;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::expected::Expected;
use crate::error::{Error, Result};
use crate::layer::{Layer, open_directory};
use crate::store::Store;
use crate::tar::reader::TarReader;
use crate::tar::{Entry, Kind, Limits, names};
use crate::tree::{BENEATH, is_whiteout, join};
use crate::{walk, xattr};

/// So many findings of one layer are told.
const FINDINGS: usize = 20;

impl Store {
    /// What of the layer `diff_id` is not as it was written.
    pub(super) fn check_layer(&self, diff_id: &Digest) -> Vec<String> {
        match self.layer(diff_id) {
            Ok(layer) => findings(&layer, diff_id),
            Err(error) => vec![sentence(&error)],
        }
    }

    /// Whether the layer `diff_id` is as it was written.
    pub(crate) fn is_whole(&self, diff_id: &Digest) -> bool {
        let layer = self.layer_as_it_is(diff_id);
        layer.is_ok_and(|layer| findings(&layer, diff_id).is_empty())
    }
}

fn findings(layer: &Layer, diff_id: &Digest) -> Vec<String> {
    check(layer, diff_id).unwrap_or_else(|error| vec![sentence(&error)])
}

fn check(layer: &Layer, diff_id: &Digest) -> Result<Vec<String>> {
    let mut findings = Findings::default();
    let mut expected = Expected::default();
    let hashing = Hashing {
        tar: layer.tar()?,
        hasher: Sha256::new(),
        count: 0,
    };
    let mut input = BufReader::with_capacity(256 << 10, hashing);
    // What was accepted once is only compared now.
    let limits = Limits {
        bytes: u64::MAX,
        entries: u64::MAX,
        ..Limits::default()
    };
    let mut reader = TarReader::new(&mut input, io::sink(), limits);
    while let Some(entry) = reader.next()? {
        reader.payload(|_| Ok(()))?;
        expected.add(entry);
    }
    io::copy(&mut input, &mut io::sink()).map_err(Error::Source)?;
    let Hashing { hasher, count, .. } = input.into_inner();
    let actual = Digest::from_bytes(hasher.finalize().into());
    if actual != *diff_id {
        findings.add(format!("its archive now has the digest {actual}"));
    }
    let info = layer.info();
    let said = (info.diff_id, info.tar_size, info.root, info.opaque_root);
    if said != (*diff_id, count, expected.root(), expected.is_opaque(b"")) {
        findings.add("layer.json does not say what its archive does".to_owned());
    }
    let mut comparison = Comparison {
        layer,
        overlay: xattr::Namespace::new(info.user_xattr),
        expected: &expected,
        through_links: false,
        findings,
    };
    let root = open_directory(&layer.diff())?;
    for (path, entry) in expected.members() {
        comparison.member(&root, path, entry);
    }
    for path in expected.hidden() {
        comparison.whiteout(&root, path);
    }
    for path in expected.opaque() {
        comparison.opaque(&root, path);
    }
    // A name that leads through a link says nothing about where the file is.
    if !comparison.through_links {
        comparison.unexpected(&root, b"");
    }
    Ok(comparison.findings.list)
}

struct Comparison<'a> {
    layer: &'a Layer,
    overlay: xattr::Namespace,
    expected: &'a Expected,
    /// Whether a name led through a symbolic link.
    through_links: bool,
    findings: Findings,
}

impl Comparison<'_> {
    /// The directory at `path`; none, and told, when it is not there.
    fn directory(&mut self, root: &OwnedFd, path: &[u8], shown: &[u8]) -> Option<OwnedFd> {
        let from = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat2(root, from, flags, Mode::empty(), BENEATH) {
            Ok(fd) => return Some(fd),
            Err(Errno::LOOP) => self.through_links = true,
            Err(errno) => self.add(shown, &errno.to_string()),
        }
        None
    }

    fn member(&mut self, root: &OwnedFd, path: &[u8], entry: &Entry) {
        let (parent, name) = names::split(path);
        let Some(directory) = self.directory(root, parent, path) else {
            return;
        };
        let name = if name.is_empty() { b"." } else { name };
        let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.was_skipped(path) => return,
            Err(errno) => return self.add(path, &errno.to_string()),
        };
        if entry.kind == Kind::HardLink {
            return;
        }
        for difference in differences(&directory, name, entry, &stat) {
            self.add(path, &format!("another {difference}"));
        }
    }

    fn was_skipped(&self, path: &[u8]) -> bool {
        let shown = path.escape_ascii().to_string();
        let skipped = &self.layer.info().skipped;
        skipped.iter().any(|name| name.ends_with(&shown))
    }

    fn whiteout(&mut self, root: &OwnedFd, path: &[u8]) {
        let (parent, name) = names::split(path);
        let Some(directory) = self.directory(root, parent, path) else {
            return;
        };
        match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_whiteout(&stat) => {}
            Ok(_) | Err(Errno::NOENT) => self.add(path, "its deletion is not there"),
            Err(errno) => self.add(path, &errno.to_string()),
        }
    }

    fn opaque(&mut self, root: &OwnedFd, path: &[u8]) {
        let Some(directory) = self.directory(root, path, path) else {
            return;
        };
        match self.overlay.is_opaque(&directory) {
            Ok(true) => {}
            Ok(false) => self.add(path, "no longer hides what is below it"),
            Err(errno) => self.add(path, &errno.to_string()),
        }
    }

    /// What no member of the archive made.
    fn unexpected(&mut self, directory: &OwnedFd, path: &[u8]) {
        if !self.expected.is_opaque(path) && self.overlay.is_opaque(directory) == Ok(true) {
            self.add(path, "hides what is below it, unlike in its archive");
        }
        let Ok(names) = walk::list(directory) else {
            return self.add(path, "cannot be listed");
        };
        for name in names {
            let path = join(path, &name);
            let Ok(stat) =
                rustix::fs::statat(directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !self.expected.has(&path, is_directory) {
                self.add(&path, "is not in its archive");
                continue;
            }
            if is_directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let child =
                    rustix::fs::openat2(directory, name.as_slice(), flags, Mode::empty(), BENEATH);
                if let Ok(child) = child {
                    self.unexpected(&child, &path);
                }
            }
        }
    }

    fn add(&mut self, path: &[u8], what: &str) {
        self.findings
            .add(format!("{}: {what}", path.escape_ascii()));
    }
}

fn differences(directory: &OwnedFd, name: &[u8], entry: &Entry, stat: &Stat) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut note = |differs: bool, what| {
        if differs {
            found.push(what);
        }
    };
    let kind = match entry.kind {
        Kind::File | Kind::HardLink => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
        Kind::Char => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        Kind::Directory => FileType::Directory,
        Kind::Fifo => FileType::Fifo,
    };
    note(FileType::from_raw_mode(stat.st_mode) != kind, "type");
    // An access list shows its mask as the group's bits.
    let has_acl = entry
        .xattrs
        .iter()
        .any(|(name, _)| name == b"system.posix_acl_access");
    let mode_differs = stat.st_mode & 0o7777 != entry.mode && !has_acl;
    note(mode_differs && entry.kind != Kind::Symlink, "mode");
    note(
        (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid),
        "owner",
    );
    let seconds = u64::try_from(entry.mtime.seconds).is_ok_and(|s| s < 1 << 31);
    // Beyond what every file system can store, times are clamped.
    note(seconds && stat.st_mtime != entry.mtime.seconds, "time");
    if entry.kind == Kind::File {
        note(u64::try_from(stat.st_size) != Ok(entry.size), "length");
    }
    if matches!(entry.kind, Kind::Char | Kind::Block) {
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        note(stat.st_rdev != device, "device number");
    }
    if entry.kind == Kind::Symlink {
        let target = rustix::fs::readlinkat(directory, name, Vec::new());
        note(
            target.is_ok_and(|target| target.as_bytes() != entry.link),
            "target",
        );
    }
    let plain = |name: &[u8]| !name.starts_with(b"system.") && xattr::stored_name(name).is_some();
    if entry.xattrs.iter().any(|(name, _)| plain(name))
        && let Ok(stored) = xattr::all_archived(directory, name)
    {
        let kept = |wanted: &(Vec<u8>, Vec<u8>)| !plain(&wanted.0) || stored.contains(wanted);
        note(!entry.xattrs.iter().all(kept), "extended attribute");
    }
    found
}

#[derive(Default)]
struct Findings {
    list: Vec<String>,
}

impl Findings {
    fn add(&mut self, finding: String) {
        if self.list.len() < FINDINGS {
            self.list.push(finding);
        }
    }
}

struct Hashing<R> {
    tar: R,
    hasher: Sha256,
    count: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
