//! What a pull tells its caller while it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cove_model::Digest;

/// Receives the events of a pull; called from several threads at once, and
/// often, so an implementation must be quick and may drop what it cannot show.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: &PullEvent<'_>);
}

/// One event of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEvent<'a> {
    /// The image is not here and will be fetched.
    Missing {
        /// Its familiar name.
        reference: &'a str,
    },
    /// The registry answered; layers follow.
    Resolved {
        /// The repository without its registry, as Docker prints it.
        repository: &'a str,
        /// The tag or digest.
        tag: &'a str,
    },
    /// A layer changed its state.
    Layer {
        /// The first twelve digits of the layer's digest.
        id: &'a str,
        /// The new state.
        state: LayerState,
    },
    /// All is there.
    Done {
        /// The digest of the manifest.
        digest: &'a Digest,
        /// The familiar name.
        reference: &'a str,
        /// Whether anything was fetched.
        newer: bool,
    },
}

/// Where a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It was already there.
    Exists,
    /// It waits for its turn.
    Waiting,
    /// Bytes of the compressed layer fetched, inflated and unpacked so far:
    /// all of that happens in one stream.
    Pulling {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It is complete.
    Complete,
}

/// Tells a pull, from another thread, that nobody wants it any more.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The pull ends soon, and leaves nothing.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: &PullEvent<'_>) {}
}
