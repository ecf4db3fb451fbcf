//! A container that exists: every operation after its creation, from any process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use cove_model::error::sentence;
use oci_spec::runtime::{LinuxResources, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup::{self, Backend};
use crate::create::poststart;
use crate::error::{Error, Result};
use crate::exec::{self, ExecChild};
use crate::hooks;
use crate::options::ExecOptions;
use crate::placement::clean_up;
use crate::sockets::{listens, signal_start};
use crate::state::{OciState, START_SOCKET, StateDir, Status, Stored};

/// How long a killed init may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container by its state directory.
#[derive(Debug)]
pub struct Container {
    dir: StateDir,
    stored: Stored,
}

/// The ids of the containers under `state_root`, sorted; none if there is no such directory.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(state_root: &Path) -> Result<Vec<String>> {
    let failed = |e: io::Error| Error::state("list", state_root, e);
    let entries = match std::fs::read_dir(state_root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.path().join("state.json").exists() {
            ids.extend(entry.file_name().into_string());
        }
    }
    ids.sort();
    Ok(ids)
}

impl Container {
    /// Opens the container `id`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; others if its state cannot be read.
    pub fn load(state_root: &Path, id: &str) -> Result<Self> {
        let dir = StateDir::open(state_root, id)?;
        match dir.read() {
            Ok(stored) => Ok(Self { dir, stored }),
            Err(Error::State { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                // Between the first two steps of a creation, or what a killed one left.
                Ok(Self {
                    stored: Stored::unfinished(id),
                    dir,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.stored.id
    }

    /// Seconds since 1970 at its creation.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.stored.created
    }

    /// The user who created it.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.stored.owner
    }

    /// Absolute path of its root filesystem as the specification names it.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.stored.rootfs
    }

    /// The process of its specification: what an exec takes its defaults from.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.stored.process.as_ref()
    }

    /// A descriptor of the living init, which no later process of the same pid can be.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] if it has ended.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        self.living_init()
            .ok_or_else(|| self.wrong("reach", Status::Stopped))
    }

    /// Where it is in its life.
    ///
    /// # Errors
    /// If its cgroup cannot be asked.
    pub fn status(&self) -> Result<Status> {
        self.status_in(|| self.cgroup())
    }

    fn status_in<C>(&self, cgroup: impl FnOnce() -> Result<Option<C>>) -> Result<Status>
    where
        C: std::ops::Deref<Target = dyn Backend>,
    {
        if self.stored.pid == 0 {
            return Ok(if self.dir.is_locked() {
                Status::Creating
            } else {
                Status::Stopped
            });
        }
        if self.living_init().is_none() {
            return Ok(Status::Stopped);
        }
        // First, since a frozen init that waits for its start would never hear of it.
        if cgroup()?.is_some_and(|cgroup| cgroup.is_frozen().unwrap_or(false)) {
            return Ok(Status::Paused);
        }
        Ok(if self.waits() {
            Status::Created
        } else {
            Status::Running
        })
    }

    /// The state document of the runtime specification.
    ///
    /// # Errors
    /// As [`Container::status`].
    pub fn state(&self) -> Result<OciState> {
        Ok(self.stored.oci(self.status()?))
    }

    /// Lets the program of a created container run. When a hook fails, the container is destroyed, as
    /// its life cycle wants it.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] unless it waits for this; else why the program could not run.
    pub fn start(mut self) -> Result<Vec<String>> {
        self.dir.lock()?;
        match self.start_locked() {
            Err(failed) if failed.is_hook() => Err(match self.delete_locked(true) {
                Ok(failures) => failed.undoing(failures),
                Err(error) => failed.undoing(vec![sentence(&error)]),
            }),
            other => other,
        }
    }

    fn start_locked(&self) -> Result<Vec<String>> {
        let status = self.status()?;
        if status != Status::Created || !self.stored.detached {
            return Err(self.wrong("start", status));
        }
        let pidfd = self.pidfd()?;
        let warnings = signal_start(&self.dir)?;
        poststart(&self.stored, pidfd.as_fd())?;
        Ok(warnings)
    }

    /// Sends signal number `signal` to the init, or with `all` to every process of the container; 0
    /// sends none and only asks whether one could be sent.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] if the init has ended and `all` is not asked for.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        let Some(signal) = signal_of(signal)? else {
            return match self.living_init() {
                Some(_) => Ok(()),
                None => Err(self.wrong("kill", Status::Stopped)),
            };
        };
        let cgroup = self.cgroup()?;
        if all {
            return match cgroup {
                Some(cgroup) if self.has_successor(&*cgroup)? => {
                    Err(self.wrong("kill", Status::Stopped))
                }
                Some(cgroup) => cgroup
                    .signal(signal)
                    .map_err(|source| Error::Cgroup { source }),
                None => Err(self.without_cgroup("kill all processes of")),
            };
        }
        let Some(pidfd) = self.living_init() else {
            return Err(self.wrong("kill", Status::Stopped));
        };
        match pidfd_send_signal(&pidfd, signal) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Err(self.wrong("kill", Status::Stopped)),
            Err(error) => return Err(Error::os("signal the init", error)),
        }
        if signal == Signal::KILL
            && let Some(cgroup) = cgroup
            && cgroup.is_frozen().unwrap_or(false)
        {
            // On v1 a frozen process does not even die.
            cgroup.thaw().map_err(|source| Error::Cgroup { source })?;
        }
        Ok(())
    }

    /// Removes what is left of a container that has ended or was never started; with `force` ends
    /// a running one first. Also cleans up after a creator that was killed half-way. Answers with
    /// the failures of poststop hooks, which stop nothing.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] if it runs and `force` is not given; otherwise what could not be
    /// removed, and a second call goes on from there.
    pub fn delete(mut self, force: bool) -> Result<Vec<String>> {
        self.dir.lock()?;
        self.delete_locked(force)
    }

    fn delete_locked(&mut self, force: bool) -> Result<Vec<String>> {
        // Somebody else may have gone before us while we waited.
        match self.dir.read() {
            Ok(stored) => self.stored = stored,
            Err(Error::State { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            // Not even readable: there is nothing in it to clean up by.
            Err(_) if force => {}
            Err(error) => return Err(error),
        }
        if let Some(pidfd) = self.living_init() {
            if !force && !self.waits() {
                return Err(self.wrong("delete", self.status()?));
            }
            self.end(&pidfd)?;
        }
        if let Some(cgroup) = self.cgroup()?
            && !self.has_successor(&*cgroup)?
        {
            // Processes that outlived an init without a pid namespace of its own.
            let kill = cgroup.signal(Signal::KILL);
            cgroup.delete().map_err(|source| Error::Cgroup { source })?;
            kill.map_err(|source| Error::Cgroup { source })?;
        }
        if let Some(intent) = &self.stored.intent {
            clean_up(&self.stored.id, intent)?;
        }
        self.dir.remove()?;
        Ok(hooks::run_poststop(&self.stored))
    }

    /// The processes of the container, as the host sees them.
    ///
    /// # Errors
    /// If its cgroup cannot be read.
    pub fn ps(&self) -> Result<Vec<i32>> {
        match self.cgroup()? {
            Some(cgroup) => {
                let pids = cgroup.pids().map_err(|source| Error::Cgroup { source })?;
                Ok(pids
                    .into_iter()
                    .map(|pid| pid.as_raw_nonzero().get())
                    .collect())
            }
            None => Ok(self
                .living_init()
                .map(|_| self.stored.pid)
                .into_iter()
                .collect()),
        }
    }

    /// Freezes every process.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] unless it runs.
    pub fn pause(&self) -> Result<()> {
        match self.status()? {
            Status::Running | Status::Created => {}
            status => return Err(self.wrong("pause", status)),
        }
        self.need_cgroup("pause")?
            .freeze()
            .map_err(|source| Error::Cgroup { source })
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] unless it is paused.
    pub fn resume(&self) -> Result<()> {
        match self.status()? {
            Status::Paused => {}
            status => return Err(self.wrong("resume", status)),
        }
        self.need_cgroup("resume")?
            .thaw()
            .map_err(|source| Error::Cgroup { source })
    }

    /// Changes limits; what is not named stays. By what is returned the change can be taken back.
    ///
    /// # Errors
    /// If a limit cannot be applied; none is changed then.
    pub fn update(&self, resources: &LinuxResources) -> Result<cgroup::Former> {
        match self.status()? {
            Status::Stopped => return Err(self.wrong("update", Status::Stopped)),
            Status::Creating | Status::Created | Status::Running | Status::Paused => {}
        }
        self.need_cgroup("update")?
            .update(resources)
            .map_err(|source| Error::Cgroup { source })
    }

    /// Usage so far.
    ///
    /// # Errors
    /// If its cgroup cannot be read.
    pub fn stats(&self) -> Result<cgroup::Stats> {
        self.need_cgroup("measure")?
            .stats()
            .map_err(|source| Error::Cgroup { source })
    }

    /// Its cgroup; `None` if it was created without one.
    ///
    /// # Errors
    /// If a hierarchy is no longer mounted.
    pub fn cgroup(&self) -> Result<Option<Box<dyn Backend>>> {
        if self.stored.cgroup.groups.is_empty() {
            return Ok(None);
        }
        cgroup::open(&self.stored.cgroup)
            .map(Some)
            .map_err(|source| Error::Cgroup { source })
    }

    /// Executes another process in the container.
    ///
    /// The caller must be single-threaded, and waits for the process as for any child.
    ///
    /// # Errors
    /// [`Error::WrongStatus`] unless the container runs; else one variant per step.
    pub fn exec(&self, process: &Process, options: ExecOptions<'_>) -> Result<ExecChild> {
        let cgroup = self.cgroup()?;
        match self.status_in(|| Ok(cgroup.as_deref()))? {
            Status::Running | Status::Created => {}
            Status::Paused if options.ignore_paused => {}
            status => return Err(self.wrong("exec in", status)),
        }
        exec::run(&self.stored, &self.pidfd()?, cgroup, process, options)
    }

    /// Whether this container has ended and another was made in its cgroup since, whose it is now.
    fn has_successor(&self, cgroup: &dyn Backend) -> Result<bool> {
        let pids = || cgroup.pids().map_err(|source| Error::Cgroup { source });
        if self.living_init().is_some() || pids()?.is_empty() {
            return Ok(false);
        }
        let Some(root) = self.dir.path.parent() else {
            return Ok(false);
        };
        let same = |other: &Self| {
            let groups = other.stored.cgroup.groups.iter();
            let own = &self.stored.cgroup.groups;
            groups
                .zip(own)
                .any(|(one, own)| (&one.mount, &one.path) == (&own.mount, &own.path))
        };
        let others = list(root)?.into_iter().filter(|id| *id != self.stored.id);
        Ok(others
            .filter_map(|id| Self::load(root, &id).ok())
            .any(|other| same(&other) && other.living_init().is_some()))
    }

    /// The version of the specification that it was created by.
    #[must_use]
    pub fn oci_version(&self) -> &str {
        &self.stored.oci_version
    }

    /// The init, if it is alive and still the process that was recorded.
    fn living_init(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.stored.pid).filter(|_| self.stored.pid > 0)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The descriptor pins whoever has the pid now; only then its start time is compared.
        let (start, zombie) = cove_sys::proc::start_time(self.stored.pid).ok()?;
        (start == self.stored.start_time && !zombie).then_some(pidfd)
    }

    /// Whether the init has not been started yet: it is asked itself.
    fn waits(&self) -> bool {
        if !self.stored.detached {
            return self.dir.is_locked();
        }
        self.dir.path.join(START_SOCKET).exists() && listens(&self.dir)
    }

    fn end(&self, pidfd: &OwnedFd) -> Result<()> {
        match pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(Error::os("kill the init", error)),
        }
        let cgroup = self.cgroup()?;
        let failed = |source| Error::Cgroup { source };
        if let Some(cgroup) = &cgroup {
            cgroup.signal(Signal::KILL).map_err(failed)?;
        }
        if has_ended(pidfd, cgroup::USUAL)? {
            return Ok(());
        }
        if let Some(cgroup) = &cgroup {
            cgroup.check_dying().map_err(failed)?;
        }
        if has_ended(pidfd, PATIENCE)? {
            return Ok(());
        }
        let late = io::Error::from(io::ErrorKind::TimedOut);
        Err(Error::os("wait for the killed init", late))
    }

    fn need_cgroup(&self, operation: &'static str) -> Result<Box<dyn Backend>> {
        self.cgroup()?.ok_or_else(|| self.without_cgroup(operation))
    }

    fn without_cgroup(&self, operation: &str) -> Error {
        Error::Unsupported(format!(
            "cannot {operation} {}: it has no cgroup",
            self.stored.id
        ))
    }

    fn wrong(&self, operation: &'static str, status: Status) -> Error {
        Error::WrongStatus {
            id: self.stored.id.clone(),
            operation,
            status,
        }
    }
}

/// Waits for the end of a process, so long.
fn has_ended(pidfd: &OwnedFd, patience: Duration) -> Result<bool> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::os("wait for the killed init", error)),
        }
    }
}

fn signal_of(number: i32) -> Result<Option<Signal>> {
    if number == 0 {
        return Ok(None);
    }
    if !(1..=64).contains(&number) {
        return Err(Error::Invalid(format!("{number} is no signal")));
    }
    // SAFETY: the number is one the kernel knows; it is only ever sent, to another process.
    #[expect(unsafe_code, reason = "real-time signals have no safe constructor")]
    Ok(Some(unsafe { Signal::from_raw_unchecked(number) }))
}
