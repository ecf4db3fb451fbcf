//! Credentials: where they are found, kept and erased.
//!
//! The lookup order is that of containers-auth.json(5): `$REGISTRY_AUTH_FILE`
//! alone if set, else `auth.json` of the runtime directory, of the
//! configuration directory, and Docker's `config.json`. Files are read anew
//! at each lookup: a login in another terminal counts at once.

mod document;
mod helper;
mod store;

pub use document::DocumentError as AuthDocumentError;
pub use helper::HelperError;
pub use store::{CredentialStore, Erased, Stored};

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, to be sent and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// What a registry is shown to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A user's name and password.
    Basic {
        /// The name.
        username: String,
        /// The password or personal token.
        password: Secret,
    },
    /// A refresh token that a token service exchanges for bearer tokens.
    IdentityToken(Secret),
    /// A bearer token that the registry takes as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// A user's name and password.
    #[must_use]
    pub fn basic(username: &str, password: &str) -> Self {
        Self::Basic {
            username: username.to_owned(),
            password: Secret::new(password),
        }
    }
}

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
