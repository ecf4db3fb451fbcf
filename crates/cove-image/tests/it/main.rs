//! The client against registries that misbehave, and against a real one.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test that fails has to say so"
)]

mod auth;
mod blobs;
mod debian;
mod fake;
mod leaks;
mod lies;
mod pulls;
mod secure;
