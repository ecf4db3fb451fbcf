//! Removing instances.

use std::io;
use std::os::fd::OwnedFd;

use cove_model::control::{Request, StopTimeout};
use cove_model::event::Happening;
use cove_model::instance::{InstanceId, Record};
use cove_model::status::State as Life;
use cove_supervisor::state::take_over;

use super::Instances;
use super::status::{Instance, is_down};
use crate::error::{Error, ErrorKind, Result};
use crate::receipts::{Receipts, forget};

/// How often a supervisor that appears is ended before that is an error.
const ATTEMPTS: usize = 4;

/// What a prune removed.
#[derive(Debug, Default)]
pub struct PrunedInstances {
    /// The ids of the removed instances.
    pub removed: Vec<String>,
    /// Bytes given back.
    pub reclaimed: u64,
    /// Why some could not be removed.
    pub failed: Vec<Error>,
}

impl Instances<'_> {
    /// Removes an instance; with `force` a running one is killed first.
    ///
    /// # Errors
    /// When it runs and `force` is not given, or something cannot be removed.
    pub fn remove(&self, record: &Record, force: bool) -> Result<()> {
        let status = self.status(record)?;
        let running = status.state.is_running() || status.state == Life::Restarting;
        if running && !force {
            return Err(not_now(&record.id, status.state.as_str()));
        }
        if running {
            self.end_now(&record.id)?;
        }
        // Nobody starts it while it is removed.
        let _lock = self.without_supervisor(&record.id, force || status.state == Life::Created)?;
        match forget(&self.engine.roots, &record.id).and_then(Receipts::undo) {
            // With --rm its supervisor removes it, too.
            Err(Error::State(cove_state::Error::NotFound { .. })) if record.spec.auto_remove => {
                Ok(())
            }
            other => other,
        }
    }

    /// Removes the instance that is called so as [`Self::remove`] does; with `force`
    /// also one whose record is damaged: what runs and what lies on the disk is known
    /// by its id alone.
    ///
    /// # Errors
    /// When there is none, or as with [`Self::remove`].
    pub fn remove_named(&self, text: &str, force: bool) -> Result<()> {
        match self.get(text) {
            Err(Error::State(cove_state::Error::Damaged { .. })) if force => {}
            other => return self.remove(&other?.record, force),
        }
        let id = self.engine.state.find_id(text).map_err(Error::State)?;
        // Nobody starts it while it is removed.
        let _lock = self.without_supervisor(&id, true)?;
        match forget(&self.engine.roots, &id).and_then(Receipts::undo) {
            // With --rm its supervisor removes it, too.
            Err(Error::State(cove_state::Error::NotFound { .. })) => Ok(()),
            other => other,
        }
    }

    /// Kills an instance; when this returns it is down.
    fn end_now(&self, id: &InstanceId) -> Result<()> {
        let request = Request::Stop {
            timeout: StopTimeout::Millis(0),
            signal: Some(cove_model::signal::KILL),
        };
        match self.ask_by_id(id, &request) {
            // It was about to end and to be removed anyway.
            Ok(()) | Err(Error::Unreachable { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The lock of an instance's supervisor, taken by us. One that is there
    /// although the instance is down has been told to start it, by a command
    /// that was killed since or in this moment: with `force` it is ended.
    fn without_supervisor(&self, id: &InstanceId, force: bool) -> Result<Option<OwnedFd>> {
        let runtime = self.engine.roots.runtime_dir(id.as_str());
        for _ in 0..ATTEMPTS {
            match take_over(&runtime) {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) if force => self.end_now(id)?,
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => {
                    return Err(Error::File {
                        action: "lock",
                        path: runtime,
                        source,
                    });
                }
            }
        }
        Err(not_now(id, "starting"))
    }

    /// Removes every instance that is down and that `matches` accepts. One that another
    /// command removes or starts meanwhile is not for this one; one that cannot be read
    /// is among those that failed.
    ///
    /// # Errors
    /// When it cannot be told which there are.
    pub fn prune(&self, matches: impl Fn(&Record) -> bool) -> Result<PrunedInstances> {
        let list = self.list()?;
        let mut pruned = PrunedInstances {
            failed: list.unreadable,
            ..PrunedInstances::default()
        };
        for Instance { record, status } in list.instances {
            if !is_down(status.state) || !matches(&record) {
                continue;
            }
            let bytes = self.written(&record);
            match self.remove(&record, false) {
                Ok(()) => {
                    pruned.removed.push(record.id.to_string());
                    pruned.reclaimed += bytes;
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                }
                Err(error) => pruned.failed.push(error),
            }
        }
        let reclaimed = pruned.reclaimed;
        self.engine.note(Happening::InstancesPruned { reclaimed });
        Ok(pruned)
    }
}

fn not_now(id: &InstanceId, state: &str) -> Error {
    let procedure = match state {
        "paused" => "Unpause and then stop",
        _ => "Stop",
    };
    Error::Conflict(format!(
        "You cannot remove a {state} container {id}. {procedure} the container before attempting \
         removal or force remove"
    ))
}
