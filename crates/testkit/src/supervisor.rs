//! The supervisor of an instance, seen without a command that could start one.

use std::fs::{File, OpenOptions};
use std::path::Path;

use cove_model::status::Status;
use cove_sys::ofd_lock;

/// What there is to be seen of an instance's supervisor.
#[derive(Debug)]
pub struct Seen {
    /// What it published last.
    pub status: Status,
    /// It lives.
    pub supervised: bool,
}

/// Looks into the directory of one instance below a runroot's `containers`.
///
/// # Panics
/// When nothing is published there.
#[must_use]
pub fn seen(directory: &Path) -> Seen {
    // A supervisor that ends publishes before it unlocks.
    let supervised = ofd_lock::is_locked(lock(directory)).expect("a lock is looked at");
    let text = crate::files::text(&directory.join("status.json")).expect("a status is published");
    Seen {
        status: serde_json::from_str(&text).expect("a status is what the model says"),
        supervised,
    }
}

/// Stands for a supervisor that begins: the instance is another's until this is dropped.
///
/// # Panics
/// When one lives.
#[must_use]
pub fn hold(directory: &Path) -> File {
    let file = lock(directory);
    assert!(
        ofd_lock::try_lock(&file).expect("a lock is taken"),
        "a supervisor lives"
    );
    file
}

fn lock(directory: &Path) -> File {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    let opened = options.read(true).append(true).create(true).open(&path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
