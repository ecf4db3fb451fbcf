//! What is said on a supervisor's control socket.
//!
//! A message is a length (4 bytes, big endian) and that many bytes of JSON, at
//! most [`MAX_MESSAGE`]. A client says one [`Request`] per connection and gets
//! one [`Reply`]. After `Attach` and its reply [`Reply::Attached`] the
//! connection is a stream of frames in both directions: the byte of a
//! [`Stream`], a length (4 bytes, big endian, at most [`MAX_FRAME`]), the bytes.

use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;
use crate::restart::RestartPolicy;
use crate::status::Status;

/// The longest message in bytes, without its length.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The longest payload of a frame in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// The bytes before the payload of a frame.
pub const FRAME_HEADER: usize = 5;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Let the created instance run (or end the back-off of a restarting one).
    Start,
    /// How is it?
    Status,
    /// Answer with [`Reply::Exited`] once `until` holds.
    Wait {
        /// The condition.
        until: WaitUntil,
    },
    /// Send a signal to the first process, or to all.
    Signal {
        /// Its number.
        signal: i32,
        /// Every process of the instance.
        #[serde(default)]
        all: bool,
    },
    /// Stop signal, then SIGKILL; the restart policy does not fire. Answered when it is down.
    Stop {
        /// How long the instance has before it is killed.
        #[serde(default)]
        timeout: StopTimeout,
        /// Instead of the configured stop signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// Stop, then start again. Answered when it runs again.
    Restart {
        /// How long the instance has before it is killed.
        #[serde(default)]
        timeout: StopTimeout,
        /// Instead of the configured stop signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// Freeze.
    Pause,
    /// Thaw.
    Resume,
    /// Freeze for as long as this connection is open after [`Reply::Done`]: the end
    /// of the client, however it ends, thaws. Several may hold at once; one that is
    /// paused already stays so.
    Hold,
    /// The size of its terminal.
    Resize(TerminalSize),
    /// Replace the restart policy.
    UpdateRestart {
        /// The new one.
        policy: RestartPolicy,
    },
    /// Connect to its stdio.
    Attach(Attach),
}

/// The condition of [`Request::Wait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitUntil {
    /// It does not run (at once, when it already does not).
    #[default]
    NotRunning,
    /// It ends the next time.
    NextExit,
    /// It is gone: removed after its end, or, when it is not to be removed, finally down.
    Removed,
}

/// The patience of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopTimeout {
    /// As configured.
    #[default]
    Configured,
    /// This many milliseconds.
    Millis(u64),
    /// Never kill (Docker's -1).
    Never,
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// Which streams a client wants, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attach {
    /// Send stdin.
    #[serde(default)]
    pub stdin: bool,
    /// Receive stdout (all output when it has a terminal).
    #[serde(default)]
    pub stdout: bool,
    /// Receive stderr.
    #[serde(default)]
    pub stderr: bool,
    /// Start the created instance once attached, so that no byte is lost.
    #[serde(default)]
    pub start: bool,
    /// The size of the client's terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
    /// What happens when the client reads slowly.
    #[serde(default)]
    pub when_slow: WhenSlow,
}

/// What happens to an attached client that reads slower than the instance writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenSlow {
    /// It is sent [`Stream::Error`] and cut off once it is 1 MiB behind; the instance never waits.
    #[default]
    Drop,
    /// The instance waits for it, as in a pipeline of a shell: for the client of a foreground `run`.
    Wait,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// How it is.
    Status(Status),
    /// It ended.
    Exited(Exited),
    /// It could not be done.
    Failed(Failure),
    /// From here on the connection carries frames.
    Attached {
        /// The instance has a terminal: output is one stream, [`Stream::Stdout`].
        tty: bool,
        /// What was not as asked when it was created and started, if this client started it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// 0–255, 128+n for signal n.
    pub exit_code: i32,
    /// A process of it was killed for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// What went wrong beside the process itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which step.
    pub step: Step,
    /// Of what kind it is.
    #[serde(default)]
    pub kind: ErrorKind,
    /// The system's error number, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// One sentence that says what and where.
    pub message: String,
}

/// What was tried when a failure came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Taking over an instance that runs.
    Adopt,
    /// Serving an attached client.
    Attach,
    /// Clearing away what a run left.
    Cleanup,
    /// Creating the first process.
    Create,
    /// Taking the lock that one supervisor has.
    Lock,
    /// Opening the log.
    Log,
    /// Freezing.
    Pause,
    /// Making ready to supervise: descriptors, and what the supervisor is told.
    Prepare,
    /// Removing the instance.
    Remove,
    /// Understanding a request.
    Request,
    /// Changing the size of the terminal.
    Resize,
    /// Ending one run for the next.
    Restart,
    /// Thawing.
    Resume,
    /// Sending a signal.
    Signal,
    /// Letting the first process run.
    Start,
    /// Looking whether the state allows what was asked.
    State,
    /// Reading or publishing the status.
    Status,
    /// Making or watching the standard streams.
    Stdio,
    /// One that another version knows.
    #[serde(other)]
    Unknown,
}

impl Failure {
    /// A failure of Cove itself.
    #[must_use]
    pub fn new(step: Step, message: impl Into<String>) -> Self {
        Self {
            step,
            kind: ErrorKind::Internal,
            errno: None,
            message: message.into(),
        }
    }

    /// The state of the instance forbids what was asked.
    #[must_use]
    pub fn conflict(step: Step, message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Conflict,
            ..Self::new(step, message)
        }
    }

    /// The exit status that an instance is recorded with which did not start for this: that of
    /// its program if the program is the fault, else 128, as with Docker.
    #[must_use]
    pub fn recorded_code(&self) -> i32 {
        self.kind.program_status().map_or(128, i32::from)
    }
}

/// The first byte of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Client to instance: bytes.
    Stdin = 0,
    /// Instance to client: bytes.
    Stdout = 1,
    /// Instance to client: bytes.
    Stderr = 2,
    /// Client to instance: rows and columns, 2 bytes each, big endian.
    Resize = 3,
    /// Client to instance: stdin ends here; empty.
    StdinClose = 4,
    /// Supervisor to client, the last frame: [`Exited`] as JSON.
    Exit = 5,
    /// Supervisor to client, the last frame: [`Failure`] as JSON.
    Error = 6,
}

impl TryFrom<u8> for Stream {
    type Error = u8;

    fn try_from(byte: u8) -> Result<Self, u8> {
        Ok(match byte {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Resize,
            4 => Self::StdinClose,
            5 => Self::Exit,
            6 => Self::Error,
            other => return Err(other),
        })
    }
}

/// The header of a frame; `length` must not exceed [`MAX_FRAME`].
#[must_use]
pub fn frame_header(stream: Stream, length: u32) -> [u8; FRAME_HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream as u8, a, b, c, d]
}

/// Reads a header: the stream and the length of the payload. `None` when either is not ours.
#[must_use]
pub fn parse_frame_header(bytes: [u8; FRAME_HEADER]) -> Option<(Stream, usize)> {
    let [stream, a, b, c, d] = bytes;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    if length > MAX_FRAME {
        return None;
    }
    Some((Stream::try_from(stream).ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        for request in [
            Request::Start,
            Request::Wait {
                until: WaitUntil::Removed,
            },
            Request::Stop {
                timeout: StopTimeout::Millis(1500),
                signal: Some(2),
            },
            Request::Restart {
                timeout: StopTimeout::Never,
                signal: None,
            },
            Request::Hold,
            Request::Resize(TerminalSize { rows: 24, cols: 80 }),
            Request::UpdateRestart {
                policy: RestartPolicy::OnFailure { max: Some(3) },
            },
            Request::Attach(Attach {
                stdin: true,
                when_slow: WhenSlow::Wait,
                ..Attach::default()
            }),
        ] {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(
                serde_json::from_str::<Request>(&text).unwrap(),
                request,
                "{text}"
            );
        }
    }

    #[test]
    fn failures_of_other_versions_are_understood() {
        for (text, step, kind) in [
            (
                r#"{"step":"state","kind":"conflict","message":"no"}"#,
                Step::State,
                ErrorKind::Conflict,
            ),
            (
                r#"{"step":"later","kind":"later","message":"no","more":1}"#,
                Step::Unknown,
                ErrorKind::Internal,
            ),
            (
                r#"{"step":"lock","message":"no","exit_code":125}"#,
                Step::Lock,
                ErrorKind::Internal,
            ),
        ] {
            let failure: Failure = serde_json::from_str(text).unwrap();
            assert_eq!((failure.step, failure.kind), (step, kind), "{text}");
        }
    }

    #[test]
    fn headers() {
        let header = frame_header(Stream::Stderr, 258);
        assert_eq!(header, [2, 0, 0, 1, 2]);
        assert_eq!(parse_frame_header(header), Some((Stream::Stderr, 258)));
        assert_eq!(parse_frame_header([9, 0, 0, 0, 1]), None);
        assert_eq!(parse_frame_header([1, 0, 1, 0, 1]), None);
    }
}
