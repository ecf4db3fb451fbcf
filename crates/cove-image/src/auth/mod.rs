//! Credentials: where they are found, kept and erased.
//!
//! The lookup order is that of containers-auth.json(5): `$REGISTRY_AUTH_FILE`
//! alone if set, else `auth.json` of the runtime directory, of the
//! configuration directory, and Docker's `config.json`. Files are read anew
//! at each lookup: a login in another terminal counts at once.

mod credential;
mod document;
mod helper;
mod store;

pub use credential::{Credential, Secret};
pub use document::DocumentError as AuthDocumentError;
pub use helper::HelperError;
pub use store::{CredentialStore, Erased, Stored};

use std::io;
use std::path::PathBuf;

/// Why credentials cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file cannot be read.
    #[error("cannot read credentials from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot store credentials in {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is no document of credentials.
    #[error("invalid credentials file {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: AuthDocumentError,
    },
    /// The program that keeps credentials fails. Docker's words.
    #[error("error {action} credentials - docker-credential-{helper}")]
    Helper {
        /// `getting`, `storing` or `erasing`.
        action: &'static str,
        /// The helper's name after `docker-credential-`.
        helper: String,
        /// What it said.
        #[source]
        source: HelperError,
    },
    /// There is no directory to keep a file in.
    #[error("cannot store credentials: neither REGISTRY_AUTH_FILE nor HOME is set")]
    NoPlace,
}
