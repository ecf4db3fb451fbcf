//! Plain data shared by every floor: ids, references, image documents,
//! instance specs and states. Nothing here does input or output.

pub mod control;
pub mod digest;
pub mod dockerfile;
pub mod duration;
pub mod entry;
pub mod error;
pub mod event;
pub mod frames;
pub mod glob;
pub mod go;
pub mod image;
pub mod instance;
pub mod nullable;
pub mod platform;
pub mod port;
pub mod reference;
pub mod resource;
pub mod restart;
pub mod signal;
pub mod size;
pub mod status;

pub use digest::{Digest, DigestError};
pub use instance::InstanceId;
pub use reference::{Reference, ReferenceError};
pub use resource::Resource;
