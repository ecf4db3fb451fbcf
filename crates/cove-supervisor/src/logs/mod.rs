//! The log of an instance: files of records, written by the supervisor and
//! read by anyone.
//!
//! In the format of the Kubernetes container runtime interface, which is the
//! default, a record is a line: timestamp, `stdout` or `stderr`, `F` (the output
//! line ends here) or `P` (it goes on in the next record of this stream), content.
//! It is written as soon as its bytes arrive; an unfinished line is a `P` at once,
//! so that nothing waits in the memory of a process that may be killed.
//!
//! In Docker's format a record is a whole line of output, or 16 KiB of one: what
//! is unfinished waits, as with Docker, until it is whole or the program ends.

#[cfg(test)]
mod docker_tests;
mod files;
mod json;
mod queue;
mod reader;
mod record;
mod rotate;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use queue::Log;
pub use reader::{Line, LogReader, ReadError, ReadOptions};
pub use record::{Format, LogStream, MAX_CONTENT, Record};
pub use writer::{LogWriter, OpenError};
