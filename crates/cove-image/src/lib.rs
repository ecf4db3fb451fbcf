//! Talks to registries: reference resolution, credentials, the distribution protocol.
//!
//! The way of a pull: [`registries::Registries::resolve`] turns what the user
//! typed into candidates (mirrors first), [`Client::resolve`] asks them for
//! the manifest and the configuration, [`Client::fetch_blob`] streams a layer.
//! Nothing here writes to the image store and nothing here knows one.
//!
//! Everything is synchronous and may be shared by threads. Two rules hold
//! everywhere: a credential leaves only for the registry that it belongs to
//! (or for that registry's token service, over TLS), and nothing that a
//! registry says about content is believed unless the bytes prove it.

pub mod auth;
pub mod client;
pub mod environment;
mod error;
mod files;
mod http;
pub mod registries;
pub mod retry;

pub use auth::{Credential, CredentialStore, Secret};
pub use client::{BlobReader, Client, ImageLayer, Limits, Options, ResolvedImage, Verified};
pub use environment::Environment;
pub use error::{BlobError, CertificateError, DocumentError, Error, TransportError};
pub use registries::{Candidate, Endpoint, Registries, SchemePolicy};
