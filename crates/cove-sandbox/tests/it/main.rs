//! Runs real containers from a busybox bundle, through the `rt` example so that the caller of the
//! crate is single-threaded. Needs root; every test has its own bundle, state and cgroup.
#![expect(
    clippy::disallowed_methods,
    reason = "tests run programs and read what they wrote"
)]

mod escape;
mod exec;
mod failure;
mod hooks;
mod identity;
mod life;
mod mounts;
mod namespaces;
mod sandbox;
