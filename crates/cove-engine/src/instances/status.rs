//! How instances are: read from what their supervisors publish, without
//! asking one of them, so that a list of hundreds costs milliseconds.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use cove_model::instance::Record;
use cove_model::status::{State, Status};
use cove_supervisor::paths;
use cove_supervisor::state::{Observed, observe, take_over};
use rustix::fs::FlockOperation;

use super::Instances;
use crate::driver;
use crate::error::{Error, Result};
use crate::receipts::Receipts;
use crate::supervise::{self, Begin};
use crate::turn::take_turn;

/// A status is a few hundred bytes.
const MAX_STATUS: u64 = 64 << 10;

/// An instance and how it is.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What was asked for.
    pub record: Record,
    /// How it is.
    pub status: Status,
}

/// All instances of an installation.
#[derive(Debug, Default)]
pub struct InstanceList {
    /// Those of which it is known what they are, the newest first.
    pub instances: Vec<Instance>,
    /// Why it is not known of the others: each error names its file.
    pub unreadable: Vec<Error>,
}

impl Instances<'_> {
    /// An instance by id, name or beginning of its id.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn get(&self, text: &str) -> Result<Instance> {
        let record = self.engine.state.find(text).map_err(Error::State)?;
        let status = self.status(&record)?;
        Ok(Instance { record, status })
    }

    /// All instances. One whose record or status is damaged, or of a newer
    /// program, hides no other.
    ///
    /// # Errors
    /// When it cannot be told which there are.
    pub fn list(&self) -> Result<InstanceList> {
        // Most of a long list is down: one look at all instead of one at each.
        let awake = self.awake()?;
        let listing = self.engine.state.list().map_err(Error::State)?;
        let mut list = InstanceList {
            instances: Vec::with_capacity(listing.records.len()),
            unreadable: listing.unreadable.into_iter().map(Error::State).collect(),
        };
        for record in listing.records {
            let status = if awake.contains(record.id.as_str()) {
                self.status_in_list(&record)
            } else {
                self.last_status(&record)
            };
            match status {
                Ok(status) => list.instances.push(Instance { record, status }),
                Err(error) => list.unreadable.push(error),
            }
        }
        list.instances
            .sort_by(|a, b| b.record.created.cmp(&a.record.created));
        Ok(list)
    }

    /// How an instance is, for a list of many: one that no supervisor can take over is as
    /// it was last seen, and does not hide the others.
    pub(crate) fn status_in_list(&self, record: &Record) -> Result<Status> {
        match self.status(record) {
            Err(error @ (Error::Spawn { .. } | Error::Supervisor { .. })) => {
                let seen = self.look(record).ok().flatten();
                seen.map(|seen| seen.status).ok_or(error)
            }
            other => other,
        }
    }

    /// How an instance is. One whose supervisor was killed gets a new one.
    ///
    /// # Errors
    /// When its status is damaged or no supervisor can be started.
    pub fn status(&self, record: &Record) -> Result<Status> {
        let Some(seen) = self.look(record)? else {
            self.clear_sandbox(record);
            return self.last_status(record);
        };
        if !is_orphan(&seen) {
            if !seen.supervised {
                self.clear_sandbox(record);
            }
            return Ok(seen.status);
        }
        // Of several commands that see this, one at a time: the next finds it supervised.
        let runtime = self.engine.roots.runtime_dir(record.id.as_str());
        let _turn = take_turn(&runtime, FlockOperation::LockExclusive)?;
        let Some(seen) = self.look(record)? else {
            return self.last_status(record);
        };
        if !is_orphan(&seen) {
            return Ok(seen.status);
        }
        // What it says, and not what it published: the file system may be full.
        supervise::spawn(self.engine, record, &Begin::Adopt)
    }

    pub(crate) fn is_down(&self, record: &Record) -> Result<bool> {
        Ok(is_down(self.status(record)?.state))
    }

    /// Whether anything of an instance may run, for who holds what others wait for: no
    /// supervisor is put beside it, though of an orphan only one could tell.
    pub(crate) fn may_run(&self, record: &Record) -> Result<bool> {
        let seen = self.look(record)?;
        Ok(seen.is_some_and(|seen| is_orphan(&seen) || !is_down(seen.status.state)))
    }

    /// The ids of which there is anything that dies with a boot. All others are
    /// down for certain.
    pub(super) fn awake(&self) -> Result<BTreeSet<String>> {
        let mut ids = names(&self.engine.roots.runroot.join("containers"))?;
        ids.extend(names(&self.engine.roots.sandbox())?);
        Ok(ids)
    }

    /// Removes what the sandbox has of an instance that is down, because its
    /// supervisor was killed while it made or removed it. What cannot be
    /// removed is no reason not to say how the instance is; a start says why.
    fn clear_sandbox(&self, record: &Record) {
        if driver::of(&self.engine.roots, record).exists() {
            drop(self.try_clear_sandbox(record.id.as_str()));
        }
    }

    /// Leaves an instance alone that somebody starts now.
    fn try_clear_sandbox(&self, id: &str) -> Result<()> {
        let runtime = self.engine.roots.runtime_dir(id);
        let turn = take_turn(&runtime, FlockOperation::NonBlockingLockExclusive)?;
        let lock = take_over(&runtime).map_err(|source| Error::File {
            action: "lock",
            path: runtime,
            source,
        })?;
        if turn.is_none() || lock.is_none() {
            return Ok(());
        }
        Receipts::of_run(&self.engine.roots, id).undo()
    }

    /// What is published of an instance since the boot.
    pub(super) fn look(&self, record: &Record) -> Result<Option<Observed>> {
        observe(&self.engine.roots.runtime_dir(record.id.as_str()))
            .map_err(|source| Error::Observe { source })
    }

    /// How an instance that has not run since the boot was last.
    fn last_status(&self, record: &Record) -> Result<Status> {
        let path = self.last_status_path(record);
        let created = || Status::created(record.id.as_str(), 0, record.created.clone());
        let Some(mut status) = read(&path)? else {
            return Ok(created());
        };
        if status.state.is_running() || status.state == State::Restarting {
            // A boot or a power cut ended it, and nobody saw how.
            status.state = State::Exited;
            status.exit_code = Some(255);
            status.init = None;
        }
        Ok(status)
    }

    /// Where the last status is kept beyond a boot.
    pub(crate) fn last_status_path(&self, record: &Record) -> std::path::PathBuf {
        self.engine.state.directory(&record.id).join(paths::STATUS)
    }
}

/// Whether there is nothing of an instance that a supervisor could be asked about.
pub(super) fn is_down(state: State) -> bool {
    match state {
        State::Created | State::Exited | State::Dead => true,
        State::Running | State::Paused | State::Restarting => false,
    }
}

/// Whether the supervisor that the status speaks of was killed.
pub(super) fn is_orphan(seen: &Observed) -> bool {
    let settled = matches!(seen.status.state, State::Exited | State::Dead)
        || (seen.status.state == State::Created && seen.status.init.is_none());
    !settled && !seen.supervised
}

/// The names in a directory, which need not be there.
fn names(path: &Path) -> Result<BTreeSet<String>> {
    let fail = |source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.map_err(fail)?,
    };
    entries
        .map(|entry| {
            Ok(entry
                .map_err(fail)?
                .file_name()
                .to_string_lossy()
                .into_owned())
        })
        .collect()
}

fn read(path: &Path) -> Result<Option<Status>> {
    let fail = |source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let bytes = match cove_sys::fs::read(path, MAX_STATUS) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| fail(error.into()))
}
