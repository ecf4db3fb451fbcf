//! Runs real containers from a busybox bundle, through the `rt` example so that the caller of the
//! crate is single-threaded. Needs root; every test has its own bundle, state and cgroup.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests run programs, read what they wrote, and fail by panicking, in helpers too"
)]

mod affinity;
mod cgroups;
mod escape;
mod exec;
mod failure;
mod given;
mod hooks;
mod identity;
mod life;
mod mounts;
mod namespaces;
mod owners;
mod sandbox;
mod sharing;
