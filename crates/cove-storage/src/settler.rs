//! Who settles what a pull brought.

use std::os::fd::OwnedFd;

use crate::boot::Boot;

/// Who settles the layers of one pull.
#[derive(Debug)]
pub struct Settler {
    /// Written into their logs.
    pub(crate) name: String,
    pub(crate) boot: Boot,
    pub(crate) hears: OwnedFd,
}

impl Settler {
    /// The word that [`crate::Store::settle`] knows the pull's logs by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What hears of every write-back error since the pull began: the
    /// kernel tells each error to those who were there before it.
    #[must_use]
    pub fn hears(&self) -> &OwnedFd {
        &self.hears
    }
}
