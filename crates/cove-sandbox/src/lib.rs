//! Runs an OCI runtime specification with namespaces, cgroups and seccomp.
//!
//! [`create`] makes the container's first process with one `clone3` and brings it to the point
//! before the user's program; [`Created::start`] or, from another process, [`Container::start`]
//! lets it execute. [`Container`] is every later operation. All of it is synchronous.
//!
//! The first process is a copy of the caller, so the caller of [`create`] and [`Container::exec`]
//! must be single-threaded, and should have called [`cove_sys::seal::ensure_sealed`].

pub mod cgroup;
pub mod seccomp;

mod container;
mod create;
mod error;
mod exec;
mod hooks;
mod init;
mod lsm;
mod netdev;
mod newborn;
mod options;
mod placement;
mod plan;
mod protocol;
mod sockets;
mod spec;
mod state;
mod userns;

pub use container::{Container, list};
pub use create::{Created, create};
pub use error::{Error, InitFault, Result};
pub use exec::ExecChild;
pub use lsm::apparmor as has_apparmor;
pub use options::{CgroupManagerChoice, Console, CreateOptions, ExecOptions, StartMode, Stdio};
pub use plan::highest_limit;
pub use spec::{Loaded, load as load_spec, load_process, zero_pids};
pub use state::{NOTIFY_DIRECTORY, OciState, Status};
