//! What a supervisor runs: an instance, through its driver, as its record says
//! at the beginning of each run.

use std::path::PathBuf;

use cove_model::control::{Exited, Failure};
use cove_model::instance::{InstanceId, Record};
use cove_model::status::ProcessId;
use cove_state::State;
use cove_supervisor::workload::{ContainerStdio, Created, Workload};

use crate::Roots;
use crate::driver::process::{Launch, Launched, Process};
use crate::error::{Error, ErrorKind, Result};
use crate::receipts::{Receipts, forget};
use crate::turn::RecordLock;

/// One instance, seen from its supervisor.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) roots: Roots,
    pub(super) id: InstanceId,
    /// The binary as the host knows it; ours is sealed and has no path.
    pub(super) executable: PathBuf,
    /// The image's layers as overlayfs wants them.
    pub(super) lowers: Vec<PathBuf>,
    /// It waits for its start.
    launched: Option<Launched>,
    /// What it held, once it is removed.
    receipts: Option<Receipts>,
}

impl Supervised {
    pub(super) const fn new(
        roots: Roots,
        id: InstanceId,
        executable: PathBuf,
        lowers: Vec<PathBuf>,
    ) -> Self {
        Self {
            roots,
            id,
            executable,
            lowers,
            launched: None,
            receipts: None,
        }
    }

    /// Clears away what an instance held that was removed: after those who
    /// waited for that were told.
    pub(super) fn clear(self) {
        if let Some(receipts) = self.receipts {
            // What cannot be removed now is left to the next command.
            drop(receipts.undo());
        }
    }

    fn process(&self) -> Process<'_> {
        Process::new(&self.roots, self.id.as_str())
    }

    fn record(&self) -> Result<Record> {
        State::open(&self.roots.root)
            .and_then(|state| state.get(&self.id))
            .map_err(Error::State)
    }

    fn launch(&self, stdio: ContainerStdio) -> Result<(Launched, Created)> {
        let directory = super::directory(&self.roots, &self.id);
        // An update may have changed it since we began, or since the last run; the next one waits
        // until there is something that it changes.
        let _held = RecordLock::take(&directory)?;
        let record = self.record()?;
        // We hold the supervisor's lock: what is there is of one that was killed.
        Receipts::of_run(&self.roots, self.id.as_str()).undo()?;
        let launch = Launch {
            roots: &self.roots,
            id: self.id.as_str(),
            spec: &record.spec,
            directory: &directory,
            lowers: &self.lowers,
            executable: &self.executable,
        };
        launch.create(stdio)
    }
}

impl Workload for Supervised {
    fn create(&mut self, stdio: ContainerStdio) -> Result<Created, Failure> {
        let (launched, created) = self
            .launch(stdio)
            .map_err(|error| failure("create", &error))?;
        self.launched = Some(launched);
        Ok(created)
    }

    fn adopt(&mut self, _init: ProcessId) -> Result<(), Failure> {
        self.process()
            .adopt()
            .map_err(|error| failure("adopt", &error))
    }

    fn start(&mut self) -> Result<(), Failure> {
        match self.launched.take() {
            Some(launched) => launched.start().map_err(|error| failure("start", &error)),
            None => Err(Failure::new("start", "the container has not been created")),
        }
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<(), Failure> {
        self.process()
            .signal(signal, all)
            .map_err(|error| failure("signal", &error))
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.process()
            .freeze()
            .map_err(|error| failure("pause", &error))
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.process()
            .thaw()
            .map_err(|error| failure("resume", &error))
    }

    fn oom_killed(&mut self) -> bool {
        self.process().oom_killed()
    }

    fn cleanup(&mut self, _exited: &Exited) -> Result<(), Failure> {
        self.launched = None;
        Receipts::of_run(&self.roots, self.id.as_str())
            .undo()
            .map_err(|error| failure("cleanup", &error))
    }

    fn remove(&mut self) -> Result<(), Failure> {
        let receipts = self
            .record()
            .and_then(|record| forget(&self.roots, &record))
            .map_err(|error| failure("remove", &error))?;
        self.receipts = Some(receipts);
        Ok(())
    }
}

/// What the supervisor reports: the sentence with its causes, and the exit
/// status that a foreground command ends with.
fn failure(step: &str, error: &Error) -> Failure {
    let message = crate::error::sentence(error);
    let mut errno = None;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            errno = io.raw_os_error();
        }
        source = cause.source();
    }
    let exit_code = match error.kind() {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::InvalidInput
        | ErrorKind::Unauthorized
        | ErrorKind::Unsupported
        | ErrorKind::Internal => 125,
    };
    Failure {
        step: step.to_owned(),
        errno,
        message,
        exit_code,
    }
}
