//! The command line as its users meet it: the real binary, roots of its own.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by failing"
)]

mod containers;
mod help;
mod images;
mod mistakes;
mod oci;
mod oci_engines;
mod support;
