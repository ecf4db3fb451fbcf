//! Checks every byte of the store against the digests that name it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::ops::Bound;
use std::os::fd::OwnedFd;

use cove_model::Digest;
use cove_model::error::sentence;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::blob::BLOB_LIMIT;
use crate::error::{Error, Result};
use crate::layer::{Layer, digests_in, open_directory};
use crate::store::Store;
use crate::tar::reader::TarReader;
use crate::tar::{Entry, Kind, Limits, names};
use crate::tree::{BENEATH, WHITEOUT, is_whiteout, join};
use crate::{walk, xattr};

/// So many findings of one layer are told.
const FINDINGS: usize = 20;

/// Something in the store that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is damaged.
    pub object: Object,
    /// What was found, one sentence each.
    pub findings: Vec<String>,
    /// The images that use it.
    pub images: Vec<Digest>,
    /// Whether it was dropped, so that the next pull brings it again.
    pub repaired: bool,
}

/// A part of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A manifest or configuration.
    Blob(Digest),
    /// A layer, by diff id.
    Layer(Digest),
}

impl Store {
    /// Verifies every blob, and every layer by rebuilding its archive and
    /// comparing files with headers; also tells what images miss.
    ///
    /// With `repair`, what is damaged is dropped and the image records stay:
    /// the next pull fetches it again. Layers in `mounted` are never dropped.
    ///
    /// # Errors
    /// When the store cannot be listed. Damage is no error.
    pub fn fsck(&self, repair: bool, mounted: &BTreeSet<Digest>) -> Result<Vec<Problem>> {
        let users = self.users()?;
        let mut damaged: BTreeMap<Object, Vec<String>> = BTreeMap::new();
        for blob in digests_in(&self.path("blobs/sha256"))? {
            match self.blob(&blob, BLOB_LIMIT) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => drop(damaged.insert(Object::Blob(blob), vec![sentence(&error)])),
            }
        }
        for layer in self.layers()? {
            let findings = self.check_layer(&layer);
            // One collected meanwhile is not damaged.
            if !findings.is_empty() && self.has_layer(&layer) {
                damaged.insert(Object::Layer(layer), findings);
            }
        }
        for object in users.keys() {
            let there = match object {
                Object::Blob(blob) => self.has_blob(blob),
                Object::Layer(layer) => self.has_layer(layer),
            };
            if !there {
                damaged
                    .entry(*object)
                    .or_insert_with(|| vec!["it is missing".to_owned()]);
            }
        }
        let mut problems = Vec::with_capacity(damaged.len());
        for (object, findings) in damaged {
            let repaired = repair && self.drop_object(object, mounted)?;
            let images = users.get(&object).cloned().unwrap_or_default();
            problems.push(Problem {
                object,
                findings,
                images,
                repaired,
            });
        }
        Ok(problems)
    }

    fn users(&self) -> Result<BTreeMap<Object, Vec<Digest>>> {
        let mut users: BTreeMap<Object, Vec<Digest>> = BTreeMap::new();
        for image in self.images()? {
            let record = image.record;
            let blobs = [record.id, record.manifest].map(Object::Blob);
            let layers = record
                .layers
                .iter()
                .map(|layer| Object::Layer(layer.diff_id));
            for object in blobs.into_iter().chain(layers) {
                let images = users.entry(object).or_default();
                if !images.contains(&record.id) {
                    images.push(record.id);
                }
            }
        }
        Ok(users)
    }

    fn drop_object(&self, object: Object, mounted: &BTreeSet<Digest>) -> Result<bool> {
        match object {
            Object::Layer(layer) if mounted.contains(&layer) => Ok(false),
            Object::Layer(layer) => self.drop_layer(&layer).map(|()| true),
            Object::Blob(blob) => crate::staging::remove(&self.blob_path(&blob)).map(|()| true),
        }
    }

    fn check_layer(&self, diff_id: &Digest) -> Vec<String> {
        let layer = match self.layer(diff_id) {
            Ok(layer) => layer,
            Err(error) => return vec![sentence(&error)],
        };
        match check(&layer, diff_id) {
            Ok(findings) => findings,
            Err(error) => vec![sentence(&error)],
        }
    }
}

fn check(layer: &Layer, diff_id: &Digest) -> Result<Vec<String>> {
    let mut findings = Findings::default();
    let mut expected = BTreeMap::new();
    let hashing = Hashing {
        tar: layer.tar()?,
        hasher: Sha256::new(),
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
        expect(&mut expected, entry);
    }
    io::copy(&mut input, &mut io::sink()).map_err(Error::Source)?;
    let actual = Digest::from_bytes(input.into_inner().hasher.finalize().into());
    if actual != *diff_id {
        findings.add(format!("its archive now has the digest {actual}"));
    }
    let root = open_directory(&layer.diff())?;
    let mut through_links = false;
    for (path, entry) in &expected {
        through_links |= compare(&root, path, entry, layer, &mut findings);
    }
    if !through_links {
        unexpected(&root, b"", &expected, &mut findings);
    }
    Ok(findings.list)
}

/// The last member of a name counts; a file takes a directory's content along.
fn expect(expected: &mut BTreeMap<Vec<u8>, Entry>, entry: Entry) {
    if entry.kind != Kind::Directory {
        let inside = [entry.path.as_slice(), b"/"].concat();
        let behind = [entry.path.as_slice(), b"0"].concat();
        let range = (Bound::Included(inside), Bound::Excluded(behind));
        let gone: Vec<_> = expected
            .range(range)
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            expected.remove(&path);
        }
    }
    expected.insert(entry.path.clone(), entry);
}

/// True when the name leads through a symbolic link, so that it says nothing
/// about where the file is.
fn compare(
    root: &OwnedFd,
    path: &[u8],
    entry: &Entry,
    layer: &Layer,
    findings: &mut Findings,
) -> bool {
    let shown = path.escape_ascii();
    let (parent, name) = names::split(path);
    if path
        .split(|&b| b == b'/')
        .any(|part| part.starts_with(WHITEOUT))
    {
        return false;
    }
    let from = if parent.is_empty() { b"." } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat2(root, from, flags, Mode::empty(), BENEATH) {
        Ok(fd) => fd,
        Err(Errno::LOOP) => return true,
        Err(errno) => {
            findings.add(format!("{shown}: {errno}"));
            return false;
        }
    };
    let name = if name.is_empty() { b"." } else { name };
    let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT)
            if layer
                .info()
                .skipped
                .iter()
                .any(|s| s.ends_with(&shown.to_string())) =>
        {
            return false;
        }
        Err(errno) => {
            findings.add(format!("{shown}: {errno}"));
            return false;
        }
    };
    if entry.kind == Kind::HardLink {
        return false;
    }
    for difference in differences(&directory, name, entry, &stat) {
        findings.add(format!("{shown}: another {difference}"));
    }
    false
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

fn unexpected(
    directory: &OwnedFd,
    path: &[u8],
    expected: &BTreeMap<Vec<u8>, Entry>,
    findings: &mut Findings,
) {
    let Ok(names) = walk::list(directory) else {
        findings.add(format!("{}: cannot be listed", path.escape_ascii()));
        return;
    };
    for name in names {
        let path = join(path, &name);
        let Ok(stat) = rustix::fs::statat(directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
        else {
            continue;
        };
        if is_whiteout(&stat) {
            continue;
        }
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let inside = [path.as_slice(), b"/"].concat();
        let implied = || {
            let next = expected.range(inside.clone()..).next();
            next.is_some_and(|(next, _)| next.starts_with(&inside))
        };
        let is_known = expected.contains_key(&path) || (is_directory && implied());
        if !is_known {
            findings.add(format!("{}: is not in its archive", path.escape_ascii()));
            continue;
        }
        if is_directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let child =
                rustix::fs::openat2(directory, name.as_slice(), flags, Mode::empty(), BENEATH);
            if let Ok(child) = child {
                unexpected(&child, &path, expected, findings);
            }
        }
    }
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
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
