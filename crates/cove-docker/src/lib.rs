//! Docker's documents, filters and wording: what its clients read and write,
//! made of what the engine says. The command line renders these documents, and
//! so does whoever speaks Docker's protocol.
//!
//! Nothing here does input or output, or knows a mechanism: a document is a
//! typed structure ([`document`]) that is filled from the engine's answers,
//! written as JSON by serde and seen by templates ([`template`]) through one
//! declaration of its fields.

pub mod container;
pub mod document;
mod error;
pub mod event;
pub mod filter;
pub mod http;
pub mod human;
pub mod image;
pub mod info;
mod inspected;
pub mod json;
pub mod port;
pub mod rows;
pub mod tabs;
pub mod template;
pub mod time;
pub mod usage;
pub mod version;

pub use error::{Error, Result};
pub use inspected::Inspected;
