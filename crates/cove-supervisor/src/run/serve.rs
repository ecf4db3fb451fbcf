//! Clients: who they are, what they ask, and what they are told.

use std::time::Instant;

use cove_model::control::{
    Exited, Failure, Reply, Request, Step, TerminalSize, WaitUntil, WhenSlow,
};
use cove_model::event::InstanceChange;
use cove_model::status::State;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Resource, getrlimit};

use super::conn::{Conn, Kind};
use super::life::system_failure;
use super::ring::wide;
use super::{CONNS, LINGER, Phase, SIGKILL, Supervisor, stdio};
use crate::wire;

/// Descriptors that clients must leave to the instance's own business.
const RESERVED: u64 = 64;
/// The most a client may send ahead of what is understood or taken.
const MAX_INPUT: usize = 64 * 1024 + 8;

impl Supervisor<'_> {
    /// Takes the next client; `false`: there is none.
    pub(super) fn accept(&mut self) -> bool {
        let Some(listener) = &self.listener else {
            return false;
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(fd) = accept_with(listener, flags) else {
            return false;
        };
        self.generation = self.generation.wrapping_add(1);
        let mut conn = Conn::new(fd, self.generation);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let used = wide(self.conns.iter().flatten().count());
        if used + RESERVED >= limit {
            conn.answer(&Reply::Failed(Failure::new(
                Step::Prepare,
                "too many clients",
            )));
            conn.flush(&self.ring);
            return true;
        }
        let slot = match self.conns.iter().position(Option::is_none) {
            Some(slot) => slot,
            None => {
                self.conns.push(None);
                self.conns.len() - 1
            }
        };
        self.conns[slot] = Some(conn);
        self.watch_conn(slot);
        true
    }

    pub(super) fn on_conn(&mut self, token: u64, flags: EventFlags) {
        let slot = usize::try_from(token & 0xffff_ffff).unwrap_or(usize::MAX);
        let Some(Some(conn)) = self.conns.get_mut(slot) else {
            return;
        };
        if u64::from(conn.generation) != token >> 32 {
            return;
        }
        if conn
            .watched
            .is_some_and(|watched| watched.contains(EventFlags::IN))
        {
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                self.receive(slot);
            }
        } else if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            // It went while we do not read from it. Once its stdin is taken the rest is read: later,
            // or next, where that was taken in this very round.
            conn.deaf = true;
            if matches!(&conn.kind, Kind::Attached(_)) {
                epoll::delete(&self.epoll, &conn.fd).unwrap_or(());
                conn.watched = None;
            } else {
                self.close(slot);
            }
        }
    }

    fn receive(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].as_mut() else {
            return;
        };
        match rustix::io::read(&conn.fd, &mut self.buffer[..16 * 1024]) {
            Ok(0) => self.hung_up(slot),
            Ok(length) => {
                if conn.input.len() + length > MAX_INPUT {
                    return self.close(slot);
                }
                conn.input.extend_from_slice(&self.buffer[..length]);
                self.understand(slot);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.hung_up(slot),
        }
    }

    /// A client is gone; with it, perhaps, the only one who writes stdin.
    fn hung_up(&mut self, slot: usize) {
        let wrote = match self.conns[slot].as_ref().map(|conn| &conn.kind) {
            Some(Kind::Attached(attached)) => attached.options.stdin,
            _ => false,
        };
        if wrote && self.config.stdin_once {
            self.close_stdin();
        }
        self.close(slot);
    }

    fn understand(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].as_mut() else {
            return;
        };
        match &conn.kind {
            Kind::Asking => match wire::decode::<Request>(&conn.input) {
                Ok(Some((request, length))) => {
                    conn.input.drain(..length);
                    self.handle(slot, &request);
                    if matches!(
                        self.conns[slot].as_ref().map(|conn| &conn.kind),
                        Some(Kind::Attached(_))
                    ) {
                        self.take_frames(slot);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let failure = system_failure(Step::Request, "not a request", &error);
                    conn.answer(&Reply::Failed(failure));
                }
            },
            Kind::Attached(_) => self.take_frames(slot),
            Kind::Waiting(_)
            | Kind::Stopping
            | Kind::Restarting
            | Kind::Starting
            | Kind::Holding
            | Kind::Leaving => {
                conn.input.clear();
            }
        }
    }

    fn handle(&mut self, slot: usize, request: &Request) {
        let done =
            |result: Result<(), Failure>| Some(result.map_or_else(Reply::Failed, |()| Reply::Done));
        let reply = match *request {
            Request::Start => match self.phase {
                Phase::Created if self.failure.is_none() => match self.start() {
                    Ok(()) => Some(Reply::Done),
                    Err(_) => self.park(slot, Kind::Starting),
                },
                Phase::Waiting { .. } => {
                    self.backoff.reset();
                    self.park(slot, Kind::Restarting);
                    self.start_next_run();
                    None
                }
                Phase::Created | Phase::Running { .. } | Phase::Down => {
                    done(Err(self.wrong_state("it is not waiting for a start")))
                }
            },
            Request::Status => {
                let dropped = self.log.as_ref().map_or(0, crate::logs::Log::dropped);
                self.status.log_lines_dropped = dropped;
                Some(Reply::Status(self.status.clone()))
            }
            Request::Wait { until } => {
                let created = matches!(self.phase, Phase::Created) && self.failure.is_none();
                let down = matches!(self.phase, Phase::Down);
                if down || (until == WaitUntil::NotRunning && created) {
                    Some(Reply::Exited(self.last_exit()))
                } else {
                    self.park(slot, Kind::Waiting(until))
                }
            }
            Request::Signal { signal, all } => {
                let result = self.signal(signal, all);
                done(result)
            }
            Request::Stop { .. } if matches!(self.phase, Phase::Down) => {
                Some(Reply::Exited(self.last_exit()))
            }
            Request::Stop { timeout, signal } => {
                self.park(slot, Kind::Stopping);
                self.status.manually_stopped = true;
                self.status.restart_off = true;
                self.start_again = false;
                self.stop(signal, timeout);
                None
            }
            Request::Restart { timeout, signal } => match self.phase {
                Phase::Running { .. } => {
                    self.park(slot, Kind::Restarting);
                    self.start_again = true;
                    self.stop(signal, timeout);
                    None
                }
                Phase::Waiting { .. } => {
                    self.backoff.reset();
                    self.park(slot, Kind::Restarting);
                    if self.start_next_run() {
                        self.tell(InstanceChange::Restart);
                    }
                    None
                }
                Phase::Created | Phase::Down => done(Err(self.wrong_state("it is not running"))),
            },
            Request::Pause => {
                let result = self.pause();
                done(result)
            }
            Request::Resume => {
                let result = self.unpause();
                done(result)
            }
            Request::Hold => match self.hold() {
                Ok(()) => {
                    if let Some(conn) = self.conns[slot].as_mut() {
                        conn.kind = Kind::Holding;
                        conn.say(&Reply::Done);
                    }
                    None
                }
                Err(failure) => done(Err(failure)),
            },
            Request::Resize(size) => {
                let result = self.resize_now(size);
                done(result)
            }
            Request::UpdateRestart { policy } => {
                self.policy = policy;
                Some(Reply::Done)
            }
            Request::Attach(attach) => self.attach(slot, attach),
        };
        if let (Some(reply), Some(conn)) = (reply, self.conns[slot].as_mut()) {
            conn.answer(&reply);
        }
    }

    /// Lets a client wait.
    pub(super) fn park(&mut self, slot: usize, kind: Kind) -> Option<Reply> {
        if let Some(conn) = self.conns[slot].as_mut() {
            conn.kind = kind;
        }
        None
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<(), Failure> {
        // As Docker: who kills it, or asks it to end, does not want it back.
        let stop_signal = self.config.stop_signal;
        let to_end = signal == SIGKILL || stop_signal.is_none_or(|stop| stop == signal);
        match self.phase {
            Phase::Running { .. } => {
                self.workload.signal(signal, all)?;
                self.untold.push(InstanceChange::Kill { signal });
            }
            // There is nobody to send it to, but there would be again.
            Phase::Waiting { .. } => {}
            Phase::Created | Phase::Down => {
                return Err(self.wrong_state("it is not running"));
            }
        }
        self.status.manually_stopped = true;
        self.status.restart_off |= to_end;
        self.publish();
        match self.phase {
            Phase::Running { .. } if to_end => self.thaw(),
            Phase::Waiting { .. } if to_end => self.give_up(),
            Phase::Running { .. } | Phase::Waiting { .. } | Phase::Created | Phase::Down => {}
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Failure> {
        if self.status.state != State::Running {
            return Err(self.wrong_state("it is not running"));
        }
        self.workload.pause()?;
        self.status.state = State::Paused;
        self.untold.push(InstanceChange::Pause);
        self.publish();
        Ok(())
    }

    /// Freezes for a client, unless it is frozen.
    fn hold(&mut self) -> Result<(), Failure> {
        if self.status.state == State::Paused {
            return Ok(());
        }
        self.status.held = true;
        self.pause().inspect_err(|_| self.status.held = false)
    }

    /// A client that held it is gone.
    fn let_go(&mut self) {
        let others = self.conns.iter().flatten();
        let mut others = others.filter(|conn| matches!(conn.kind, Kind::Holding));
        if self.status.held && others.next().is_none() {
            // It may have ended meanwhile, or be paused no more.
            self.unpause().unwrap_or(());
        }
    }

    fn unpause(&mut self) -> Result<(), Failure> {
        if self.status.state != State::Paused {
            return Err(self.wrong_state("it is not paused"));
        }
        self.workload.resume()?;
        self.status.state = State::Running;
        self.status.held = false;
        self.untold.push(InstanceChange::Unpause);
        self.publish();
        Ok(())
    }

    /// What a client does once it is attached, or instead.
    pub(super) fn resize_now(&mut self, size: TerminalSize) -> Result<(), Failure> {
        self.resize(size)?;
        let TerminalSize { rows, cols } = size;
        self.tell(InstanceChange::Resize { rows, cols });
        Ok(())
    }

    pub(super) fn resize(&mut self, size: TerminalSize) -> Result<(), Failure> {
        self.size = Some(size);
        match &self.console {
            Some(console) => stdio::resize(console, size).map_err(|error| {
                system_failure(Step::Resize, "cannot resize the terminal", &error)
            }),
            None if self.config.tty => Ok(()),
            None => Err(self.wrong_state("it has no terminal")),
        }
    }

    fn wrong_state(&self, why: &str) -> Failure {
        let state = self.status.state.as_str();
        Failure::conflict(Step::State, format!("{} is {state}: {why}", self.config.id))
    }

    // ---- what clients are told ----

    /// A run ended; another follows.
    pub(super) fn tell_run_ended(&mut self, exited: &Exited) {
        let end = self.ring.end();
        for conn in self.conns.iter_mut().flatten() {
            match &conn.kind {
                Kind::Waiting(WaitUntil::NextExit | WaitUntil::NotRunning) => {
                    conn.answer(&Reply::Exited(exited.clone()));
                }
                Kind::Attached(_) => conn.say_exit(exited, end),
                Kind::Asking
                | Kind::Waiting(WaitUntil::Removed)
                | Kind::Stopping
                | Kind::Restarting
                | Kind::Starting
                | Kind::Holding
                | Kind::Leaving => {}
            }
        }
    }

    /// It runs again.
    pub(super) fn tell_started(&mut self) {
        for conn in self.conns.iter_mut().flatten() {
            if matches!(conn.kind, Kind::Restarting) {
                conn.answer(&Reply::Done);
            }
        }
    }

    /// It is finally down.
    pub(super) fn tell_down(&mut self, exited: &Exited) {
        let end = self.ring.end();
        let deadline = Instant::now() + LINGER;
        let failure = self.failure.clone();
        let failed = |step: Step| {
            let otherwise = || Failure::conflict(step, "the instance is down");
            Reply::Failed(failure.clone().unwrap_or_else(otherwise))
        };
        for conn in self.conns.iter_mut().flatten() {
            let mut patient = false;
            match &conn.kind {
                Kind::Waiting(_) | Kind::Stopping => conn.answer(&Reply::Exited(exited.clone())),
                // Somebody else stopped it meanwhile, which is not how it was when asked.
                Kind::Restarting => conn.answer(&failed(Step::Restart)),
                Kind::Starting => conn.answer(&failed(Step::State)),
                Kind::Attached(attached) => {
                    patient = attached.options.when_slow == WhenSlow::Wait;
                    conn.say_exit(exited, end);
                }
                // There is nothing to hold any more.
                Kind::Holding => conn.leave(),
                // It is answered when its request is there.
                Kind::Asking | Kind::Leaving => {}
            }
            // Who holds up the instance may also hold up its supervisor.
            if !patient && conn.deadline.is_none() {
                conn.deadline = Some(deadline);
            }
        }
    }

    // ---- descriptors of clients ----

    pub(super) fn watch_conn(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].as_mut() else {
            return;
        };
        let mut wanted = EventFlags::empty();
        let blocked = matches!(&conn.kind, Kind::Attached(attached) if attached.blocked);
        wanted.set(
            EventFlags::IN,
            !blocked && !matches!(conn.kind, Kind::Leaving),
        );
        wanted.set(EventFlags::OUT, conn.wants_to_send(&self.ring));
        if conn.watched == Some(wanted) || (conn.watched.is_none() && conn.deaf && blocked) {
            return;
        }
        let slot_bits = wide(slot) & 0xffff_ffff;
        let data = EventData::new_u64(CONNS + (u64::from(conn.generation) << 32 | slot_bits));
        let result = if conn.watched.is_some() {
            epoll::modify(&self.epoll, &conn.fd, data, wanted)
        } else {
            epoll::add(&self.epoll, &conn.fd, data, wanted)
        };
        match result {
            Ok(()) => conn.watched = Some(wanted),
            Err(_) => self.close(slot),
        }
    }

    pub(super) fn close(&mut self, slot: usize) {
        // The descriptor was never duplicated: closing it ends the watching.
        let conn = self.conns[slot].take();
        if matches!(&conn, Some(conn) if matches!(conn.kind, Kind::Holding)) {
            // Before the client can see that its connection is closed.
            self.let_go();
        }
    }
}
