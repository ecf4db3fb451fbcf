//! Starting, stopping and everything between.

use cove_model::control::{Reply, Request, Step, StopTimeout, TerminalSize, WaitUntil};
use cove_model::event::InstanceChange;
use cove_model::instance::{InstanceId, Record};
use cove_model::status::{State, Status};
use cove_supervisor::client::{Client, ClientError, Pending};

use cove_supervisor::hold::Hold;
use rustix::fs::FlockOperation;

use super::Instances;
use crate::error::{Error, Result};
use crate::supervise::{self, Begin};
use crate::turn::take_turn;

impl Instances<'_> {
    /// Starts an instance; one that runs is left alone, as with Docker. Returns what of it is
    /// not as it was asked for.
    ///
    /// # Errors
    /// When it cannot start, which says why, or is paused.
    pub fn start(&self, record: &Record, size: Option<TerminalSize>) -> Result<Vec<String>> {
        if !self.startable(record)? {
            return Ok(Vec::new());
        }
        match self.spawn(record, &Begin::Start { size }) {
            Err(Error::Supervisor { failure }) if failure.step == Step::Lock => {
                self.finish_start(record)
            }
            other => other,
        }
    }

    /// Starts a supervisor. Commands that start one instance take turns.
    pub(super) fn spawn(&self, record: &Record, begin: &Begin) -> Result<Vec<String>> {
        let runtime = self.runtime_dir(record);
        crate::make_private(&runtime)?;
        // A missing layer is told below; to make one anew takes too long for a turn.
        let layers = &record.image.layers;
        let _all_there = self.engine.store.ready(layers).map_err(Error::Storage)?;
        let _turn = take_turn(&runtime, FlockOperation::LockExclusive)?;
        supervise::spawn(self.engine, record, begin).map(|status| status.warnings)
    }

    /// Another command has just started it, or was killed before it did: the
    /// supervisor is there.
    fn finish_start(&self, record: &Record) -> Result<Vec<String>> {
        match self.client(record).request(&Request::Status) {
            Ok(Reply::Status(status)) if status.state == State::Created => {
                self.ask(record, &Request::Start)?;
                Ok(status.warnings)
            }
            // Whoever starts it is told.
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(refused(&record.id, error)),
        }
    }

    /// Whether an instance is down; an error when it is neither down nor running.
    pub(super) fn startable(&self, record: &Record) -> Result<bool> {
        match self.status(record)?.state {
            State::Created | State::Exited => Ok(true),
            State::Running | State::Restarting => Ok(false),
            State::Paused => Err(Error::Conflict(
                "cannot start a paused container, try unpause instead".to_owned(),
            )),
            State::Dead => Err(Error::Conflict(format!(
                "container {} is marked for removal and cannot be started",
                record.name
            ))),
        }
    }

    /// Asks an instance to end, and kills it when it does not. Its restart
    /// policy does not fire. One that is down is left alone.
    ///
    /// # Errors
    /// When the signal is none, or the supervisor cannot do it.
    pub fn stop(&self, record: &Record, timeout: StopTimeout, signal: Option<&str>) -> Result<()> {
        let signal = signal.map(crate::signals::parse).transpose()?;
        if self.is_down(record)? {
            return Ok(());
        }
        self.end(record, timeout, signal)?;
        self.note(record, InstanceChange::Stop);
        Ok(())
    }

    fn end(&self, record: &Record, timeout: StopTimeout, signal: Option<i32>) -> Result<()> {
        match self.ask(record, &Request::Stop { timeout, signal }) {
            // It ended before it could be asked.
            Err(Error::Unreachable { .. }) if self.is_down(record)? => Ok(()),
            other => other,
        }
    }

    /// Stops and starts an instance; one that is down is started.
    ///
    /// # Errors
    /// As [`Instances::stop`] and [`Instances::start`].
    pub fn restart(
        &self,
        record: &Record,
        timeout: StopTimeout,
        signal: Option<&str>,
    ) -> Result<()> {
        let signal = signal.map(crate::signals::parse).transpose()?;
        if self.is_down(record)? {
            return self.start_instead(record);
        }
        match self.ask(record, &Request::Restart { timeout, signal }) {
            // It ended before it could be asked.
            Err(Error::Unreachable { .. }) if self.is_down(record)? => self.start_instead(record),
            Err(Error::Supervisor { failure })
                if failure.step == Step::State && self.is_down(record)? =>
            {
                self.start_instead(record)
            }
            other => other,
        }
    }

    /// A restart of what is down already.
    fn start_instead(&self, record: &Record) -> Result<()> {
        self.start(record, None)?;
        self.note(record, InstanceChange::Restart);
        Ok(())
    }

    /// Sends a signal to the first process. After SIGKILL the instance is
    /// down; what other signals leave of its restart policy is its
    /// supervisor's to tell. One that waits for its restart can be killed.
    ///
    /// # Errors
    /// When the signal is none or the instance does not run.
    pub fn kill(&self, record: &Record, signal: &str) -> Result<()> {
        let number = crate::signals::parse(signal)?;
        if self.is_down(record)? {
            return Err(Error::Conflict(format!(
                "Container {} is not running",
                record.id
            )));
        }
        if number == cove_model::signal::KILL {
            return self.end(record, StopTimeout::Millis(0), Some(number));
        }
        let request = Request::Signal {
            signal: number,
            all: false,
        };
        self.ask(record, &request)
    }

    /// Freezes an instance.
    ///
    /// # Errors
    /// When it does not run or is frozen already.
    pub fn pause(&self, record: &Record) -> Result<()> {
        match self.status(record)?.state {
            State::Running => self.ask(record, &Request::Pause),
            State::Paused => Err(Error::Conflict(format!(
                "Container {} is already paused",
                record.id
            ))),
            State::Created | State::Restarting | State::Exited | State::Dead => Err(
                Error::Conflict(format!("Container {} is not running", record.id)),
            ),
        }
    }

    /// Thaws an instance.
    ///
    /// # Errors
    /// When it is not frozen.
    pub fn unpause(&self, record: &Record) -> Result<()> {
        if self.status(record)?.state != State::Paused {
            return Err(Error::Conflict(format!(
                "Container {} is not paused",
                record.id
            )));
        }
        self.ask(record, &Request::Resume)
    }

    /// Freezes an instance for as long as this process keeps what is returned.
    pub(crate) fn hold(&self, record: &Record) -> Result<Hold> {
        self.client(record)
            .hold()
            .map_err(|error| refused(&record.id, error))
    }

    /// Waits for the end of an instance and returns its exit status.
    ///
    /// # Errors
    /// When its supervisor goes without a word.
    pub fn wait(&self, record: &Record, until: WaitUntil) -> Result<i32> {
        self.insist(record, |status, client| {
            let waiting = match until {
                WaitUntil::NotRunning => {
                    status.state.is_running() || status.state == State::Restarting
                }
                WaitUntil::NextExit => true,
                WaitUntil::Removed => status.state != State::Exited,
            };
            if waiting {
                client
                    .wait(until)
                    .map(|exited| exited.exit_code)
                    .map_err(Refusal::Client)
            } else {
                Ok(status.exit_code.unwrap_or(0))
            }
        })
    }

    /// Begins to wait; the answer makes the returned descriptor readable.
    /// `None`: it is down already.
    ///
    /// # Errors
    /// When no supervisor answers.
    pub(super) fn begin_wait(&self, record: &Record) -> Result<Option<Pending>> {
        self.insist(record, |status, client| {
            if !status.state.is_running() && status.state != State::Restarting {
                return Ok(None);
            }
            let until = WaitUntil::NotRunning;
            client
                .begin(&Request::Wait { until })
                .map(Some)
                .map_err(Refusal::Client)
        })
    }

    /// Asks again for as long as supervisors are killed before they answer:
    /// looking at the instance is what puts a new one there. One that dies in
    /// this moment may hold its lock still, and answer no more.
    pub(super) fn insist<T>(
        &self,
        record: &Record,
        ask: impl Fn(&Status, &Client) -> Result<T, Refusal>,
    ) -> Result<T> {
        // So many may be killed; more is a supervisor that cannot live.
        const MOST_LOSSES: usize = 1000;
        let client = self.client(record);
        let mut losses = 0;
        loop {
            match ask(&self.status(record)?, &client) {
                Ok(answer) => return Ok(answer),
                Err(Refusal::Client(
                    ClientError::Receive { .. }
                    | ClientError::Send { .. }
                    | ClientError::NoSupervisor { .. },
                )) if losses < MOST_LOSSES => losses += 1,
                Err(Refusal::Client(error)) => return Err(refused(&record.id, error)),
                Err(Refusal::State(why)) => return Err(Error::Conflict(why.to_owned())),
            }
        }
    }

    /// Tells an instance the size of its terminal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resize(&self, record: &Record, size: TerminalSize) -> Result<()> {
        self.ask(record, &Request::Resize(size))
    }

    pub(crate) fn client(&self, record: &Record) -> Client {
        Client::new(&self.runtime_dir(record))
    }

    /// Asks the supervisor for something that has no other answer than done.
    pub(crate) fn ask(&self, record: &Record, request: &Request) -> Result<()> {
        self.ask_by_id(&record.id, request)
    }

    /// As [`Self::ask`], also where there is no record that can be read.
    pub(super) fn ask_by_id(&self, id: &InstanceId, request: &Request) -> Result<()> {
        let client = Client::new(&self.engine.roots.runtime_dir(id.as_str()));
        match client.request(request) {
            Ok(Reply::Done | Reply::Status(_) | Reply::Exited(_) | Reply::Attached { .. }) => {
                Ok(())
            }
            Ok(Reply::Failed(failure)) => Err(Error::Supervisor { failure }),
            Err(error) => Err(refused(id, error)),
        }
    }
}

/// Why an instance or its supervisor does not do what it is asked.
pub(super) enum Refusal {
    /// The state it is in forbids it, which Docker says in these words.
    State(&'static str),
    /// The supervisor did not do it, or there is none.
    Client(ClientError),
}

pub(super) fn refused(id: &InstanceId, error: ClientError) -> Error {
    match error {
        ClientError::Refused(failure) => Error::Supervisor { failure },
        source @ (ClientError::NoSupervisor { .. }
        | ClientError::Send { .. }
        | ClientError::Receive { .. }) => Error::Unreachable {
            id: id.to_string(),
            source,
        },
    }
}
