//! The names of the files in the runtime directory of an instance.

/// What the supervisor knows, as JSON.
pub const STATUS: &str = "status.json";
/// Locked while a supervisor lives.
pub const LOCK: &str = "lock";
/// Where the supervisor answers.
pub const CONTROL: &str = "control.sock";
/// Where the keeper of the terminal and of stdin answers.
pub const KEEPER: &str = "keeper.sock";
/// The FIFO behind the container's stdin.
pub const STDIN: &str = "stdin";
/// The FIFO behind the container's stdout.
pub const STDOUT: &str = "stdout";
/// The FIFO behind the container's stderr.
pub const STDERR: &str = "stderr";
/// Locked while the log is written by a process of its own.
pub const LOG_LOCK: &str = "log.lock";
