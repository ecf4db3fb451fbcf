//! Starting a supervisor, and the first words between it and who started it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cove_model::control::{Failure, Reply};
use cove_model::status::Status;
use cove_sys::spawn::{spawn_session, take_inherited};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::wire;

/// Where a supervisor finds its configuration (whatever bytes it was given).
const CONFIG_FD: i32 = 3;
/// Where it reports that it is ready.
const READY_FD: i32 = 4;
const CONFIG_LIMIT: u64 = 16 << 20;
const REPORT_LIMIT: u64 = 1 << 20;

/// A supervisor that was started.
#[derive(Debug)]
pub struct Handle {
    pid: i32,
    ready: OwnedFd,
}

/// Why no supervisor runs.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The configuration could not be put aside for it.
    #[error("cannot pass the configuration to the supervisor")]
    Config(#[source] io::Error),
    /// The ready pipe or /dev/null.
    #[error("cannot prepare the descriptors of the supervisor")]
    Descriptors(#[source] io::Error),
    /// It could not be executed.
    #[error("cannot execute the supervisor")]
    Execute(#[source] io::Error),
    /// It ended without a word.
    #[error("the supervisor ended before it was ready")]
    Silent(#[source] io::Error),
    /// It reported why the instance could not be created (or started).
    #[error("the instance could not be created")]
    Failed(#[source] Failure),
}

/// Starts `exe` (see `cove_sys::seal`) as a supervisor: leader of a new session, stdio on
/// /dev/null, the working directory of the caller, `env` as its whole environment.
/// `argv` must lead the program to call [`Inherited::take`].
///
/// The new process is a child of the caller until the caller ends; a caller
/// that lives on reaps it.
///
/// # Errors
/// All of [`SpawnError`] but `Silent` and `Failed`.
pub fn spawn(
    exe: BorrowedFd<'_>,
    argv: &[CString],
    env: &[CString],
    config: &[u8],
) -> Result<Handle, SpawnError> {
    let config = memory_file(config).map_err(SpawnError::Config)?;
    let prepare = |error: rustix::io::Errno| SpawnError::Descriptors(error.into());
    let (ready, report) = pipe_with(PipeFlags::CLOEXEC).map_err(prepare)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(prepare)?;
    let null = null.as_fd();
    let fds = [null, null, null, config.as_fd(), report.as_fd()];
    let pid = spawn_session(exe, argv, env, &fds).map_err(SpawnError::Execute)?;
    Ok(Handle { pid, ready })
}

impl Handle {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the instance is created (started, when so configured).
    ///
    /// # Errors
    /// `Silent` or `Failed`.
    pub fn wait_ready(self) -> Result<Status, SpawnError> {
        let mut bytes = Vec::new();
        File::from(self.ready)
            .take(REPORT_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(SpawnError::Silent)?;
        match wire::decode::<Reply>(&bytes) {
            Ok(Some((Reply::Status(status), _))) => Ok(status),
            Ok(Some((Reply::Failed(failure), _))) => Err(SpawnError::Failed(failure)),
            Ok(_) => Err(SpawnError::Silent(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(SpawnError::Silent(error)),
        }
    }
}

/// What a supervisor was started with.
#[derive(Debug)]
pub struct Inherited {
    /// The bytes given to [`spawn`].
    pub config: Vec<u8>,
    /// To be handed to `run`; dropped without a word it means failure.
    pub ready: Ready,
}

impl Inherited {
    /// Takes what [`spawn`] passed. Once, first thing in a process started by it.
    ///
    /// # Errors
    /// The process was not started by [`spawn`].
    pub fn take() -> io::Result<Self> {
        let config = File::from(take_inherited(CONFIG_FD)?);
        let ready = Ready(Some(take_inherited(READY_FD)?));
        Ok(Self {
            config: cove_sys::fs::read_from(config, CONFIG_LIMIT)?,
            ready,
        })
    }
}

/// The end of the ready pipe where the one word is said.
#[derive(Debug)]
pub struct Ready(Option<OwnedFd>);

impl Ready {
    /// Nobody waits.
    #[must_use]
    pub fn nobody() -> Self {
        Self(None)
    }

    /// Reports that the instance is there.
    pub fn ready(&mut self, status: &Status) {
        self.report(&Reply::Status(status.clone()));
    }

    /// Reports why it is not; also for what fails before `run`.
    pub fn failed(&mut self, failure: &Failure) {
        self.report(&Reply::Failed(failure.clone()));
    }

    fn report(&mut self, reply: &Reply) {
        let Some(pipe) = self.0.take() else { return };
        // Whoever started us may be gone already; the instance does not care.
        if let Ok(bytes) = wire::encode(reply) {
            File::from(pipe).write_all(&bytes).unwrap_or(());
        }
    }
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("cove-supervisor-config", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
