//! Learning that the kernel killed for want of memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::dir::Dir;
use super::error::{CgroupError, Result};
use super::stats::keyed;

/// Becomes readable when something happened to the cgroup's memory. Then
/// [`OomWatch::kills`] tells how many processes were killed so far.
#[derive(Debug)]
pub struct OomWatch {
    event: OwnedFd,
    directory: Dir,
    file: &'static str,
}

impl OomWatch {
    /// v1: an eventfd, registered through `cgroup.event_control`.
    pub(super) fn v1(directory: Dir) -> Result<Self> {
        let wait = |what, source| CgroupError::Wait {
            path: directory.path(""),
            what,
            source,
        };
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| wait("eventfd", source))?;
        let control = directory.open_file("memory.oom_control")?;
        let line = format!("{} {}", raw(&event), raw(&control));
        directory.write("cgroup.event_control", &line)?;
        Ok(Self {
            event,
            directory,
            file: "memory.oom_control",
        })
    }

    /// v2: inotify on `memory.events`.
    pub(super) fn v2(directory: Dir) -> Result<Self> {
        let wait = |what, source| CgroupError::Wait {
            path: directory.path(""),
            what,
            source,
        };
        let event = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .map_err(|source| wait("inotify_init", source))?;
        let file = directory.open_file("memory.events")?;
        // The name of the open file itself: nothing is looked up a second time.
        let name = format!("/proc/self/fd/{}", raw(&file));
        inotify::add_watch(&event, Path::new(&name), inotify::WatchFlags::MODIFY)
            .map_err(|source| wait("inotify_add_watch", source))?;
        Ok(Self {
            event,
            directory,
            file: "memory.events",
        })
    }

    /// Processes killed so far in this cgroup. Clears the readiness first, so
    /// that a kill after this call makes the descriptor readable again.
    ///
    /// # Errors
    /// When the cgroup can no longer be read; one that is gone counts nothing.
    pub fn kills(&mut self) -> Result<u64> {
        let mut buffer = [0_u8; 4096];
        loop {
            match rustix::io::read(&self.event, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(source) => {
                    let path = self.directory.path(self.file);
                    return Err(CgroupError::Read { path, source });
                }
            }
        }
        Ok(self
            .directory
            .read_if_there(self.file)?
            .and_then(|text| keyed(&text, "oom_kill"))
            .unwrap_or(0))
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

fn raw(fd: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_raw_fd()
}
