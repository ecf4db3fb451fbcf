//! Detached overlay mounts: a root file system that no mount table shows
//! until its owner moves it somewhere.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// What to join into one file system.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// Read-only directories, topmost first; at least one with an upper
    /// directory, at least two without.
    pub lowers: &'a [PathBuf],
    /// Where changes go, and the empty work directory beside it on the same
    /// file system; without them the mount is read-only.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Metadata in `user.overlay.*` attributes, as an unprivileged user
    /// namespace needs it, instead of `trusted.overlay.*`.
    pub user_xattr: bool,
    /// Never sync the upper directory: for what need not outlive a crash.
    pub volatile: bool,
}

/// Why an overlay could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// A directory could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        #[source]
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel has no overlay file system for this caller.
    #[error("cannot open the overlay file system")]
    FileSystem(#[source] io::Error),
    /// An option was refused.
    #[error("the overlay file system refused the option {option}")]
    Option {
        /// Its name.
        option: &'static str,
        #[source]
        /// The system's answer.
        source: io::Error,
    },
    /// Kernels before 6.7 take all lower directories in one short string.
    #[error("this kernel cannot mount {count} layers at once")]
    TooManyLayers {
        /// How many there are.
        count: usize,
    },
    /// The file system could not be made from its options.
    #[error("cannot create the overlay file system")]
    Create(#[source] io::Error),
    /// The file system could not be turned into a mount.
    #[error("cannot mount the overlay file system")]
    Mount(#[source] io::Error),
}

/// Longest string that fsconfig(2) takes.
const OPTION_LIMIT: usize = 255;

/// Mounts `overlay` detached; the mount lives as long as the descriptor or
/// until it is moved into a mount table with `move_mount`.
///
/// Redirects are neither made nor followed, so that what an image's
/// attributes say cannot point elsewhere and a diff of the upper directory
/// needs no lookup in the lower ones.
///
/// # Errors
/// One variant per step.
pub fn mount(overlay: &Overlay<'_>) -> Result<OwnedFd, OverlayError> {
    match attempt(overlay, set_lowers) {
        // It took an option that it does not know: only now it says so.
        Err(OverlayError::Create(error))
            if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) && looks_late() =>
        {
            attempt(overlay, set_lowers_joined)
        }
        other => other,
    }
}

/// Sets the lower directories' option or options.
type Lowers = fn(&OwnedFd, &[PathBuf], &mut Vec<OwnedFd>) -> Result<(), OverlayError>;

fn attempt(overlay: &Overlay<'_>, lowers: Lowers) -> Result<OwnedFd, OverlayError> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|e| OverlayError::FileSystem(e.into()))?;
    // Descriptors of directories whose names are too long stay open until
    // the superblock holds them.
    let mut held = Vec::new();
    lowers(&fs, overlay.lowers, &mut held)?;
    if let Some((upper, work)) = overlay.upper {
        let upper = short_name(upper, &mut held)?;
        let work = short_name(work, &mut held)?;
        set(&fs, "upperdir", &upper)?;
        set(&fs, "workdir", &work)?;
        if overlay.volatile {
            flag(&fs, "volatile")?;
        }
    }
    if overlay.user_xattr {
        flag(&fs, "userxattr")?;
    }
    set(&fs, "redirect_dir", b"nofollow")?;
    set(&fs, "index", b"off")?;
    set(&fs, "metacopy", b"off")?;
    rustix::mount::fsconfig_create(fs.as_fd()).map_err(|e| OverlayError::Create(e.into()))?;
    let attributes = if overlay.upper.is_some() {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|e| OverlayError::Mount(e.into()))
}

/// Whether the kernel collects options unseen and looks at them when the file
/// system is created, as overlayfs before 6.5 does.
fn looks_late() -> bool {
    rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .and_then(|fs| rustix::mount::fsconfig_set_flag(fs.as_fd(), "cove-unknown"))
        .is_ok()
}

fn set_lowers(
    fs: &OwnedFd,
    lowers: &[PathBuf],
    held: &mut Vec<OwnedFd>,
) -> Result<(), OverlayError> {
    for (index, lower) in lowers.iter().enumerate() {
        let name = short_name(lower, held)?;
        match rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir+", name.as_slice()) {
            Ok(()) => {}
            Err(Errno::INVAL) if index == 0 => return set_lowers_joined(fs, lowers, held),
            Err(errno) => {
                return Err(OverlayError::Option {
                    option: "lowerdir+",
                    source: errno.into(),
                });
            }
        }
    }
    Ok(())
}

/// The way of kernels before 6.7: one string, colons between the names, so
/// the names are those of descriptors, which are short and have no colon.
fn set_lowers_joined(
    fs: &OwnedFd,
    lowers: &[PathBuf],
    held: &mut Vec<OwnedFd>,
) -> Result<(), OverlayError> {
    let mut joined = String::new();
    for lower in lowers {
        let fd = open_path(lower)?;
        if !joined.is_empty() {
            joined.push(':');
        }
        let _infallible = write!(joined, "/proc/self/fd/{}", fd.as_raw_fd());
        held.push(fd);
    }
    if joined.len() > OPTION_LIMIT {
        return Err(OverlayError::TooManyLayers {
            count: lowers.len(),
        });
    }
    set(fs, "lowerdir", joined.as_bytes())
}

fn short_name(path: &Path, held: &mut Vec<OwnedFd>) -> Result<Vec<u8>, OverlayError> {
    let name = path.as_os_str().as_bytes();
    // `upperdir` and `workdir` unescape backslashes, older kernels split at commas.
    if name.len() <= OPTION_LIMIT && !name.iter().any(|b| matches!(b, b'\\' | b':' | b',')) {
        return Ok(name.to_vec());
    }
    let fd = open_path(path)?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes();
    held.push(fd);
    Ok(name)
}

fn open_path(path: &Path) -> Result<OwnedFd, OverlayError> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| OverlayError::Open {
        path: path.to_owned(),
        source: e.into(),
    })
}

fn set(fs: &OwnedFd, option: &'static str, value: &[u8]) -> Result<(), OverlayError> {
    rustix::mount::fsconfig_set_string(fs.as_fd(), option, value).map_err(|e| {
        OverlayError::Option {
            option,
            source: e.into(),
        }
    })
}

fn flag(fs: &OwnedFd, option: &'static str) -> Result<(), OverlayError> {
    rustix::mount::fsconfig_set_flag(fs.as_fd(), option).map_err(|e| OverlayError::Option {
        option,
        source: e.into(),
    })
}
