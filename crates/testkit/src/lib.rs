//! Hermetic fixtures and the lab: what Cove's tests, its benchmark and its
//! reliability program stand on.
//!
//! - [`roots`], [`cove`]: private `--root` and `--runroot` directories and the
//!   real binary run with them.
//! - [`registry`], [`image`]: a loopback registry and the images to fill it
//!   with, made from Debian packages.
//! - [`supervisor`]: the one of an instance, looked at and stood for.
//! - [`nulls`]: documents as careless programs write them.
//! - [`leak`]: what a command left behind on the machine.
//! - [`fault`], [`power`]: kills at chosen moments, power cuts, full disks.
//! - [`lab`]: a virtual machine with a stock kernel, cgroup v2 and a power switch.
//!
//! A fixture that cannot be made is a failed test, so fixtures panic and say
//! why. The lab returns errors, because `cargo xtask lab` is its user too.
//! Nothing here is linked into the binary that people run.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a fixture that cannot be made fails its test at once"
)]

pub mod cache;
pub mod cmd;
pub mod cove;
pub mod fault;
pub mod files;
pub mod http;
pub mod image;
pub mod lab;
pub mod leak;
pub mod nulls;
pub mod power;
pub mod race;
pub mod registry;
pub mod rng;
pub mod roots;
pub mod supervisor;
pub mod tied;

use std::path::PathBuf;

/// The workspace's directory, known when the testkit was compiled.
///
/// # Panics
/// When the sources have moved away since.
#[must_use]
pub fn workspace() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize()
        .expect("the workspace is where it was compiled")
}
