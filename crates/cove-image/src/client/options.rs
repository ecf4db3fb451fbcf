//! How a client behaves, and what it accepts.

use std::sync::Arc;

use crate::http::transport::Timeouts;
use crate::retry::{Clock, Policy, SystemClock};

/// What is accepted of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an index or manifest; containerd's figure.
    pub manifest: u64,
    /// Bytes of a configuration.
    pub config: u64,
    /// Layers of an image; overlayfs takes 500.
    pub layers: usize,
    /// Compressed bytes of one layer.
    pub layer: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            config: 8 << 20,
            layers: 500,
            layer: 1 << 40,
        }
    }
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// When to try again.
    pub retry: Policy,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What is accepted.
    pub limits: Limits,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retry: Policy::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }
}
