//! The journal of an installation: one line of JSON for everything that
//! happens to its instances and images, written by whoever did it or saw it.
//!
//! ```text
//! <runroot>/journal      the newest lines
//! <runroot>/journal.1    the lines before, once `journal` was full
//! ```
//!
//! It is for whoever follows what happens, and dies with the boot: nothing is
//! synced, and nothing else depends on it. A line is one write to a file that
//! was opened for appending, so that lines of many writers do not mix; a write
//! that was cut short is one line that readers pass over.
//!
//! A writer holds the shared lock of the file and looks that it still has its
//! name. To rename it takes the exclusive lock, which is there only while
//! nobody writes: no line goes into a file that was already set aside, so a
//! reader that finds the name gone and has read to the end has read all of it.

mod decoder;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use decoder::Decoder;
pub use reader::{Reader, Since};

/// The file that is written.
const NAME: &str = "journal";
/// The file that was full.
const OLD_NAME: &str = "journal.1";
/// How long a file grows; there are two.
const FILE_LIMIT: u64 = 2 << 20;
/// The longest line; what would be longer loses what users choose the length of.
const LINE_LIMIT: usize = 64 << 10;
/// The version of the lines that are written.
const VERSION: u32 = 1;
/// How every line begins: nothing within one looks so, because JSON escapes
/// the quotation marks of a text.
const LINE_START: &[u8] = b"{\"v\":";

/// The journal in one directory.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
    limit: u64,
}

/// What cannot be done with a journal.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the journal {path}", path = path.display())]
pub struct JournalError {
    /// The step.
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Journal {
    /// The journal in `directory`, which must be there; the files need not.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            limit: FILE_LIMIT,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn old_path(&self) -> PathBuf {
        self.directory.join(OLD_NAME)
    }
}

fn failed<E: Into<io::Error>>(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> JournalError + use<E> {
    let path = path.to_owned();
    move |source| JournalError {
        action,
        path,
        source: source.into(),
    }
}
