//! What an instance wrote, from its files; while it runs, until it ends.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use cove_model::instance::{LogDriver, Record};
use cove_model::status::State;
use cove_supervisor::client::Pending;
use cove_supervisor::logs::{self, LogReader, ReadOptions};

use super::Instances;
use super::status::Instance;
use crate::error::{Error, Result};

/// Which part of a log.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only the last so many lines of what is there at the beginning.
    pub tail: Option<u64>,
    /// Only lines from this time on: RFC 3339 in UTC with `Z` and nine digits of the second.
    pub since: Option<String>,
    /// Only lines before this time, as `since`.
    pub until: Option<String>,
    /// What is added, too, until the instance ends.
    pub follow: bool,
}

/// A stream of an instance's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Its stdout, or its terminal.
    Stdout,
    /// Its stderr.
    Stderr,
}

/// A line of output, or, when it is very long or not finished yet, a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When its first byte was logged: RFC 3339, UTC, nanoseconds.
    pub timestamp: String,
    /// Where it came from.
    pub stream: OutputStream,
    /// It begins a line (a timestamp is printed before it).
    pub begins: bool,
    /// The bytes as they were written, with the end of line when there was one.
    pub bytes: Vec<u8>,
    /// What its record says of its origin, where records do.
    attributes: BTreeMap<String, String>,
}

/// The lines of a log.
#[derive(Debug)]
pub struct LogStream<'a> {
    instances: Instances<'a>,
    record: Record,
    reader: LogReader,
    /// Answered when the instance ends.
    waiting: Option<Pending>,
}

impl<'a> Instances<'a> {
    /// What an instance wrote.
    ///
    /// # Errors
    /// When its driver keeps nothing, or a file cannot be read.
    pub fn logs(&self, instance: &Instance, request: LogQuery) -> Result<LogStream<'a>> {
        let Instance { record, status } = instance;
        let Some(path) = self.log_path(record) else {
            return Err(Error::Unsupported(
                "configured logging driver does not support reading".to_owned(),
            ));
        };
        let options = ReadOptions {
            tail: request.tail,
            since: request.since,
            until: request.until,
            ..Self::log_format(record)
        };
        let runs = status.state.is_running() || status.state == State::Restarting;
        let waiting = if request.follow && runs {
            self.begin_wait(record)?
        } else {
            None
        };
        let reader = match &waiting {
            Some(pending) => LogReader::follow(&path, options, alive(pending)?),
            None => LogReader::open(&path, options),
        };
        Ok(LogStream {
            instances: *self,
            record: record.clone(),
            reader: reader.map_err(Error::Log)?,
            waiting,
        })
    }
}

impl LogStream<'_> {
    /// The next line; `None` at the end. Waits when following, also for the next
    /// supervisor when one was killed.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_line(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.reader.next_line().map_err(Error::Log)? {
                return Ok(Some(line.into()));
            }
            let Some(pending) = self.waiting.take().filter(|_| self.reader.has_ended()) else {
                return Ok(None);
            };
            if pending.finish().is_ok() {
                return Ok(None);
            }
            // Its supervisor was killed; the next one goes on with the log.
            let Some(pending) = self.instances.begin_wait(&self.record)? else {
                return Ok(None);
            };
            self.reader.follow_on(alive(&pending)?);
            self.waiting = Some(pending);
        }
    }

    /// What says where lines come from, for all of them that [`LogLine::attributes`]
    /// says nothing of.
    ///
    /// # Errors
    /// When an expression or a template of the log's options is wrong.
    pub fn attributes(&self) -> Result<BTreeMap<String, String>> {
        match self.record.spec.log.driver {
            LogDriver::JsonFile => Ok(BTreeMap::new()),
            LogDriver::K8sFile | LogDriver::Local | LogDriver::None => {
                self.instances.log_attributes(&self.record)
            }
        }
    }
}

impl LogLine {
    /// What the line's own record says of its origin; `common` where records say nothing.
    #[must_use]
    pub fn attributes<'a>(
        &'a self,
        common: &'a BTreeMap<String, String>,
    ) -> &'a BTreeMap<String, String> {
        if self.attributes.is_empty() {
            common
        } else {
            &self.attributes
        }
    }
}

impl From<logs::Line> for LogLine {
    fn from(line: logs::Line) -> Self {
        Self {
            timestamp: line.timestamp,
            stream: match line.stream {
                logs::LogStream::Stdout => OutputStream::Stdout,
                logs::LogStream::Stderr => OutputStream::Stderr,
            },
            begins: line.begins,
            bytes: line.bytes,
            attributes: line.attributes,
        }
    }
}

/// What becomes readable when the supervisor answers or is gone.
fn alive(pending: &Pending) -> Result<std::os::fd::OwnedFd> {
    let descriptor = pending.as_fd().try_clone_to_owned();
    descriptor.map_err(|source| Error::Stream {
        action: "follow the log",
        source,
    })
}
