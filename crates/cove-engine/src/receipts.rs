//! What must be undone of an instance. Whoever ends a run, removes an instance
//! or clears up after a crash undoes receipts, and nothing else.
//!
//! A receipt is known from the id alone, so it need not be written down before
//! the step that it undoes: a crash at any point leaves nothing that the next
//! command does not find.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cove_model::event::InstanceChange;
use cove_model::instance::{InstanceId, Record};
use cove_state::Collection;
use rustix::fs::FlockOperation;

use crate::Roots;
use crate::driver::process::Process;
use crate::error::{Error, Result};
use crate::events;
use crate::turn::take_turn;

/// One thing that an instance holds outside its record.
#[derive(Debug)]
enum Receipt {
    /// Files of what exists no longer.
    Files(PathBuf),
    /// Its processes and their cgroup, made by the process driver.
    Process(String),
    /// Its directory that dies with a boot.
    Runtime(String),
}

impl Receipt {
    /// Undoes the step. What is not there any more is no error.
    fn undo(&self, roots: &Roots) -> Result<()> {
        match self {
            Self::Files(path) => remove_tree(path),
            Self::Process(id) => Process::new(roots, id).end(),
            Self::Runtime(id) => remove_tree(&roots.runtime_dir(id)),
        }
    }
}

/// Receipts, the first to be undone first. Dropped without being undone, or by
/// a crash, they are left to the next command.
#[derive(Debug)]
pub(crate) struct Receipts {
    roots: Roots,
    list: Vec<Receipt>,
    /// Nobody else undoes them meanwhile.
    _turn: Option<OwnedFd>,
}

impl Receipts {
    /// What one run holds.
    pub(crate) fn of_run(roots: &Roots, id: &str) -> Self {
        Self::new(roots, vec![Receipt::Process(id.to_owned())])
    }

    /// All that dies with a boot.
    pub(crate) fn of_boot(roots: &Roots, id: &str) -> Self {
        let list = vec![
            Receipt::Process(id.to_owned()),
            Receipt::Runtime(id.to_owned()),
        ];
        Self::new(roots, list)
    }

    /// All of a scratch root.
    pub(crate) fn of_scratch(roots: &Roots, id: &str, place: &Path) -> Self {
        let mut receipts = Self::of_boot(roots, id);
        receipts.list.push(Receipt::Files(place.to_owned()));
        receipts
    }

    fn new(roots: &Roots, list: Vec<Receipt>) -> Self {
        Self {
            roots: roots.clone(),
            list,
            _turn: None,
        }
    }

    /// Undoes them. The first that cannot be undone ends it: what is left is needed to try again.
    /// Every block of a file that is freed may be a discard that is waited for, so this
    /// can take as long as a whole run.
    ///
    /// # Errors
    /// What cannot be undone.
    pub(crate) fn undo(self) -> Result<()> {
        let Self { roots, list, .. } = &self;
        list.iter().try_for_each(|receipt| receipt.undo(roots))
    }
}

/// Removes an instance that is down, in one step: it exists no longer, and its
/// name is free. What it held is for the caller to undo.
pub(crate) fn forget(roots: &Roots, id: &InstanceId) -> Result<Receipts> {
    let state = Collection::<Record>::open(&roots.root).map_err(Error::State)?;
    let trash = trash(roots, id);
    // One that cannot be read has no name to be told by.
    let record = state.get(id);
    state.remove(id, &trash).map_err(Error::State)?;
    if let Ok(record) = record {
        let gone = events::of_instance(&record, InstanceChange::Destroy);
        events::note(roots, vec![gone]);
    }
    let turn = take_turn(&trash, FlockOperation::LockExclusive)?;
    let mut receipts = Receipts::of_boot(roots, id.as_str());
    receipts.list.insert(0, Receipt::Files(trash));
    Ok(Receipts {
        _turn: turn,
        ..receipts
    })
}

fn trash(roots: &Roots, id: &InstanceId) -> PathBuf {
    roots.root.join("tmp").join(format!("removed-{id}"))
}

/// Removes a directory tree that need not be there. Another command that finds
/// it meanwhile makes its lock in it before it helps: then it is not empty, and
/// removed once more.
fn remove_tree(path: &Path) -> Result<()> {
    const ATTEMPTS: usize = 100;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match cove_sys::fs::remove_tree(path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && left > 0 => {}
            Err(source) => {
                return Err(Error::File {
                    action: "remove",
                    path: path.to_owned(),
                    source,
                });
            }
            Ok(()) => return Ok(()),
        }
    }
}
