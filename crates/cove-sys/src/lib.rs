//! Safe wrappers over the Linux calls that the standard library and rustix do not offer,
//! or offer without undoing them.

pub mod bpf;
pub mod caps;
pub mod clone;
pub mod exec;
pub mod fds;
pub mod fork;
pub mod fs;
pub mod fs_shutdown;
pub mod keyring;
pub mod mountattr;
pub mod netif;
pub mod ns;
pub mod ofd_lock;
pub mod overlay;
pub mod pidfd_info;
pub mod proc;
pub mod rtlink;
pub mod rusage;
pub mod sched;
pub mod seal;
pub mod seccomp;
pub mod signalfd;
pub mod spawn;
pub mod sysctl;
pub mod terminal;
pub mod writeback;
