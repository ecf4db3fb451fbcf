//! Instances: what a user can do with them.

mod attach;
mod copy;
mod create;
mod exec;
mod files;
mod lifecycle;
mod limits;
mod logs;
mod recover;
mod remove;
mod status;
mod update;
mod view;

use std::path::PathBuf;

use cove_model::event::InstanceChange;
use cove_model::instance::Record;

use crate::Engine;
use crate::events::of_instance;

pub use crate::driver::process::{ExecRequest, ExecSession, ExecStreams, Processes};
pub use attach::{Attachment, Received};
pub use copy::{Extract, Owner, PathStat, extract, pack};
pub use create::Created;
pub(crate) use create::random_id;
pub use exec::Execution;
pub use files::{Change, ChangeKind, CommitRequest, RootParts, size_of_tree};
pub use logs::{LogLine, LogQuery, LogStream, OutputStream};
pub use remove::PrunedInstances;
pub use status::{Instance, InstanceList};

/// The instances of an installation: see [`Engine::instances`].
#[derive(Debug, Clone, Copy)]
pub struct Instances<'a> {
    engine: &'a Engine,
}

impl Engine {
    /// What runs, ran or may run.
    #[must_use]
    pub const fn instances(&self) -> Instances<'_> {
        Instances { engine: self }
    }
}

impl Instances<'_> {
    /// The directory of an instance that dies with a boot.
    #[must_use]
    pub fn runtime_dir(&self, record: &Record) -> PathBuf {
        self.engine.roots.runtime_dir(record.id.as_str())
    }

    /// The directory of an instance that lasts.
    #[must_use]
    pub fn directory(&self, record: &Record) -> PathBuf {
        self.engine.state.directory(&record.id)
    }

    /// Notes what became of an instance.
    fn note(&self, record: &Record, change: InstanceChange) {
        self.engine.note(of_instance(record, change));
    }
}
