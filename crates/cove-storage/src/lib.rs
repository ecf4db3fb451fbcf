//! Content store, layers and snapshots.
//!
//! Everything is synchronous and safe between processes and against a kill or
//! a power cut at any moment. Nothing here talks to a registry or knows what
//! a container is: callers bring streams and say what is in use.

mod blob;
mod error;
mod image;
mod layer;
mod lease;
mod recipe;
mod remove;
mod staging;
mod store;
mod stream;
mod tar;
mod tree;
mod unpack;
mod walk;
mod xattr;

pub use blob::{BLOB_LIMIT, digest_of};
pub use error::{Error, Result, Step};
pub use image::{Image, ImageLayer, ImageRecord};
pub use layer::{Layer, LayerInfo, LayerTar};
pub use lease::Lease;
pub use remove::{Collected, Removal, Usage};
pub use staging::Claim;
pub use store::Store;
pub use tar::{Limits, TarError};
pub use tree::RootMetadata;
pub use unpack::{StagedLayer, Unpack};
