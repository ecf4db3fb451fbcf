//! Records of resources (instances, and what stands beside them), shared by
//! processes without a daemon and without a lock that slow work could hold.
//!
//! Layout below the root, for each kind ([`cove_model::Resource`]) with its own
//! two directories:
//!
//! ```text
//! names/<name>              a link to the id that owns the name
//! containers/<id>/record.json   the record; its appearance is what creates the resource
//! containers/<id>/creating      locked while the creation is under way
//! ```
//!
//! A crash leaves either a whole resource or a directory without a record
//! whose `creating` lock is free, which [`Collection::sweep`] removes.
//!
//! A name is its owner's while the owner's record carries it or, before there
//! is a record, while the owner is being created. Any other link was left by a
//! crash, or is one step of a rename. The record decides which of two names its
//! owner has, so nothing has to be undone; the other link leads nowhere until
//! somebody takes it over or a sweep removes it. What else only one may have
//! ([`Values`]) is claimed by a link, too.
//!
//! A record that cannot be read, because it is damaged or of a newer program,
//! hides no other, and nothing but its removal touches it.

mod collection;
mod directory;
mod error;
pub mod journal;
mod links;
mod locked;
mod names;
mod record;
mod reservation;
mod sweep;
mod values;

pub use collection::{Collection, Listing};
pub use error::{Error, Result};
pub use locked::Locked;
pub use names::valid as valid_name;
pub use reservation::Reservation;
pub use values::Values;

#[cfg(test)]
mod tests;
