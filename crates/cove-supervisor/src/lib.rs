//! The small process beside every running instance.
//!
//! It owns the instance's stdio, log, exit status, restarts and control
//! socket. One thread, one epoll, no async: see `run`. It knows nothing of
//! namespaces or images; what it runs is a [`workload::Workload`].

pub mod config;
pub mod paths;
pub mod workload;
