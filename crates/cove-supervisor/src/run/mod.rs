//! The loop of a supervisor.
//!
//! ```text
//! begin ──▶ Created ──start──▶ Running ──exit──▶ cleanup ──▶ Down ──▶ linger, return
//!    └──── adopt ───────────────▲                  │
//!                               └── Waiting ◀──────┘ restart policy
//! ```
//!
//! Everything happens in one thread between two `epoll_wait`s. [`Supervisor`]
//! owns all state; the files beside this one hold what can be told apart:
//! `life` the instance itself, `serve` the requests, `attach` the bytes between
//! clients, instance and log, `conn` one client, `ring` the output on its way to
//! clients, `stdio` and `keeper` the descriptors, `adopt` and `orphan` an
//! instance whose supervisor was killed.

mod adopt;
mod attach;
mod conn;
mod keeper;
mod life;
mod orphan;
mod ring;
mod serve;
mod stdio;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use cove_model::control::{Exited, Failure, Step, TerminalSize};
use cove_model::event::InstanceChange;
use cove_model::restart::RestartPolicy;
use cove_model::status::{ProcessId, Status};
use cove_sys::signalfd::SignalFd;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;

use self::conn::Conn;
use self::ring::Ring;
use self::stdio::Output;
use crate::backoff::Backoff;
use crate::config::Config;
use crate::logs::Log;
use crate::spawn::Ready;
use crate::workload::Workload;

/// One read of output. Each read wakes the writer of a full pipe, so larger ones cost less.
const BUFFER: usize = 128 * 1024;
/// How far an attached client may fall behind before it is cut off.
const MAX_LAG: u64 = 1 << 20;
/// How far one may fall behind for which the instance waits, and when it goes on.
const WAIT_LAG: u64 = 512 << 10;
const RESUME_LAG: u64 = 128 << 10;
/// How long a client that was cut off, or that does not read how it ended, is waited for.
const LINGER: Duration = Duration::from_secs(5);

const SIGKILL: i32 = 9;

const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const INIT: u64 = 2;
const STDIN: u64 = 3;
const OUTPUTS: u64 = 4;
const CONNS: u64 = 8;

/// How a supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// The instance is down.
    Down(Exited),
    /// The instance is down and was removed.
    Removed(Exited),
    /// There was nothing to supervise: it could not be created or adopted.
    Failed(Failure),
}

/// Supervises one instance until it is finally down. `ready` is told once it
/// is created (and started, when so configured), or why it is not.
///
/// The calling process must have one thread, and belong to this alone: the
/// signal mask is changed, every child is reaped.
pub fn run(config: &Config, workload: &mut dyn Workload, ready: Ready) -> ExitReason {
    match Supervisor::begin(config, workload, ready) {
        Ok(mut supervisor) => supervisor.run(),
        Err(Refusal { failure, mut ready }) => {
            ready.failed(&failure);
            ExitReason::Failed(failure)
        }
    }
}

struct Supervisor<'a> {
    config: &'a Config,
    workload: &'a mut dyn Workload,
    ready: Ready,
    dir: OwnedFd,
    /// Held for as long as there is something to supervise.
    lock: Option<OwnedFd>,
    epoll: OwnedFd,
    signals: SignalFd,
    listener: Option<OwnedFd>,
    log: Option<Log>,
    status: Status,
    /// What became of it and has not been told yet.
    untold: Vec<InstanceChange>,
    policy: RestartPolicy,
    backoff: Backoff,
    phase: Phase,
    init: Option<Init>,
    /// The process that holds its terminal and stdin too, when it is our child.
    keeper: Option<i32>,
    size: Option<TerminalSize>,
    outputs: Vec<Output>,
    console: Option<OwnedFd>,
    stdin: Stdin,
    conns: Vec<Option<Conn>>,
    generation: u32,
    ring: Ring,
    /// Output is not read because a client that is waited for is behind.
    held: bool,
    buffer: Vec<u8>,
    /// A start that failed, until the instance is cleaned up.
    failure: Option<Failure>,
    /// A user wants it to start again after this end.
    start_again: bool,
    /// Nobody wants it to start again.
    last_run: bool,
    result: Option<ExitReason>,
}

/// The first process.
struct Init {
    id: ProcessId,
    pidfd: OwnedFd,
}

/// Where the instance is.
enum Phase {
    /// Its first process waits for the start.
    Created,
    /// It runs.
    Running {
        since: Instant,
        /// It is being stopped; the time at which it is killed.
        kill_at: Option<Instant>,
    },
    /// It is down and will be started at that time.
    Waiting { start_at: Instant },
    /// It is finally down.
    Down,
}

/// The writing end of the instance's stdin.
#[derive(Default)]
struct Stdin {
    fifo: Option<OwnedFd>,
    /// The FIFO or the terminal takes no more at the moment, and is watched.
    full: bool,
}

struct Refusal {
    failure: Failure,
    ready: Ready,
}

impl Supervisor<'_> {
    fn run(&mut self) -> ExitReason {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        loop {
            self.on_time();
            if let Some(result) = self.finished() {
                return result;
            }
            let timeout = self.next_time().map(|at| {
                let left = at.saturating_duration_since(Instant::now());
                // Rounded up: waking early would only mean to sleep again.
                Timespec::try_from(left + Duration::from_micros(999)).unwrap_or_default()
            });
            // The only error possible is an interruption.
            let Ok((ready, _)) = epoll::wait(&self.epoll, &mut events, timeout.as_ref()) else {
                continue;
            };
            for event in ready.iter() {
                let (data, flags) = (event.data.u64(), event.flags);
                match data {
                    LISTENER => {
                        self.accept();
                    }
                    SIGNALS => self.on_signals(),
                    INIT => self.reap(),
                    STDIN => self.on_stdin_writable(),
                    OUTPUTS..CONNS => self.on_output(data, flags),
                    _ => self.on_conn(data - CONNS, flags),
                }
            }
            self.settle();
        }
    }

    /// What is due by now.
    fn on_time(&mut self) {
        let now = Instant::now();
        match &mut self.phase {
            Phase::Running { kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                *kill_at = None;
                self.kill();
                self.tell(InstanceChange::Kill { signal: SIGKILL });
            }
            Phase::Waiting { start_at } if *start_at <= now => {
                self.start_next_run();
            }
            Phase::Created | Phase::Running { .. } | Phase::Waiting { .. } | Phase::Down => {}
        }
        for slot in 0..self.conns.len() {
            let due = self.conns[slot].as_ref().and_then(|conn| conn.deadline);
            if due.is_some_and(|at| at <= now) {
                self.close(slot);
            }
        }
    }

    fn next_time(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Running { kill_at, .. } => *kill_at,
            Phase::Waiting { start_at } => Some(*start_at),
            Phase::Created | Phase::Down => None,
        };
        self.conns
            .iter()
            .flatten()
            .filter_map(|conn| conn.deadline)
            .chain(own)
            .min()
    }

    /// The result, once the instance is down and every client has what is its due.
    fn finished(&mut self) -> Option<ExitReason> {
        let Phase::Down = self.phase else {
            return None;
        };
        if self.conns.iter().flatten().next().is_some() {
            return None;
        }
        self.result.take()
    }

    /// After a round of events: sends to clients, cuts off the slow, forgets
    /// output everybody has, and holds or resumes the reading of output.
    fn settle(&mut self) {
        let mut oldest = self.ring.end();
        let mut waiting = 0;
        for slot in 0..self.conns.len() {
            let Some(conn) = self.conns[slot].as_mut() else {
                continue;
            };
            if conn.is_over() || conn.wants_to_send(&self.ring) && conn.flush(&self.ring) {
                self.close(slot);
                continue;
            }
            match conn.lag(&self.ring) {
                Some((lag, true)) => waiting = waiting.max(lag),
                Some((lag, false)) if lag > MAX_LAG => {
                    let failure = Failure::new(Step::Attach, "the client reads too slowly");
                    conn.cut(&failure, &self.ring, Instant::now() + LINGER);
                }
                _ => {}
            }
            oldest = oldest.min(conn.needs().unwrap_or(oldest));
            self.watch_conn(slot);
        }
        self.ring.trim(oldest);
        let hold = if self.held {
            waiting > RESUME_LAG
        } else {
            waiting > WAIT_LAG
        };
        if hold != self.held {
            self.held = hold;
            self.watch_outputs();
        }
        while self.conns.last().is_some_and(Option::is_none) {
            self.conns.pop();
        }
    }

    fn watch(&self, fd: impl AsFd, data: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(data),
            flags,
        )?)
    }
}
