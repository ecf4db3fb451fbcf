//! The instance: created, started, stopped, ended, started again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use cove_model::control::{Exited, Failure, Step, StopTimeout};
use cove_model::event::InstanceChange;
use cove_model::restart::RestartPolicy;
use cove_model::status::{ProcessId, State, Status};
use cove_sys::signalfd::SignalFd;
use rustix::event::epoll::{self, CreateFlags, EventFlags};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, wait};

use super::keeper::{self, Kept};
use super::orphan;
use super::ring::Ring;
use super::{
    BUFFER, ExitReason, INIT, Init, LISTENER, OUTPUTS, Phase, Refusal, SIGKILL, SIGNALS, Stdin,
    Supervisor, stdio,
};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::logs::Log;
use crate::spawn::Ready;
use crate::workload::{ContainerStdio, Workload};
use crate::{clock, paths, state, wire};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

/// What is reported when nobody can know how an instance ended.
pub(super) const UNKNOWN_STATUS: i32 = 255;

impl<'a> Supervisor<'a> {
    pub(super) fn begin(
        config: &'a Config,
        workload: &'a mut dyn Workload,
        ready: Ready,
    ) -> Result<Self, Refusal> {
        let mut supervisor = match Self::prepare(config, workload) {
            Ok(prepared) => prepared,
            Err(failure) => return Err(Refusal { failure, ready }),
        };
        let begun = if config.adopt {
            supervisor.adopt()
        } else {
            supervisor.create_first()
        };
        if let Err(failure) = begun {
            if !config.adopt {
                supervisor.record(&failure);
            }
            // Removing what a failed beginning leaves is best effort; the next one replaces it.
            state::unlink(supervisor.dir.as_fd(), paths::CONTROL).unwrap_or(());
            return Err(Refusal { failure, ready });
        }
        supervisor.ready = ready;
        if config.start && matches!(supervisor.phase, Phase::Created) {
            // A failure is reported once the instance is cleaned up.
            if supervisor.start().is_ok() {
                supervisor.ready.ready(&supervisor.status);
            }
        } else {
            supervisor.ready.ready(&supervisor.status);
        }
        Ok(supervisor)
    }

    fn prepare(config: &'a Config, workload: &'a mut dyn Workload) -> Result<Self, Failure> {
        let step = |step: Step, what: &'static str| {
            move |error: io::Error| system_failure(step, what, &error)
        };
        // The name is a help in `ps`, nothing more.
        rustix::thread::set_name(c"cove-supervisor").unwrap_or(());
        set_child_subreaper(Pid::from_raw(1)).map_err(|error| {
            step(Step::Prepare, "cannot become the reaper of orphans")(error.into())
        })?;
        let signals = SignalFd::block(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD])
            .map_err(step(Step::Prepare, "cannot watch signals"))?;
        let dir = state::open_dir(&config.runtime_dir)
            .map_err(step(Step::Prepare, "cannot open the runtime directory"))?;
        let lock = state::lock(dir.as_fd())
            .map_err(step(Step::Prepare, "cannot lock the runtime directory"))?
            .ok_or_else(|| {
                Failure::conflict(Step::Lock, "the instance already has a supervisor")
            })?;
        let log = match &config.log {
            Some(log) => Some(Log::open(log, &dir).map_err(|error| {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                Failure::new(
                    Step::Log,
                    format!("{error}: {}", source.unwrap_or_default()),
                )
            })?),
            None => None,
        };
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|error| step(Step::Prepare, "cannot watch descriptors")(error.into()))?;
        let listener = wire::listen(dir.as_fd(), paths::CONTROL)
            .map_err(step(Step::Prepare, "cannot listen on the control socket"))?;
        let outputs = if config.tty {
            Vec::new()
        } else {
            stdio::open_outputs(dir.as_fd())
                .map_err(step(Step::Stdio, "cannot make the output FIFOs"))?
        };
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let mut status = Status::created(&config.id, pid, clock::now_text());
        if let Some(before) = last_run(dir.as_fd()) {
            // A start that fails leaves it as it was.
            status.started_at = before.started_at;
            status.finished_at = before.finished_at;
        }
        let supervisor = Self {
            config,
            workload,
            ready: Ready::nobody(),
            dir,
            lock: Some(lock),
            epoll,
            signals,
            listener: None,
            log,
            status,
            untold: Vec::new(),
            policy: config.restart,
            backoff: Backoff::default(),
            phase: Phase::Created,
            init: None,
            keeper: None,
            size: config.size,
            outputs,
            console: None,
            stdin: Stdin::default(),
            conns: Vec::new(),
            generation: 0,
            ring: Ring::default(),
            held: false,
            buffer: vec![0; BUFFER],
            failure: None,
            start_again: false,
            last_run: false,
            result: None,
        };
        supervisor
            .watch(&supervisor.signals, SIGNALS, EventFlags::IN)
            .and_then(|()| supervisor.watch(&listener, LISTENER, EventFlags::IN))
            .map_err(step(Step::Prepare, "cannot watch the control socket"))?;
        Ok(Self {
            listener: Some(listener),
            ..supervisor
        })
    }

    /// Publishes that it could not be made, and why.
    fn record(&mut self, failure: &Failure) {
        self.status.exit_code = Some(failure.recorded_code());
        self.status.error = Some(failure.message.clone());
        if self.status.started_at.is_some() {
            self.status.state = State::Exited;
        }
        self.publish();
    }

    fn create_first(&mut self) -> Result<(), Failure> {
        self.create()?;
        state::publish(self.dir.as_fd(), &self.status).map_err(|error| {
            let failure = system_failure(Step::Status, "cannot publish the status", &error);
            self.undo_create();
            failure
        })
    }

    /// Makes the first process of a run. On failure nothing of it is left.
    fn create(&mut self) -> Result<(), Failure> {
        let (side, writer) = stdio::container_side(self.dir.as_fd(), self.config, self.size)
            .map_err(|error| {
                system_failure(Step::Stdio, "cannot make the container's stdio", &error)
            })?;
        let wants_console = matches!(side, ContainerStdio::Terminal { .. });
        let created = self.workload.create(side)?;
        let start_ticks = state::start_ticks(created.pid).ok().flatten().unwrap_or(0);
        let id = ProcessId {
            pid: created.pid,
            start_ticks,
        };
        self.init = Some(Init {
            id,
            pidfd: created.pidfd,
        });
        self.status.init = Some(id);
        self.status.warnings = created.warnings;
        self.phase = Phase::Created;
        let connected = if wants_console == created.console.is_some() {
            self.connect(Kept {
                console: created.console,
                stdin: writer,
            })
            .and_then(|()| self.begin_keeper())
        } else {
            Err(io::Error::other(
                "a terminal was asked for and none came, or the reverse",
            ))
        };
        connected.map_err(|error| {
            self.undo_create();
            system_failure(Step::Stdio, "cannot watch the instance", &error)
        })
    }

    /// Watches the first process and its stdio.
    pub(super) fn connect(&mut self, kept: Kept) -> io::Result<()> {
        let Some(init) = &self.init else {
            return Ok(());
        };
        self.watch(&init.pidfd, INIT, EventFlags::IN)?;
        if let Some(console) = &kept.console {
            self.outputs = stdio::console_output(console)?;
            if let Some(size) = self.size {
                stdio::resize(console, size)?;
            }
        }
        self.console = kept.console;
        self.stdin = Stdin {
            fifo: kept.stdin,
            full: false,
        };
        for output in &mut self.outputs {
            output.ended = false;
        }
        self.watch_outputs();
        Ok(())
    }

    /// Has the terminal and the writing end of stdin held by a process beside this one.
    fn begin_keeper(&mut self) -> io::Result<()> {
        let (console, stdin) = (self.console.as_ref(), self.stdin.fifo.as_ref());
        if let Some(init) = &self.init
            && (console.is_some() || stdin.is_some())
        {
            let pid = keeper::begin(self.dir.as_fd(), init.pidfd.as_fd(), console, stdin)?;
            self.keeper = Some(pid);
        }
        Ok(())
    }

    /// Ends a created process that will never be started.
    fn undo_create(&mut self) {
        let Some(init) = self.init.take() else { return };
        self.kill();
        let pid = Pid::from_raw(init.id.pid);
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(pid, WaitOptions::empty())
        {
        }
        let exited = Exited {
            exit_code: 128 + SIGKILL,
            oom_killed: false,
            error: None,
        };
        // The failure that led here is the one to report.
        self.workload.cleanup(&exited).unwrap_or(());
        self.status.init = None;
    }

    /// Lets the created process run.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        match self.workload.start() {
            Ok(warnings) => {
                self.status.warnings.extend(warnings);
                self.phase = Phase::Running {
                    since: Instant::now(),
                    kill_at: None,
                };
                self.status.state = State::Running;
                self.status.manually_stopped = false;
                self.status.restart_off = false;
                self.status.started_at = Some(clock::now_text());
                self.status.finished_at = None;
                self.status.exit_code = None;
                self.status.oom_killed = false;
                self.status.error = None;
                self.untold.push(InstanceChange::Start);
                self.publish();
                Ok(())
            }
            Err(failure) => {
                self.failure = Some(failure.clone());
                self.kill();
                Err(failure)
            }
        }
    }

    /// Asks it to end; it is killed when the time is over.
    pub(super) fn stop(&mut self, signal: Option<i32>, timeout: StopTimeout) {
        let now = Instant::now();
        match &mut self.phase {
            Phase::Running { kill_at, .. } => {
                let patience = match timeout {
                    StopTimeout::Configured => {
                        self.config.stop_timeout_ms.map(Duration::from_millis)
                    }
                    StopTimeout::Millis(millis) => Some(Duration::from_millis(millis)),
                    StopTimeout::Never => None,
                };
                // Of several stops the most impatient counts.
                let at = patience.and_then(|patience| now.checked_add(patience));
                *kill_at = match (*kill_at, at) {
                    (Some(old), Some(new)) => Some(old.min(new)),
                    (old, new) => old.or(new),
                };
                let due = kill_at.is_some_and(|at| at <= now);
                let signal = signal.or(self.config.stop_signal).unwrap_or(SIGTERM);
                if self.workload.signal(signal, false).is_err() {
                    self.kill();
                }
                // Of a kill that follows at once only that one is told.
                if signal != SIGKILL || !due {
                    self.tell(InstanceChange::Kill { signal });
                }
                self.thaw();
            }
            Phase::Created => self.kill(),
            Phase::Waiting { .. } => self.give_up(),
            Phase::Down => {}
        }
    }

    /// Does not wait for the next run any more.
    pub(super) fn give_up(&mut self) {
        let exited = self.last_exit();
        self.end(exited, false);
    }

    pub(super) fn kill(&mut self) {
        // The only refusal possible is that it is gone already, which the pidfd tells.
        self.workload.signal(SIGKILL, true).unwrap_or(());
        self.thaw();
    }

    /// A frozen process takes no signal.
    pub(super) fn thaw(&mut self) {
        if self.status.state == State::Paused && self.workload.resume().is_ok() {
            self.status.state = State::Running;
            self.status.held = false;
            self.untold.push(InstanceChange::Unpause);
            self.publish();
        }
    }

    pub(super) fn on_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.next() {
            match signal {
                SIGCHLD => self.reap(),
                SIGTERM | SIGINT | SIGQUIT => {
                    self.last_run = true;
                    self.stop(None, StopTimeout::Configured);
                }
                // Nobody's terminal is ours; SIGHUP says nothing.
                _ => {}
            }
        }
    }

    /// Reaps whoever ended, and learns how the first process did.
    pub(super) fn reap(&mut self) {
        let mut ended = None;
        let mut lost_keeper = false;
        let own = self.init.as_ref().map(|init| init.id.pid);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = Some(pid.as_raw_nonzero().get());
                    if pid == own {
                        ended = Some(status.as_raw());
                    }
                    lost_keeper |= pid == self.keeper;
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(status) = ended {
            return self.on_exit(exit_code(status), None);
        }
        if lost_keeper {
            self.keeper = None;
            // Somebody killed it. Without one the instance only depends on us.
            self.begin_keeper().unwrap_or(());
        }
        let Some(init) = &self.init else { return };
        if !orphan::has_ended(&init.pidfd) {
            return;
        }
        // Not our child: it was adopted.
        match orphan::exit_status(init.id, &init.pidfd) {
            Some(status) => self.on_exit(exit_code(status), None),
            None => self.on_exit(
                UNKNOWN_STATUS,
                Some(
                    "its exit status is lost: it ended as the child of a process that reaped it"
                        .to_owned(),
                ),
            ),
        }
    }

    pub(super) fn on_exit(&mut self, exit_code: i32, error: Option<String>) {
        if let Some(init) = self.init.take() {
            // Closing is not enough: the keeper holds a duplicate for a moment.
            epoll::delete(&self.epoll, &init.pidfd).unwrap_or(());
        }
        let mut exited = Exited {
            exit_code,
            oom_killed: self.workload.oom_killed(),
            error,
        };
        if let Some(failure) = &self.failure {
            exited.exit_code = failure.recorded_code();
            exited.error = Some(failure.message.clone());
        }
        self.drain();
        let cleaned = self.workload.cleanup(&exited);
        self.drain();
        if let Some(log) = &mut self.log {
            log.end();
        }
        self.disconnect();
        if let Err(failure) = &cleaned {
            exited.error = Some(failure.message.clone());
        }
        let ran_for = match self.phase {
            Phase::Running { since, .. } => since.elapsed(),
            Phase::Created | Phase::Waiting { .. } | Phase::Down => Duration::ZERO,
        };
        if matches!(self.status.state, State::Running | State::Paused) {
            if exited.oom_killed {
                self.untold.push(InstanceChange::OutOfMemory);
            }
            let exit_code = exited.exit_code;
            self.untold.push(InstanceChange::Die { exit_code });
        }
        self.status.init = None;
        self.status.held = false;
        self.status.exit_code = Some(exited.exit_code);
        self.status.oom_killed = exited.oom_killed;
        self.status.error.clone_from(&exited.error);
        self.status.finished_at = Some(clock::now_text());
        let stay = cleaned.is_err() || self.failure.is_some() || self.last_run;
        if !stay && std::mem::take(&mut self.start_again) {
            self.backoff.reset();
            self.status.restart_count = 0;
            self.tell(InstanceChange::Stop);
            self.tell_run_ended(&exited);
            if self.start_next_run() {
                self.tell(InstanceChange::Restart);
            }
            return;
        }
        let left_down = self.policy == RestartPolicy::UnlessStopped && self.status.manually_stopped;
        let delay = if stay || self.status.restart_off || left_down {
            None
        } else {
            self.backoff.next(self.policy, exited.exit_code, ran_for)
        };
        match delay {
            Some(delay) => {
                self.phase = Phase::Waiting {
                    start_at: Instant::now() + delay,
                };
                self.status.state = State::Restarting;
                self.publish();
                self.tell_run_ended(&exited);
            }
            None => self.end(exited, cleaned.is_err()),
        }
    }

    /// The next run, by policy or because a user wants it; whether it runs.
    pub(super) fn start_next_run(&mut self) -> bool {
        self.status.restart_count = self.backoff.restarts();
        let started = match self.create() {
            Ok(()) => self.start(),
            Err(failure) => {
                let exited = Exited {
                    exit_code: failure.recorded_code(),
                    oom_killed: false,
                    error: Some(failure.message.clone()),
                };
                self.status.exit_code = Some(exited.exit_code);
                self.status.error.clone_from(&exited.error);
                self.failure = Some(failure);
                self.end(exited, false);
                return false;
            }
        };
        if started.is_ok() {
            self.tell_started();
        }
        started.is_ok()
    }

    /// It is finally down.
    fn end(&mut self, exited: Exited, dead: bool) {
        self.phase = Phase::Down;
        self.status.state = match (dead, &self.status.started_at) {
            (true, _) => State::Dead,
            // As Docker: an instance that never ran is still a created one.
            (false, None) => State::Created,
            (false, Some(_)) => State::Exited,
        };
        self.publish();
        // Who has come is answered; who comes now finds no socket and reads the status,
        // which is final.
        while self.accept() {}
        self.listener = None;
        state::unlink(self.dir.as_fd(), paths::CONTROL).unwrap_or(());
        let mut exited = exited;
        let mut result = ExitReason::Down(exited.clone());
        if self.config.auto_remove && !dead {
            match self.workload.remove() {
                Ok(()) => result = ExitReason::Removed(exited.clone()),
                Err(failure) => {
                    self.status.error = Some(failure.message.clone());
                    exited.error = Some(failure.message);
                    self.publish();
                    result = ExitReason::Down(exited.clone());
                }
            }
        }
        self.lock = None;
        if let Some(failure) = &self.failure {
            self.ready.failed(failure);
        }
        self.tell_down(&exited);
        self.result = Some(result);
    }

    pub(super) fn last_exit(&self) -> Exited {
        Exited {
            exit_code: self.status.exit_code.unwrap_or(0),
            oom_killed: self.status.oom_killed,
            error: self.status.error.clone(),
        }
    }

    pub(super) fn publish(&mut self) {
        self.status.log_lines_dropped = self.log.as_ref().map_or(0, Log::dropped);
        // A full tmpfs, or a directory that is gone, must not end the instance; the socket
        // still tells.
        state::publish(self.dir.as_fd(), &self.status).unwrap_or(());
        if !self.untold.is_empty() {
            self.workload.tell(std::mem::take(&mut self.untold));
        }
    }

    /// Tells what became of it, where that changes nothing that is published.
    pub(super) fn tell(&mut self, change: InstanceChange) {
        self.untold.push(change);
        self.workload.tell(std::mem::take(&mut self.untold));
    }
}

/// How it was when it was down before.
fn last_run(dir: BorrowedFd<'_>) -> Option<Status> {
    let bytes = state::read_status(dir).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Data of the epoll event of an output.
pub(super) fn output_token(index: usize) -> u64 {
    OUTPUTS + super::ring::wide(index)
}

/// 0–255, or 128+n for signal n, of a raw wait status.
fn exit_code(status: i32) -> i32 {
    match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => 128 + signal,
    }
}

pub(super) fn system_failure(step: Step, what: &str, error: &io::Error) -> Failure {
    let mut failure = Failure::new(step, format!("{what}: {error}"));
    failure.errno = error.raw_os_error();
    failure
}
