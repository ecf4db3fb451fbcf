//! The small process beside every running instance.
//!
//! It owns the instance's stdio, log, exit status, restarts and control
//! socket. One thread, one epoll, no async. It knows nothing of namespaces or
//! images; what it runs is a [`workload::Workload`].

pub mod backoff;
pub mod client;
pub mod clock;
pub mod config;
pub mod hold;
pub mod logs;
pub mod paths;
mod run;
pub mod spawn;
pub mod state;
mod task;
mod wire;
pub mod workload;

pub use run::{ExitReason, run};
