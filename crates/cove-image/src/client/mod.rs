//! The client of the OCI distribution specification 1.1, with Docker's schema 2.
//!
//! [`Client::resolve`] finds an image and everything that is said about it,
//! [`Client::fetch_blob`] streams its layers, [`Client::login`] verifies a
//! user. One client is shared by all threads of a pull: connections, tokens
//! and the knowledge of which scheme a registry speaks are common to them.

mod blob;
mod document;
mod download;
mod login;
mod manifest;
mod options;
mod pull;
mod request;
mod token;
mod verified;
mod wire;

pub use crate::http::transport::Timeouts;
pub use blob::BlobReader;
pub use document::DocumentError;
pub use options::{Limits, Options};
pub use pull::{ImageLayer, ResolvedImage};
pub use verified::Verified;

use std::sync::Arc;

use self::request::Inner;
use crate::auth::CredentialStore;
use crate::environment::Environment;

/// Talks to registries; cheap to clone, shared by threads.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// A client with this environment's proxies, certificates and names.
    #[must_use]
    pub fn new(environment: Environment, credentials: CredentialStore, options: Options) -> Self {
        let inner = Inner::new(environment, credentials, options);
        Self {
            inner: Arc::new(inner),
        }
    }
}
