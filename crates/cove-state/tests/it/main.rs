//! The collection of a resource that the crate does not know, shared by processes that are killed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says where by failing"
)]

mod claims;
mod network;
