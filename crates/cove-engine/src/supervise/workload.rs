//! What a supervisor runs: an instance, through its driver, as its record says
//! at the beginning of each run.

use std::path::PathBuf;

use cove_model::control::{Exited, Failure, Step};
use cove_model::event::InstanceChange;
use cove_model::instance::{InstanceId, Record};
use cove_model::status::ProcessId;
use cove_state::{Collection, Error as StateError};
use cove_storage::Lowers;
use cove_supervisor::workload::{ContainerStdio, Created, Workload};

use crate::Roots;
use crate::driver::process::{Launch, Launched, Process};
use crate::error::{Error, Result};
use crate::events;
use crate::receipts::{Receipts, forget};

/// One instance, seen from its supervisor.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) roots: Roots,
    pub(super) id: InstanceId,
    /// The binary as the host knows it; ours is sealed and has no path.
    pub(super) executable: PathBuf,
    /// The image's layers as overlayfs wants them.
    pub(super) lowers: Lowers,
    /// Its record as the last run began with it.
    record: Option<Record>,
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
        lowers: Lowers,
    ) -> Self {
        Self {
            roots,
            id,
            executable,
            lowers,
            record: None,
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

    fn launch(&mut self, stdio: ContainerStdio) -> Result<(Launched, Created)> {
        // An update may have changed it since we began, or since the last run; the next one waits
        // until there is something that it changes. Whoever holds the lock asks no supervisor
        // anything, since that may be waiting for it.
        let state = Collection::<Record>::open(&self.roots.root).map_err(Error::State)?;
        let locked = state.lock(&self.id).map_err(Error::State)?;
        let record = match (locked.get(), self.record.take()) {
            (Ok(record), _) => record,
            // What a newer program wrote, or a disk has spoilt, is no reason not to go on.
            (Err(StateError::Newer { .. } | StateError::Damaged { .. }), Some(record)) => record,
            (Err(error), _) => return Err(Error::State(error)),
        };
        let record = self.record.insert(record);
        let directory = state.directory(&self.id);
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
            .map_err(|error| failure(Step::Create, &error))?;
        self.launched = Some(launched);
        Ok(created)
    }

    fn adopt(&mut self, _init: ProcessId) -> Result<(), Failure> {
        self.process()
            .adopt()
            .map_err(|error| failure(Step::Adopt, &error))
    }

    fn start(&mut self) -> Result<Vec<String>, Failure> {
        match self.launched.take() {
            Some(launched) => launched
                .start()
                .map_err(|error| failure(Step::Start, &error)),
            None => Err(Failure::new(
                Step::Start,
                "the container has not been created",
            )),
        }
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<(), Failure> {
        self.process()
            .signal(signal, all)
            .map_err(|error| failure(Step::Signal, &error))
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.process()
            .freeze()
            .map_err(|error| failure(Step::Pause, &error))
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.process()
            .thaw()
            .map_err(|error| failure(Step::Resume, &error))
    }

    fn oom_killed(&mut self) -> bool {
        self.process().oom_killed()
    }

    fn cleanup(&mut self, _exited: &Exited) -> Result<(), Failure> {
        self.launched = None;
        Receipts::of_run(&self.roots, self.id.as_str())
            .undo()
            .map_err(|error| failure(Step::Cleanup, &error))
    }

    fn tell(&mut self, changes: Vec<InstanceChange>) {
        // Since its start it may have been given another name.
        if (self.record.is_none() || !changes.contains(&InstanceChange::Start))
            && let Ok(state) = Collection::<Record>::open(&self.roots.root)
            && let Ok(record) = state.get(&self.id)
        {
            self.record = Some(record);
        }
        let Some(record) = &self.record else {
            return;
        };
        let told = changes.into_iter();
        let told = told.map(|change| events::of_instance(record, change));
        events::note(&self.roots, told.collect());
    }

    fn remove(&mut self) -> Result<(), Failure> {
        let receipts =
            forget(&self.roots, &self.id).map_err(|error| failure(Step::Remove, &error))?;
        self.receipts = Some(receipts);
        Ok(())
    }
}

/// What the supervisor reports: the sentence with its causes, and of what kind
/// it is.
fn failure(step: Step, error: &Error) -> Failure {
    let message = crate::error::sentence(error);
    let mut errno = None;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            errno = io.raw_os_error();
        }
        source = cause.source();
    }
    Failure {
        step,
        kind: error.kind(),
        errno,
        message,
    }
}
