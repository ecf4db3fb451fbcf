//! A compiled filter, ready for the kernel.

use std::os::fd::OwnedFd;

use cove_sys::seccomp::{FilterFlags, SockFilter, set_mode_filter};

use super::error::SeccompError;

/// A filter and how it is to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(super) filter: Vec<SockFilter>,
    pub(super) flags: FilterFlags,
}

impl Program {
    /// Attaches the filter to the calling thread. Returns the listener when a
    /// rule notifies; it belongs to `listenerPath`. Allocates nothing.
    ///
    /// # Errors
    /// [`SeccompError::Install`]; the hint tells what is missing.
    pub fn install(&self) -> Result<Option<OwnedFd>, SeccompError> {
        set_mode_filter(self.flags, &self.filter).map_err(|source| SeccompError::Install { source })
    }

    /// Whether a rule notifies, so that [`Program::install`] returns a listener.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.flags.contains(FilterFlags::NEW_LISTENER)
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[SockFilter] {
        &self.filter
    }
}
