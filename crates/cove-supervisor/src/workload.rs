//! What a supervisor runs: the trait the engine implements over a driver.

use std::os::fd::OwnedFd;

pub use cove_model::control::{Exited, Failure, TerminalSize};
use cove_model::event::InstanceChange;
use cove_model::status::ProcessId;

/// One instance, seen from its supervisor.
///
/// All calls come from the supervisor's only thread, in this order, where the
/// bracketed part repeats with every restart:
///
/// ```text
/// [ create → start → (signal | pause | resume)* → oom_killed → cleanup ]* → remove?
/// adopt → (signal | pause | resume)* → oom_killed → cleanup → [ … ]* → remove?
/// ```
///
/// `cleanup` follows every successful `create` exactly once, also when `start`
/// fails or is never asked for. Calls may block for as long as their work takes;
/// the log and the attached clients wait meanwhile, so keep them short.
///
/// # What a child process must do
/// The supervisor blocks SIGTERM, SIGINT, SIGHUP, SIGQUIT and SIGCHLD (it reads
/// them from a signalfd), so a child must reset its signal mask before it
/// executes a program. Every descriptor of the supervisor is close-on-exec,
/// the lock that tells its liveness among them: a child that lives on without
/// executing (the init that waits for its start) must close what it inherited
/// (`close_range`) before anything that waits.
pub trait Workload {
    /// Makes the first process, up to the point where it waits for its start.
    ///
    /// `stdio` is the container's side. The implementation hands it to the
    /// child and must not keep it (an open writer would delay the end of the
    /// output).
    ///
    /// # Errors
    /// Whatever went wrong; everything done so far has been undone.
    fn create(&mut self, stdio: ContainerStdio) -> Result<Created, Failure>;

    /// Takes over an instance that lost its supervisor: looks up its cgroup and the like.
    /// Not called when it has ended meanwhile; then `oom_killed` and `cleanup` follow at
    /// once, perhaps for the second time.
    ///
    /// # Errors
    /// When what must be known to signal and clean up cannot be found.
    fn adopt(&mut self, init: ProcessId) -> Result<(), Failure>;

    /// Lets the first process execute its program; returns when it has, with what
    /// is not as it was asked for.
    ///
    /// # Errors
    /// The program does not exist (127), may not be executed (126), …; the
    /// process is ending then.
    fn start(&mut self) -> Result<Vec<String>, Failure>;

    /// Sends a signal to the first process, or to all of them.
    ///
    /// # Errors
    /// The system's refusal. A process that has just ended is no error.
    fn signal(&mut self, signal: i32, all: bool) -> Result<(), Failure>;

    /// Freezes all processes. Those that are frozen stay so, and are no error: a supervisor
    /// that takes over does not know what the old one came to do.
    ///
    /// # Errors
    /// The system's refusal.
    fn pause(&mut self) -> Result<(), Failure>;

    /// Thaws all processes. As with `pause`, none needs to be frozen.
    ///
    /// # Errors
    /// The system's refusal.
    fn resume(&mut self) -> Result<(), Failure>;

    /// Whether the kernel killed a process of this run for want of memory.
    /// Asked once, after the first process ended and before `cleanup`.
    fn oom_killed(&mut self) -> bool;

    /// The first process ended and has been reaped: ends what is left of the
    /// others, gives the cgroup back, runs the poststop hooks. After this the
    /// workload must be ready for another `create`.
    ///
    /// # Errors
    /// What could not be given back; the instance is then reported as dead.
    fn cleanup(&mut self, exited: &Exited) -> Result<(), Failure>;

    /// Tells the world what became of the instance, in this order. Asked at any time; what is
    /// told can be seen in the published status already. Whoever tells has nobody to complain to.
    fn tell(&mut self, changes: Vec<InstanceChange>);

    /// Removes the instance for good (`--rm`). The runtime directory of the
    /// configuration may be removed here too: the supervisor is done with it.
    ///
    /// # Errors
    /// What could not be removed.
    fn remove(&mut self) -> Result<(), Failure>;
}

/// The container's side of its stdio. Every descriptor is close-on-exec and blocking.
#[derive(Debug)]
pub enum ContainerStdio {
    /// Three descriptors for 0, 1 and 2. The output ones are FIFOs open for
    /// reading and writing, so that nothing in the container breaks while no
    /// supervisor reads.
    Pipes {
        /// For reading.
        stdin: OwnedFd,
        /// The container's stdout.
        stdout: OwnedFd,
        /// The container's stderr.
        stderr: OwnedFd,
    },
    /// The workload makes a terminal of this size and returns its master in
    /// [`Created::console`].
    Terminal {
        /// Its first size, when known.
        size: Option<TerminalSize>,
    },
}

/// A first process that waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Its number in the supervisor's pid namespace.
    pub pid: i32,
    /// The process itself; it must be a child of the supervisor.
    pub pidfd: OwnedFd,
    /// The master of its terminal, exactly when one was asked for.
    pub console: Option<OwnedFd>,
    /// What is not as it was asked for.
    pub warnings: Vec<String>,
}
