//! A directory of a hierarchy, held open; every file and every child is
//! reached from it, never by a path from the root of the file system.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::process::Pid;

use super::error::{CgroupError, Result};
use super::stats::keyed;

/// Longest control file that is read (`memory.stat` and `cgroup.procs` of a
/// crowded cgroup); more is an error, not a truncation.
const FILE_LIMIT: usize = 16 << 20;

/// An open directory and the name it had, for messages.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    fd: Arc<OwnedFd>,
    name: PathBuf,
    /// Where it is noted what a file held before it is written.
    notes: Option<Notes>,
}

/// What a control file held before it was written.
#[derive(Debug)]
pub(super) struct Overwritten {
    pub(super) dir: Dir,
    pub(super) name: String,
    pub(super) text: String,
}

/// Where directories note what they overwrite.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<Overwritten>>>);

impl Notes {
    /// All of it, in the order in which it was overwritten.
    pub(super) fn take(&self) -> Vec<Overwritten> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Longest name that is kept for messages.
const NAME_LIMIT: usize = 1024;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

impl Dir {
    /// Opens a hierarchy's mount point.
    pub(super) fn mount_point(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|source| CgroupError::Open {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            fd: Arc::new(fd),
            name: path.to_owned(),
            notes: None,
        })
    }

    /// The same, which notes what it overwrites.
    pub(super) fn with_notes(mut self, notes: &Notes) -> Self {
        self.notes = Some(notes.clone());
        self
    }

    /// Notes what a file holds. What cannot be read cannot be brought back either.
    fn note(&self, notes: &Notes, file: &str) {
        let Ok(Some(text)) = self.read_if_there(file) else {
            return;
        };
        let overwritten = Overwritten {
            dir: Self {
                notes: None,
                ..self.clone()
            },
            name: file.to_owned(),
            text,
        };
        let mut all = notes.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(overwritten);
    }

    /// The full name of a file in it, for messages.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        if file.is_empty() {
            self.name.clone()
        } else {
            self.name.join(file)
        }
    }

    /// Opens a directory below; being absent is an answer.
    pub(super) fn open_if_there(&self, path: &Path) -> Result<Option<Self>> {
        match self.open_errno(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(CgroupError::Open {
                path: self.name.join(path),
                source,
            }),
        }
    }

    fn open_errno(&self, path: &Path) -> rustix::io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Ok(self.clone());
        }
        let fd = match openat2(&*self.fd, path, DIRECTORY, Mode::empty(), BENEATH) {
            // A race with a rename somewhere on the way: the kernel asks to try again.
            Err(Errno::AGAIN) => openat2(&*self.fd, path, DIRECTORY, Mode::empty(), BENEATH)?,
            other => other?,
        };
        Ok(Self {
            fd: Arc::new(fd),
            name: self.name_of(path),
            notes: None,
        })
    }

    /// Of what lies deeper than any path can say, the name of one above it.
    fn name_of(&self, below: &Path) -> PathBuf {
        if self.name.as_os_str().len() < NAME_LIMIT {
            self.name.join(below)
        } else {
            self.name.clone()
        }
    }

    /// The directory above, which is the one this was opened from: a cgroup never moves.
    fn parent(&self) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(&*self.fd, c"..", flags, Mode::empty()) {
            Ok(fd) => Ok(Self {
                fd: Arc::new(fd),
                name: self.name.parent().unwrap_or(&self.name).to_owned(),
                notes: None,
            }),
            Err(source) => Err(CgroupError::Open {
                path: self.name.join(".."),
                source,
            }),
        }
    }

    /// Goes through the directories below: `enter` is called for each before those in it, `leave`
    /// with the one above and its name after them. What is gone meanwhile is passed over.
    ///
    /// How deep they are is up to the container, where it may write its cgroups; three of them are
    /// open at a time, and nothing recurs.
    pub(super) fn walk(
        &self,
        mut enter: impl FnMut(&Self) -> Result<()>,
        mut leave: impl FnMut(&Self, &Path) -> Result<()>,
    ) -> Result<()> {
        let mut levels = vec![self.children()?];
        let mut way: Vec<PathBuf> = Vec::new();
        let mut here = self.clone();
        loop {
            if let Some(name) = levels.last_mut().and_then(Vec::pop) {
                let Some(child) = here.open_if_there(&name)? else {
                    continue;
                };
                enter(&child)?;
                levels.push(child.children()?);
                way.push(name);
                here = child;
                continue;
            }
            levels.pop();
            let Some(name) = way.pop() else {
                return Ok(());
            };
            here = if way.is_empty() {
                self.clone()
            } else {
                here.parent()?
            };
            leave(&here, &name)?;
        }
    }

    /// Makes one directory below and opens it; tells whether it is new.
    pub(super) fn make(&self, name: &Path) -> Result<(Self, bool)> {
        let create = |source| CgroupError::Create {
            path: self.name.join(name),
            source,
        };
        let made = match rustix::fs::mkdirat(&*self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(source) => return Err(create(source)),
        };
        match self.open_errno(name) {
            Ok(dir) => Ok((dir, made)),
            Err(source) => {
                if made {
                    // The first error counts.
                    let _ = self.remove(name);
                }
                Err(create(source))
            }
        }
    }

    /// Takes it for a container that is being made, as long as this value or a copy of it lives.
    /// [`CgroupError::Taken`] where another one does so, or has done so meanwhile.
    pub(super) fn claim(&self) -> Result<()> {
        let taken = |reason| CgroupError::Taken {
            path: self.name.clone(),
            reason,
        };
        let lock = rustix::fs::flock(&*self.fd, FlockOperation::NonBlockingLockExclusive);
        // Another error is that of a kernel without such locks here.
        if lock == Err(Errno::WOULDBLOCK) {
            return Err(taken("another container is being created in it"));
        }
        if self.is_populated()? {
            return Err(taken("processes live in it"));
        }
        Ok(())
    }

    /// Removes one empty directory below.
    pub(super) fn remove(&self, name: &Path) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&*self.fd, name, AtFlags::REMOVEDIR)
    }

    /// The names of the directories below.
    pub(super) fn children(&self) -> Result<Vec<PathBuf>> {
        Ok(self
            .entries(rustix::fs::FileType::Directory)?
            .iter()
            .map(|name| to_path(name))
            .collect())
    }

    /// The names of the control files.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let names = self.entries(rustix::fs::FileType::RegularFile)?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect())
    }

    fn entries(&self, wanted: rustix::fs::FileType) -> Result<Vec<CString>> {
        let read = |source| CgroupError::Read {
            path: self.name.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&*self.fd).map_err(read)? {
            let entry = match entry {
                Ok(entry) => entry,
                // The directory was removed while it was read.
                Err(Errno::NOENT) => break,
                Err(source) => return Err(read(source)),
            };
            let name = entry.file_name();
            if entry.file_type() == wanted && name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Opens a control file for reading.
    pub(super) fn open_file(&self, file: &'static str) -> Result<OwnedFd> {
        self.file(file, OFlags::RDONLY)
            .map_err(|source| CgroupError::Read {
                path: self.path(file),
                source,
            })
    }

    pub(super) fn file(&self, file: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        openat(
            &*self.fd,
            file,
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
    }

    /// Whether there is such a control file.
    pub(super) fn has(&self, file: &str) -> bool {
        rustix::fs::accessat(
            &*self.fd,
            file,
            rustix::fs::Access::EXISTS,
            AtFlags::empty(),
        )
        .is_ok()
    }

    /// Writes a control file in one call, as the kernel wants it.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<()> {
        self.write_errno(file, value)
            .map_err(|source| self.refused(file, value, source))
    }

    /// What [`Dir::write`] fails with.
    pub(super) fn refused(&self, file: &str, value: &str, source: Errno) -> CgroupError {
        CgroupError::Write {
            path: self.path(file),
            value: value.to_owned(),
            source,
        }
    }

    /// [`Dir::write`], with the kernel's answer for callers that have a plan B.
    pub(super) fn write_errno(&self, file: &str, value: &str) -> rustix::io::Result<()> {
        write_all(&self.open_to_write(file)?, value)
    }

    /// A control file for several writes, noted as one.
    pub(super) fn open_to_write(&self, file: &str) -> rustix::io::Result<OwnedFd> {
        let fd = self.file(file, OFlags::WRONLY)?;
        if let Some(notes) = &self.notes {
            self.note(notes, file);
        }
        Ok(fd)
    }

    /// Reads a control file.
    pub(super) fn read(&self, file: &str) -> Result<String> {
        self.read_errno(file).map_err(|source| CgroupError::Read {
            path: self.path(file),
            source,
        })
    }

    /// [`Dir::read`], where a missing file (or a vanished cgroup, or a
    /// controller that has nothing to say) is an answer.
    pub(super) fn read_if_there(&self, file: &str) -> Result<Option<String>> {
        match self.read_errno(file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(source) => Err(CgroupError::Read {
                path: self.path(file),
                source,
            }),
        }
    }

    fn read_errno(&self, file: &str) -> rustix::io::Result<String> {
        let fd = self.file(file, OFlags::RDONLY)?;
        let mut bytes = Vec::with_capacity(4096);
        loop {
            match rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => break,
                Ok(_) if bytes.len() > FILE_LIMIT => return Err(Errno::FBIG),
                Ok(_) => bytes.reserve(4096),
                Err(Errno::INTR) => {}
                Err(source) => return Err(source),
            }
        }
        String::from_utf8(bytes).map_err(|_| Errno::ILSEQ)
    }

    /// The processes of the cgroup itself. Empty when it is gone, and for a
    /// threaded cgroup, whose processes its domain lists.
    pub(super) fn procs(&self) -> Result<Vec<Pid>> {
        let text = self.read_if_there("cgroup.procs")?.unwrap_or_default();
        // Zero stands for a process of another pid namespace.
        Ok(text
            .lines()
            .filter_map(|line| line.parse().ok().and_then(Pid::from_raw))
            .collect())
    }

    /// The processes of the cgroup and of all below.
    pub(super) fn procs_recursive(&self) -> Result<Vec<Pid>> {
        let mut pids = self.procs()?;
        self.walk(
            |below| {
                pids.extend(below.procs()?);
                Ok(())
            },
            |_, _| Ok(()),
        )?;
        Ok(pids)
    }

    /// Whether a process lives here or below, be it of another pid namespace.
    pub(super) fn is_populated(&self) -> Result<bool> {
        match self.read_if_there("cgroup.events")? {
            Some(text) => Ok(keyed(&text, "populated") == Some(1)),
            None => Ok(!self.procs_recursive()?.is_empty()),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits a little, longer each time (0.1 ms to 10 ms), where the kernel
/// offers no event to wait for.
#[expect(
    clippy::disallowed_methods,
    reason = "v1 control files announce nothing"
)]
pub(super) fn pause(attempt: u32) {
    let micros = 100 << attempt.min(7);
    std::thread::sleep(std::time::Duration::from_micros(micros.min(10_000)));
}

/// Writes an open control file in one call, as the kernel wants it.
pub(super) fn write_all(file: &OwnedFd, value: &str) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes())).map(drop)
}

fn to_path(name: &CStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
