//! Drivers: what turns an instance's spec into something running. Nothing
//! else in the engine loads a mechanism that runs instances.
//!
//! There is one so far; the trait comes with the second.

pub(crate) mod process;

use cove_model::instance::{Driver, Record};

use crate::Roots;
use process::Process;

pub(crate) use process::FormerLimits;

/// What the driver of an instance has of it.
pub(crate) fn of<'a>(roots: &'a Roots, record: &'a Record) -> Process<'a> {
    match record.driver {
        Driver::Process => Process::new(roots, record.id.as_str()),
    }
}
