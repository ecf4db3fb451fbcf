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
mod pull;
mod request;
mod token;
mod verified;

pub use crate::http::transport::Timeouts;
pub use blob::{BlobError, BlobReader};
pub use document::DocumentError;
pub use pull::{ImageLayer, ResolvedImage};
pub use verified::Verified;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::auth::CredentialStore;
use crate::environment::Environment;
use crate::http::transport::Transport;
use crate::registries::SchemePolicy;
use crate::retry::{Clock, Policy, SystemClock};

/// What is accepted of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an index or manifest; containerd's figure.
    pub manifest: u64,
    /// Bytes of a configuration.
    pub config: u64,
    /// Layers of an image; overlayfs takes 500.
    pub layers: usize,
    /// Compressed bytes of one layer.
    pub layer: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            config: 8 << 20,
            layers: 500,
            layer: 1 << 40,
        }
    }
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// When to try again.
    pub retry: Policy,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What is accepted.
    pub limits: Limits,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry: Policy::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Talks to registries; cheap to clone, shared by threads.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// Host, policy, registry and repository: all that decides what is shown to whom.
type SessionKey = (String, SchemePolicy, String, String);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    credentials: CredentialStore,
    options: Options,
    /// Whether a `host[:port]` was found to speak TLS.
    schemes: Mutex<HashMap<String, bool>>,
    sessions: Mutex<HashMap<SessionKey, Arc<token::Session>>>,
}

impl Client {
    /// A client with this environment's proxies, certificates and names.
    #[must_use]
    pub fn new(environment: Environment, credentials: CredentialStore, options: Options) -> Self {
        let transport = Transport::new(environment, options.timeouts.clone());
        let inner = Inner {
            transport,
            credentials,
            options,
            schemes: Mutex::default(),
            sessions: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}
