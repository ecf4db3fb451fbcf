//! Packs directories: a container's changes as a layer, a whole root as an
//! archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cove_model::image::Compression;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::changes::{ChangeKind, Item};
use crate::error::{At, Error, Result, Step};
use crate::layer::open_directory;
use crate::store::Store;
use crate::tar::writer::{Member, TarWriter};
use crate::tar::{Kind, Segment, Time, names};
use crate::tree::{BENEATH, join};
use crate::unpack::{StagedLayer, Unpack};
use crate::{kernel, walk, xattr};

/// Holes are told apart from zeros when they save at least this much.
const WORTH_A_MAP: u64 = 1 << 20;

impl Store {
    /// Writes what `upper` changes in `lowers` (top first) as a layer's
    /// archive, the same bytes for the same changes; not what was made for
    /// `mounts` alone, as in [`Store::changes`].
    ///
    /// # Errors
    /// When a file cannot be read or the sink fails.
    pub fn write_diff(
        &self,
        upper: &Path,
        lowers: &[PathBuf],
        mounts: &[&str],
        out: impl Write,
    ) -> Result<()> {
        let items = self.items(upper, lowers, mounts)?;
        let root = open_directory(upper)?;
        let mut packer = Packer::new(&root, upper, out);
        for item in &items {
            packer.item(item)?;
        }
        packer.finish().map(drop)
    }

    /// What [`Store::write_diff`] writes, as a staged layer.
    ///
    /// # Errors
    /// Those of [`Store::write_diff`] and [`Store::unpack`].
    pub fn commit(&self, upper: &Path, lowers: &[PathBuf], mounts: &[&str]) -> Result<StagedLayer> {
        through_a_pipe(
            |out| self.write_diff(upper, lowers, mounts, out),
            // A deep tree of one's own is no attack.
            |archive| self.unpack(archive, &Unpack::new(Compression::None)),
        )
    }
}

/// Reads what is packed meanwhile, in a thread of its own.
pub(crate) fn through_a_pipe<T>(
    pack: impl FnOnce(io::BufWriter<io::PipeWriter>) -> Result<()> + Send,
    read: impl FnOnce(io::PipeReader) -> Result<T>,
) -> Result<T> {
    let (reader, writer) = io::pipe().map_err(Error::Source)?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| pack(io::BufWriter::with_capacity(64 << 10, writer)));
        let result = read(reader);
        let packed = packing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where both failed, one failed because of the other: a closed
        // pipe is the consequence, everything else the cause.
        match (packed, result) {
            (Err(Error::Sink(_)), Err(cause)) | (Err(cause), _) => Err(cause),
            (Ok(()), result) => result,
        }
    })
}

/// Writes everything beneath the directory `root` (usually a mount of a
/// container's or image's root) as an archive. Other file systems mounted
/// inside are left out; `what` names the root in errors.
///
/// # Errors
/// When a file cannot be read or the sink fails.
pub fn export(root: impl AsFd, what: &Path, out: impl Write) -> Result<()> {
    // From the mount's root, also when the descriptor is only a path.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(root, ".", flags, Mode::empty()).at(Step::Open, what)?;
    export_tree(Packer::new(&root, what, out))
}

/// [`export`] of the directory `root`, each file with all of its bytes.
pub(crate) fn export_whole(root: &OwnedFd, what: &Path, out: impl Write) -> Result<()> {
    let mut packer = Packer::new(root, what, out);
    packer.maps = false;
    export_tree(packer)
}

fn export_tree(mut packer: Packer<'_, impl Write>) -> Result<()> {
    packer.tree(packer.root, b"")?;
    packer.finish().map(drop)
}

/// Writes the name `name` in the directory `parent` (which itself is named by
/// `.`), and what is beneath it, as an archive whose first member is called
/// `base`. Mounts inside are entered, unless they are windows into the kernel;
/// times are whole seconds, as Docker's copies have them. `what` names the
/// directory in errors. Unless `links`, a symbolic link of this name is none
/// of ours, whatever it was a moment ago.
///
/// Whoever owns the tree may change it meanwhile: nothing but regular files
/// and directories is opened, and no symbolic link followed.
///
/// # Errors
/// When a file cannot be read or the sink fails.
pub fn pack(
    parent: impl AsFd,
    name: &[u8],
    base: &[u8],
    links: bool,
    what: &Path,
    out: impl Write,
) -> Result<Packed> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(parent, ".", flags, Mode::empty()).at(Step::Open, what)?;
    let mut packer = Packer::new(&parent, what, out);
    packer.copies = true;
    packer.refuses_link = !links;
    if let Some(directory) = packer.name(&parent, name, base)? {
        packer.tree(&directory, base)?;
    }
    let packed = Packed {
        found: packer.members > 0 || !packer.sockets.is_empty(),
        skipped: std::mem::take(&mut packer.sockets),
    };
    packer.finish().map(|_| packed)
}

/// What became of a tree that was to be copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// Whether there was something under the name.
    pub found: bool,
    /// What archives do not have, for the user to know: sockets.
    pub skipped: Vec<String>,
}

/// Enough to tell the user; not a way to fill memory.
const TOLD: usize = 100;

/// What was found under a name.
#[derive(Default)]
struct Found {
    /// Of a regular file or a directory.
    opened: Option<OwnedFd>,
    /// Where a symbolic link leads.
    link: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Packer<'a, W> {
    root: &'a OwnedFd,
    what: &'a Path,
    tar: TarWriter<W>,
    /// For [`pack`]: other mounts count too, parts of seconds do not.
    copies: bool,
    /// Whether holes are left out.
    maps: bool,
    members: u64,
    /// Left out.
    sockets: Vec<String>,
    /// Whether the first member must be something else than a symbolic link.
    refuses_link: bool,
    /// First name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a, W: Write> Packer<'a, W> {
    fn new(root: &'a OwnedFd, what: &'a Path, out: W) -> Self {
        Self {
            root,
            what,
            tar: TarWriter::new(out),
            copies: false,
            maps: true,
            members: 0,
            sockets: Vec::new(),
            refuses_link: false,
            links: HashMap::new(),
            buffer: vec![0; 128 << 10],
            parent: None,
        }
    }

    fn finish(self) -> Result<W> {
        self.tar.finish()
    }

    fn item(&mut self, item: &Item) -> Result<()> {
        let (parent, name) = names::split(&item.path);
        if item.kind == ChangeKind::Deleted {
            return if item.implied {
                Ok(())
            } else {
                self.marker(&[b".wh.", name].concat(), parent)
            };
        }
        if self
            .parent
            .as_ref()
            .is_none_or(|(known, _)| known != parent)
        {
            let path = if parent.is_empty() { b"." } else { parent };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = match rustix::fs::openat2(self.root, path, flags, Mode::empty(), BENEATH) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                Err(errno) => return Err(errno).at(Step::Open, self.what),
            };
            self.parent = Some((parent.to_vec(), fd));
        }
        let Some((parent_name, fd)) = self.parent.take() else {
            return Ok(());
        };
        let packed = self.name(&fd, name, &item.path).map(drop);
        self.parent = Some((parent_name, fd));
        packed?;
        if item.opaque {
            self.marker(b".wh..wh..opq", &item.path)
        } else {
            Ok(())
        }
    }

    fn marker(&mut self, name: &[u8], parent: &[u8]) -> Result<()> {
        let path = join(parent, name);
        let member = Member::plain(&path, Kind::File, 0, Time::default(), 0);
        self.tar.header(&member).map(drop)
    }

    fn tree(&mut self, directory: &OwnedFd, path: &[u8]) -> Result<()> {
        // One that was removed meanwhile was empty.
        for name in walk::list_if_there(directory).at(Step::List, self.what)? {
            let path = join(path, &name);
            if let Some(child) = self.name(directory, &name, &path)? {
                self.tree(&child, &path)?;
            }
        }
        Ok(())
    }

    /// Packs one name; returns the directory it is, if it is one.
    fn name(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<OwnedFd>> {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).at(Step::Stat, self.what),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink if self.refuses_link && self.members == 0 => return Ok(None),
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            // Sockets mean nothing without their process; no tar has them.
            _ => {
                if self.sockets.len() < TOLD {
                    self.sockets.push(format!("socket {}", path.escape_ascii()));
                }
                return Ok(None);
            }
        };
        let inode =
            (kind != Kind::Directory && stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        if let Some(first) = inode.and_then(|inode| self.links.get(&inode)) {
            let first = first.clone();
            let mut member = self.described(path, Kind::HardLink, &stat);
            member.size = 0;
            member.link = &first;
            return self.tar.header(&member).map(|_| None);
        }
        let Some(found) = self.open(parent, name, path, kind)? else {
            return Ok(None);
        };
        self.members += 1;
        let mut member = self.described(path, kind, &stat);
        member.xattrs = &found.xattrs;
        member.link = &found.link;
        let directory = match found.opened {
            Some(fd) if kind == Kind::File => {
                self.file(&member, &File::from(fd))?;
                None
            }
            opened => {
                self.tar.header(&member)?;
                opened
            }
        };
        // Other names of it refer to this one from now on, which is there.
        if let Some(inode) = inode {
            self.links.insert(inode, path.to_vec());
        }
        Ok(directory)
    }

    /// Everything of a name but its content and what `stat` says. `None` where
    /// it is gone, something else by now, or nothing that is copied.
    fn open(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        kind: Kind,
    ) -> Result<Option<Found>> {
        let mut found = Found::default();
        if matches!(kind, Kind::File | Kind::Directory) {
            match open_inside(parent, name, kind, self.copies) {
                Ok(fd) if self.copies && kernel::has(&fd).at(Step::Stat, self.what)? => {
                    return Ok(None);
                }
                Ok(fd) => found.opened = Some(fd),
                // Gone, replaced, or a mount point of something else.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
                Err(errno) => return Err(errno).at(Step::Open, self.what.join(lossy(path))),
            }
        }
        if kind == Kind::Symlink {
            match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) => found.link = target.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
                Err(errno) => return Err(errno).at(Step::Read, self.what.join(lossy(path))),
            }
        }
        found.xattrs = match xattr::all_archived(parent, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.at(Step::Read, self.what.join(lossy(path)))?,
        };
        Ok(Some(found))
    }

    fn file(&mut self, member: &Member<'_>, file: &File) -> Result<()> {
        // The opened file is the one that is read, whatever the name says now.
        let stat = rustix::fs::fstat(file).at(Step::Stat, self.what)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut segments = data_segments(file, size).at(Step::Read, self.what)?;
        let mut member = Member {
            size,
            ..member.clone()
        };
        if segments
            .last()
            .is_none_or(|last| last.offset + last.length < size)
        {
            // GNU tar learns the length from where the map ends.
            segments.push(Segment {
                offset: size,
                length: 0,
            });
        }
        let data: u64 = segments.iter().map(|segment| segment.length).sum();
        let whole = [Segment {
            offset: 0,
            length: member.size,
        }];
        let runs = if self.maps && member.size - data >= WORTH_A_MAP {
            member.sparse = Some(&segments);
            segments.as_slice()
        } else {
            &whole
        };
        let stored = self.tar.header(&member)?;
        for run in runs {
            self.run(file, *run)?;
        }
        self.tar.pad(stored)
    }

    fn described<'m>(&self, path: &'m [u8], kind: Kind, stat: &Stat) -> Member<'m> {
        let device = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let nanoseconds = if self.copies { 0 } else { stat.st_mtime_nsec };
        let time = Time {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Member {
            uid: stat.st_uid,
            gid: stat.st_gid,
            device,
            ..Member::plain(path, kind, stat.st_mode & 0o7777, time, 0)
        }
    }

    /// Exactly as many bytes as promised: zeros where the file shrank.
    fn run(&mut self, file: &File, run: Segment) -> Result<()> {
        let (mut offset, mut left) = (run.offset, run.length);
        while left > 0 {
            let wanted =
                usize::try_from(left).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
            let mut count = file
                .read_at(&mut self.buffer[..wanted], offset)
                .at(Step::Read, self.what)?;
            if count == 0 {
                self.buffer[..wanted].fill(0);
                count = wanted;
            }
            self.tar.data(&self.buffer[..count])?;
            offset += count as u64;
            left -= count as u64;
        }
        Ok(())
    }
}

/// Opens what was just seen to be a regular file or a directory. A running
/// container may put something else in its place, and opening a device alone
/// has effects: a handle is taken first, and opened when it is a file's.
fn open_inside(
    parent: &OwnedFd,
    name: &[u8],
    kind: Kind,
    other_mounts: bool,
) -> rustix::io::Result<OwnedFd> {
    let resolve = if other_mounts {
        BENEATH
    } else {
        BENEATH | ResolveFlags::NO_XDEV
    };
    let open = |flags: OFlags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve)
    };
    if kind == Kind::Directory {
        return open(OFlags::RDONLY | OFlags::DIRECTORY);
    }
    let handle = open(OFlags::PATH)?;
    let stat = rustix::fs::fstat(&handle)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let own = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Where the file has data; all of it where the file system cannot say. A file
/// that becomes shorter meanwhile has none behind its new end.
fn data_segments(file: &File, size: u64) -> rustix::io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut position = 0;
    while position < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => {
                return Ok(vec![Segment {
                    offset: 0,
                    length: size,
                }]);
            }
            Err(errno) => return Err(errno),
        };
        let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        if end <= start {
            break;
        }
        segments.push(Segment {
            offset: start,
            length: end - start,
        });
        position = end;
    }
    Ok(segments)
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
