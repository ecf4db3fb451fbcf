//! Content store, layers and snapshots.
//!
//! Everything is synchronous and safe between processes and against a kill or
//! a power cut at any moment. Nothing here talks to a registry or knows what
//! a container is: callers bring streams and say what is in use.

mod archive;
mod behind;
mod blob;
mod boot;
mod changes;
mod error;
mod extract;
mod fsck;
mod image;
mod inflate;
pub mod kernel;
mod layer;
mod lease;
mod pack;
mod payload;
mod recipe;
mod redo;
mod remove;
mod settle;
mod settler;
mod skeleton;
mod snapshot;
mod staging;
mod store;
mod stream;
mod tar;
mod tree;
mod unpack;
mod walk;
mod xattr;

pub use archive::{Format, Loaded, Saved};
pub use behind::WriteBehind;
pub use blob::{BLOB_LIMIT, digest_of};
pub use changes::{Change, ChangeKind};
pub use error::{Error, Result, Step, TarError};
pub use extract::{Extract, Follow, Owner, extract};
pub use fsck::{Fate, Object, Problem};
pub use image::{Image, ImageLayer, ImageRecord};
pub use inflate::{Whole, detect};
pub use layer::{Layer, LayerInfo, LayerTar};
pub use lease::Lease;
pub use pack::{Packed, export, pack};
pub use remove::{Collected, Removal, Usage};
pub use settler::Settler;
pub use snapshot::{Lowers, Snapshot};
pub use staging::Claim;
pub use store::Store;
pub use tar::Limits;
pub use tree::RootMetadata;
pub use unpack::{StagedLayer, Unpack};
