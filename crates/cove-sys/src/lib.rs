//! Safe wrappers over the Linux calls that the standard library and rustix do not offer.

pub mod fs;
pub mod overlay;
pub mod bpf;
pub mod seccomp;
pub mod fork;
pub mod ofd_lock;
pub mod pidfd_info;
pub mod signalfd;
pub mod spawn;
