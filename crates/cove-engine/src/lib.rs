//! The narrow waist of Cove: every face calls this library, and it alone
//! joins the mechanisms below. Nothing here knows a face.
//!
//! An instance goes through `resolve` (the only step that talks to a
//! registry), `plan` (pure: [`mod@plan`]) and `execute` ([`supervise`], in the
//! instance's own supervisor). All calls are synchronous; the engine holds no
//! state between them and no lock over slow work.

mod driver;
mod error;
mod events;
mod host;
mod images;
pub mod init;
mod instances;
pub mod logging;
mod machine;
pub mod plan;
mod progress;
mod receipts;
pub mod request;
mod roots;
mod scratch;
pub mod settle;
pub mod signals;
pub mod spec;
pub mod supervise;
mod turn;
pub mod users;

use std::fs;
use std::path::Path;

use cove_model::instance::Record;
use cove_state::Collection;
use cove_storage::Store;

pub use error::{Error, ErrorKind, Result, sentence};
pub use events::{EventDecoder, EventStream, Events, Since};
pub use host::{HostAbilities, HostFacts, Index};
pub use images::*;
pub use instances::*;
pub use machine::{Machine, Overlay};
pub use progress::{Cancel, LayerState, Progress, PullEvent, Silent};
pub use request::CreateRequest;
pub use roots::Roots;
pub use scratch::{Scratch, ScratchRun};

/// The page for who writes a face is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/engine.md")]
struct Docs;

/// The engine over one installation.
#[derive(Debug)]
pub struct Engine {
    roots: Roots,
    store: Store,
    state: Collection<Record>,
}

impl Engine {
    /// Opens the installation, making its directories if needed, and removes
    /// what killed commands left half-way. What cannot be removed now is left
    /// to the next command: one that only looks works on a disk that is full
    /// or read-only.
    ///
    /// # Errors
    /// When a directory cannot be made or is not ours.
    pub fn open(roots: Roots) -> Result<Self> {
        for directory in [&roots.root, &roots.runroot] {
            make_private(directory)?;
            check_ours(directory)?;
        }
        let store = Store::open(&roots.root).map_err(Error::Storage)?;
        let state = Collection::open(&roots.root).map_err(Error::State)?;
        let engine = Self {
            roots,
            store,
            state,
        };
        drop(engine.recover());
        Ok(engine)
    }

    /// What unpacks layers or makes containers is root's so far: said here in
    /// one sentence instead of by whichever call of the kernel fails first.
    fn require_root(&self) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        Err(Error::Unsupported(
            "running without root is not supported yet: run this command as root".to_owned(),
        ))
    }

    /// Where this engine keeps things.
    #[must_use]
    pub const fn roots(&self) -> &Roots {
        &self.roots
    }
}

/// Another user's directories are closed to us: said in one sentence, instead
/// of by the first file that cannot be opened.
fn check_ours(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid();
    let metadata = fs::metadata(path).map_err(|source| Error::File {
        action: "look at",
        path: path.to_owned(),
        source,
    })?;
    if own.is_root() || metadata.uid() == own.as_raw() {
        return Ok(());
    }
    Err(Error::NotOurs {
        path: path.to_owned(),
        owner: match metadata.uid() {
            0 => "root".to_owned(),
            uid => format!("user {uid}"),
        },
    })
}

/// Layers hold set-user-id programs and sockets let one control instances:
/// nobody else may look in (CVE-2021-41091).
fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let fail = |source| Error::File {
        action: "make",
        path: path.to_owned(),
        source,
    };
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(fail)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(fail)
}
