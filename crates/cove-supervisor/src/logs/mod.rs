//! The log of an instance: files in the format of the Kubernetes container
//! runtime interface, written by the supervisor and read by anyone.
//!
//! A record is a line: timestamp, `stdout` or `stderr`, `F` (the output line
//! ends here) or `P` (it goes on in the next record of this stream), content.
//! A record is written as soon as its bytes arrive; an unfinished line is a `P`
//! at once, so that nothing waits in the memory of a process that may be killed.

mod files;
mod reader;
mod record;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Line, LogReader, ReadError, ReadOptions};
pub use record::{LogStream, MAX_CONTENT, Record};
pub use writer::{LogWriter, OpenError};
