//! Content store, layers and snapshots.
