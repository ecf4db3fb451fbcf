//! Attachments: the stdio of an instance, over as many supervisors as it has.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use cove_model::control::{Attach, Exited, Failure, Step, WaitUntil};
use cove_model::frames::{Frame, Input};
use cove_model::instance::Record;
use cove_model::status::State;
use cove_supervisor::client;

use super::Instances;
use super::lifecycle::{Refusal, refused};
use crate::error::{Error, Result};
use crate::supervise::Begin;

/// The stdio of an instance. As a descriptor it is readable when there is
/// something to [receive](Attachment::receive); it is another one after each
/// time that a supervisor was killed, which is nothing that its user notices.
#[derive(Debug)]
pub struct Attachment<'a> {
    instances: Instances<'a>,
    record: Record,
    connection: client::Attachment,
    input: Input,
    /// Something was read and handed out.
    pause: bool,
}

/// What comes of an attachment.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Bytes of the instance's stdout, or of its terminal.
    Stdout(&'a [u8]),
    /// Bytes of its stderr.
    Stderr(&'a [u8]),
    /// It ended; nothing follows.
    Exited(Exited),
    /// The supervisor cut the connection; nothing follows.
    Cut(Failure),
    /// Nothing more has arrived: wait until the descriptor is readable.
    NotYet,
}

impl<'a> Instances<'a> {
    /// Starts an instance with a client attached, so that no byte is lost.
    ///
    /// # Errors
    /// When it cannot start, or runs already.
    pub fn start_attached(&self, record: &Record, attach: Attach) -> Result<Attachment<'a>> {
        if !self.startable(record)? {
            return self.attach(record, attach);
        }
        match self.spawn(record, &Begin::Create { size: attach.size }) {
            Err(Error::Supervisor { failure }) if failure.step == Step::Lock => {}
            // The attachment has its warnings, and those of the start.
            other => drop(other?),
        }
        let attach = Attach {
            start: true,
            ..attach
        };
        let attached = self.client(record).attach(attach);
        attached
            .map(|connection| Attachment::new(*self, record, connection))
            .map_err(|error| refused(&record.id, error))
    }

    /// Attaches to a running instance.
    ///
    /// # Errors
    /// When it does not run, is paused or restarting.
    pub fn attach(&self, record: &Record, attach: Attach) -> Result<Attachment<'a>> {
        let connection = self.connect(record, attach)?;
        Ok(Attachment::new(*self, record, connection))
    }

    fn connect(&self, record: &Record, attach: Attach) -> Result<client::Attachment> {
        self.insist(record, |status, client| match status.state {
            State::Running => client.attach(attach).map_err(Refusal::Client),
            State::Paused => Err(Refusal::State(
                "You cannot attach to a paused container, unpause it first",
            )),
            State::Restarting => Err(Refusal::State(
                "You cannot attach to a restarting container, wait until it is running",
            )),
            State::Created | State::Exited | State::Dead => Err(Refusal::State(
                "You cannot attach to a stopped container, start it first",
            )),
        })
    }
}

impl<'a> Attachment<'a> {
    fn new(instances: Instances<'a>, record: &Record, connection: client::Attachment) -> Self {
        Self {
            instances,
            record: record.clone(),
            connection,
            input: Input::default(),
            pause: false,
        }
    }

    /// What is not as it was asked for, where this client started the instance.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.connection.warnings()
    }

    /// What has arrived, without waiting for more. To be asked until it is
    /// [`Received::NotYet`], which is also said after each piece that was read,
    /// so that one who is told much still hears of other things.
    ///
    /// # Errors
    /// When the connection breaks, and when nobody can say how the instance is.
    pub fn receive(&mut self) -> Result<Received<'_>> {
        if std::mem::take(&mut self.pause) && !self.connection.has_frame() {
            return Ok(Received::NotYet);
        }
        if !self.connection.fill().map_err(unread)? {
            return Ok(self.again()?.map_or(Received::NotYet, Received::Exited));
        }
        self.pause = true;
        let frame = self.connection.next_frame().map_err(unread)?;
        Ok(match frame {
            Some(Frame::Stdout(bytes)) => Received::Stdout(bytes),
            Some(Frame::Stderr(bytes)) => Received::Stderr(bytes),
            Some(Frame::Exited(exited)) => Received::Exited(exited),
            Some(Frame::Cut(failure)) => Received::Cut(failure),
            None => Received::NotYet,
        })
    }

    /// Gives the instance input, once there is none [waiting](Attachment::has_input).
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.input.close();
    }

    /// Whether input waits for the descriptor to be writable.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Sends of the input what there is room for. A connection that broke
    /// shows itself when it is received from.
    pub fn send(&mut self) {
        self.connection.send(&mut self.input).unwrap_or(());
    }

    /// Attaches anew after a supervisor was killed: the next one goes on where it was.
    /// Or how the instance ended, when it is down.
    fn again(&mut self) -> Result<Option<Exited>> {
        let options = Attach {
            start: false,
            ..*self.connection.options()
        };
        // Looking is what puts a new supervisor there.
        let status = self.instances.status(&self.record)?;
        if status.state == State::Running
            && let Ok(connection) = self.instances.connect(&self.record, options)
        {
            self.connection = connection;
            self.input.begin_anew();
            return Ok(None);
        }
        let (exit_code, error) = if status.state.is_running() {
            let code = self.instances.wait(&self.record, WaitUntil::NotRunning)?;
            (code, None)
        } else {
            // One that is gone with all it knew ended in a way nobody saw.
            (status.exit_code.unwrap_or(255), status.error)
        };
        Ok(Some(Exited {
            exit_code,
            oom_killed: status.oom_killed,
            error,
        }))
    }
}

impl AsFd for Attachment<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn unread(source: io::Error) -> Error {
    Error::Stream {
        action: "read output",
        source,
    }
}
