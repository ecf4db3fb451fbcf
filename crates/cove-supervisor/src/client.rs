//! Talking to a supervisor: one request per connection, or an attachment.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cove_model::control::{
    Attach, Exited, Failure, MAX_FRAME, MAX_MESSAGE, Reply, Request, Stream, TerminalSize,
    WaitUntil,
};
use cove_model::frames::{self, Decoder, Frame, Input};
use cove_model::status::State;
use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::{paths, state, wire};

/// How long a supervisor may hold its lock without listening.
const BEGINNING: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(2);

/// The supervisor of one instance.
#[derive(Debug, Clone)]
pub struct Client {
    runtime_dir: PathBuf,
}

/// Why a supervisor did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No supervisor answers: the instance is down, or wants a new supervisor
    /// (see [`state::observe`]).
    #[error("no supervisor answers in {dir}", dir = dir.display())]
    NoSupervisor {
        /// The runtime directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The request could not be sent.
    #[error("cannot send the request to the supervisor in {dir}", dir = dir.display())]
    Send {
        /// The runtime directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The supervisor went away before it answered, or what it said makes no sense.
    #[error("cannot read the answer of the supervisor in {dir}", dir = dir.display())]
    Receive {
        /// The runtime directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It could not do it.
    #[error("the supervisor refused")]
    Refused(#[source] Failure),
}

impl Client {
    /// For the instance of a runtime directory. Connects only when asked something.
    #[must_use]
    pub fn new(runtime_dir: &Path) -> Self {
        Self {
            runtime_dir: runtime_dir.to_owned(),
        }
    }

    /// Asks and waits for the answer, for as long as it takes. Never returns
    /// [`Reply::Failed`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn request(&self, request: &Request) -> Result<Reply, ClientError> {
        self.begin(request)?.finish()
    }

    /// Asks, and leaves the waiting to the caller.
    ///
    /// # Errors
    /// All of [`ClientError`] but `Receive` and `Refused`.
    pub fn begin(&self, request: &Request) -> Result<Pending, ClientError> {
        let dir = || self.runtime_dir.clone();
        let mut socket = state::open_dir(&self.runtime_dir)
            .and_then(|fd| connect(fd.as_fd()))
            .map_err(|source| ClientError::NoSupervisor { dir: dir(), source })?;
        wire::encode(request)
            .and_then(|bytes| socket.write_all(&bytes))
            .map_err(|source| ClientError::Send { dir: dir(), source })?;
        Ok(Pending {
            socket,
            runtime_dir: dir(),
        })
    }

    /// Waits until the instance is down and says how it ended. When its
    /// supervisor is already gone the published status answers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn wait(&self, until: WaitUntil) -> Result<Exited, ClientError> {
        let error = match self.request(&Request::Wait { until }) {
            Ok(Reply::Exited(exited)) => return Ok(exited),
            Ok(_) => self.nonsense(),
            Err(error @ (ClientError::NoSupervisor { .. } | ClientError::Receive { .. })) => error,
            Err(error) => return Err(error),
        };
        match state::observe(&self.runtime_dir) {
            Ok(Some(seen)) if matches!(seen.status.state, State::Exited | State::Dead) => {
                Ok(Exited {
                    exit_code: seen.status.exit_code.unwrap_or(0),
                    oom_killed: seen.status.oom_killed,
                    error: seen.status.error,
                })
            }
            _ => Err(error),
        }
    }

    /// Connects to the stdio of the instance. With `attach.start` set it is
    /// started once nothing it writes can be missed.
    ///
    /// # Errors
    /// See [`ClientError`]; `Refused` when the start failed.
    pub fn attach(&self, attach: Attach) -> Result<Attachment, ClientError> {
        let mut pending = self.begin(&Request::Attach(attach))?;
        match pending.read()? {
            Reply::Attached { tty, warnings } => Ok(Attachment {
                socket: pending.socket,
                tty,
                warnings,
                options: attach,
                decoder: Decoder::default(),
            }),
            Reply::Failed(failure) => Err(ClientError::Refused(failure)),
            Reply::Done | Reply::Status(_) | Reply::Exited(_) => Err(self.nonsense()),
        }
    }

    fn nonsense(&self) -> ClientError {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            "not an answer to what was asked",
        );
        ClientError::Receive {
            dir: self.runtime_dir.clone(),
            source,
        }
    }
}

/// A request that waits for its answer. As a descriptor it becomes readable
/// when the answer is there or the supervisor is gone, so a pending
/// `Wait` tells a follower of the log when to end.
#[derive(Debug)]
pub struct Pending {
    socket: UnixStream,
    runtime_dir: PathBuf,
}

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// `Receive` or `Refused`.
    pub fn finish(mut self) -> Result<Reply, ClientError> {
        match self.read()? {
            Reply::Failed(failure) => Err(ClientError::Refused(failure)),
            reply
            @ (Reply::Done | Reply::Status(_) | Reply::Exited(_) | Reply::Attached { .. }) => {
                Ok(reply)
            }
        }
    }

    /// Says that nothing more will be said, and waits until the supervisor has
    /// closed its side, or is gone.
    pub(crate) fn end(&mut self, patience: Duration) {
        let ended = self
            .socket
            .shutdown(std::net::Shutdown::Write)
            .and_then(|()| self.socket.set_read_timeout(Some(patience)))
            .and_then(|()| self.socket.read(&mut [0]));
        // Whatever it says: there is nothing more to be done.
        drop(ended);
    }

    pub(crate) fn read(&mut self) -> Result<Reply, ClientError> {
        receive(&mut self.socket).map_err(|source| ClientError::Receive {
            dir: self.runtime_dir.clone(),
            source,
        })
    }
}

fn receive(socket: &mut UnixStream) -> io::Result<Reply> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer is too long",
        ));
    }
    let mut text = vec![0; length];
    socket.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An open connection to the stdio of an instance.
#[derive(Debug)]
pub struct Attachment {
    socket: UnixStream,
    tty: bool,
    warnings: Vec<String>,
    options: Attach,
    decoder: Decoder,
}

impl Attachment {
    /// The instance has a terminal.
    #[must_use]
    pub fn tty(&self) -> bool {
        self.tty
    }

    /// What is not as it was asked for, where this client started the instance.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a frame is there without more being read.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.decoder.has_frame()
    }

    /// Reads what has arrived, without waiting and unless a frame is there; `false`: the
    /// supervisor is gone without a word (killed).
    ///
    /// # Errors
    /// The connection broke.
    pub fn fill(&mut self) -> io::Result<bool> {
        if self.decoder.has_frame() {
            return Ok(true);
        }
        match recv(&self.socket, self.decoder.room(), RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(false),
            Ok((count, _)) => self.decoder.arrived(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// The next frame that has arrived; `None`: wait until the descriptor is readable.
    ///
    /// # Errors
    /// What arrived is no frame.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.decoder.next_frame()
    }

    /// Writes to the instance's stdin; waits while it does not read.
    ///
    /// # Errors
    /// The connection broke.
    pub fn stdin(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(MAX_FRAME) {
            self.frame(Stream::Stdin, chunk)?;
        }
        Ok(())
    }

    /// Ends the instance's stdin.
    ///
    /// # Errors
    /// The connection broke.
    pub fn close_stdin(&mut self) -> io::Result<()> {
        self.frame(Stream::StdinClose, &[])
    }

    /// Tells the size of the client's terminal.
    ///
    /// # Errors
    /// The connection broke.
    pub fn resize(&mut self, size: TerminalSize) -> io::Result<()> {
        self.socket.write_all(&frames::resize(size))
    }

    /// What it was attached with.
    #[must_use]
    pub fn options(&self) -> &Attach {
        &self.options
    }

    /// Sends of the input what there is room for.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&self, input: &mut Input) -> io::Result<()> {
        while !input.is_empty() {
            match wire::send_now(&self.socket, &input.pending()) {
                Ok(count) => input.sent(count),
                Err(error) if wire::would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn frame(&mut self, stream: Stream, payload: &[u8]) -> io::Result<()> {
        self.socket.write_all(&frames::frame(stream, payload))
    }
}

/// Connects to a supervisor. One that has taken its lock is about to listen, and one that
/// still has it is about to be gone: both are a matter of milliseconds.
fn connect(dir: BorrowedFd<'_>) -> io::Result<UnixStream> {
    let deadline = Instant::now() + BEGINNING;
    loop {
        match wire::connect(dir, paths::CONTROL) {
            Ok(socket) => return Ok(socket),
            Err(error) => {
                let coming = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) && state::is_supervised(dir)?;
                if !coming || Instant::now() >= deadline {
                    return Err(error);
                }
            }
        }
        let step = Timespec::try_from(RETRY).unwrap_or_default();
        // Nothing to poll for: this only lets time pass.
        match poll(&mut [], Some(&step)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
