//! Removing instances.

use std::io;
use std::os::fd::OwnedFd;

use cove_model::control::{Request, StopTimeout};
use cove_model::instance::Record;
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
            return Err(not_now(record, status.state.as_str()));
        }
        if running {
            self.end_now(record)?;
        }
        // Nobody starts it while it is removed.
        let _lock = self.without_supervisor(record, force || status.state == Life::Created)?;
        match forget(&self.engine.roots, record).and_then(Receipts::undo) {
            // With --rm its supervisor removes it, too.
            Err(Error::State(cove_state::Error::NotFound { .. })) if record.spec.auto_remove => {
                Ok(())
            }
            other => other,
        }
    }

    /// Kills an instance; when this returns it is down.
    fn end_now(&self, record: &Record) -> Result<()> {
        let request = Request::Stop {
            timeout: StopTimeout::Millis(0),
            signal: Some(cove_model::signal::KILL),
        };
        match self.ask(record, &request) {
            // It was about to end and to be removed anyway.
            Ok(()) | Err(Error::Unreachable { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The lock of an instance's supervisor, taken by us. One that is there
    /// although the instance is down has been told to start it, by a command
    /// that was killed since or in this moment: with `force` it is ended.
    fn without_supervisor(&self, record: &Record, force: bool) -> Result<Option<OwnedFd>> {
        let runtime = self.runtime_dir(record);
        for _ in 0..ATTEMPTS {
            match take_over(&runtime) {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) if force => self.end_now(record)?,
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
        Err(not_now(record, "starting"))
    }

    /// Removes every instance that is down and that `matches` accepts. One that another
    /// command removes or starts meanwhile is not for this one.
    ///
    /// # Errors
    /// When it cannot be told which there are.
    pub fn prune(&self, matches: impl Fn(&Record) -> bool) -> Result<PrunedInstances> {
        let mut pruned = PrunedInstances::default();
        for Instance { record, status } in self.list()? {
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
        Ok(pruned)
    }
}

fn not_now(record: &Record, state: &str) -> Error {
    let procedure = match state {
        "paused" => "Unpause and then stop",
        _ => "Stop",
    };
    Error::Conflict(format!(
        "You cannot remove a {state} container {}. {procedure} the container before attempting \
         removal or force remove",
        record.id
    ))
}
