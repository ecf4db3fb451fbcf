//! A process in the foreground: its signals, its terminal, its exit status.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use cove_sys::signalfd::SignalFd;
use cove_sys::terminal::Raw;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use rustix::termios::{tcgetwinsize, tcsetwinsize};

use crate::failure::{Failure, Outcome};
use crate::notify::Notify;

const WINCH: i32 = 28;
const CHLD: i32 = 17;

/// Signals that are handed on. Not those that cannot be caught, those a fault
/// of this very process raises, nor those of job control, which the terminal
/// sends to the container as well.
const FORWARDED: [i32; 15] = [1, 2, 3, 10, 12, 13, 14, 15, 18, 23, 24, 25, 26, 27, 30];

/// The most that is copied at once.
const CHUNK: usize = 32 << 10;

/// A process to wait for, which is a child of ours.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    pub(crate) fn of(pid: Pid, pidfd: &OwnedFd) -> Result<Self, Failure> {
        let pidfd = pidfd
            .try_clone()
            .map_err(|error| Failure::new(format!("duplicate a descriptor: {error}")))?;
        Ok(Self { pid, pidfd })
    }

    /// Waits until it is ready, for whoever waits for that.
    pub(crate) fn until_ready(&self, notify: &Notify) -> Outcome {
        notify.wait(&self.pidfd, self.number())?;
        Ok(0)
    }

    fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

/// Signals are held back from here on, and the terminal is raw, until this is
/// dropped.
pub(crate) struct Watch {
    signals: SignalFd,
    console: Option<OwnedFd>,
    raw: Option<Raw>,
    /// Until it is ready.
    notify: Option<Notify>,
}

impl Watch {
    /// Begins before the process does, so that no signal is lost.
    pub(crate) fn begin(console: Option<OwnedFd>, notify: Option<Notify>) -> Result<Self, Failure> {
        let failed = |what: &str, error: io::Error| Failure::new(format!("{what}: {error}"));
        let mut numbers = FORWARDED.to_vec();
        numbers.extend([WINCH, CHLD]);
        let signals =
            SignalFd::block(&numbers).map_err(|error| failed("hold signals back", error))?;
        let raw = if console.is_some() && io::stdin().is_terminal() {
            let raw = Raw::enter_for_input();
            Some(raw.map_err(|error| failed("set the terminal to raw mode", error))?)
        } else {
            None
        };
        let watch = Self {
            signals,
            console,
            raw,
            notify,
        };
        watch.resize();
        Ok(watch)
    }

    /// Hands on signals and, with a terminal, every byte both ways, until the
    /// process ends. Answers with its exit status.
    pub(crate) fn wait(mut self, child: &Child) -> Result<u8, Failure> {
        let mut input = self.console.is_some();
        let mut output = self.console.is_some();
        let (mut to_container, mut to_us) = (Buffer::new(), Buffer::new());
        loop {
            let stdin = io::stdin();
            let stdout = io::stdout();
            let mut fds = vec![
                PollFd::new(&child.pidfd, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            let mut roles = Vec::new();
            if let Some(notify) = &self.notify {
                roles.push(Role::Notify);
                fds.push(PollFd::new(notify.socket(), PollFlags::IN));
            }
            if let Some(console) = &self.console {
                let mut wanted = PollFlags::empty();
                if output && to_us.is_empty() {
                    wanted |= PollFlags::IN;
                }
                if !to_container.is_empty() {
                    wanted |= PollFlags::OUT;
                }
                if !wanted.is_empty() {
                    roles.push(Role::Console);
                    fds.push(PollFd::new(console, wanted));
                }
                if input && to_container.is_empty() {
                    roles.push(Role::Input);
                    fds.push(PollFd::new(&stdin, PollFlags::IN));
                }
                if !to_us.is_empty() {
                    roles.push(Role::Output);
                    fds.push(PollFd::new(&stdout, PollFlags::OUT));
                }
            }
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Failure::new(format!("wait for the container: {error}"))),
            }
            let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            drop(fds);
            let mut status = if ready[1].is_empty() {
                None
            } else {
                self.forward(child)?
            };
            for (role, flags) in roles.iter().zip(&ready[2..]) {
                if flags.is_empty() {
                    continue;
                }
                match role {
                    Role::Notify => {
                        if let Some(notify) = &self.notify
                            && notify.is_ready()?
                        {
                            notify.tell(child.number())?;
                            self.notify = None;
                        }
                    }
                    Role::Console => {
                        let Some(console) = &self.console else {
                            continue;
                        };
                        if flags.contains(PollFlags::OUT) && !to_container.write_to(console) {
                            input = false;
                        }
                        // The last process that had the terminal is gone: EIO.
                        if flags.intersects(PollFlags::IN | PollFlags::HUP)
                            && to_us.is_empty()
                            && !to_us.read_from(console)
                        {
                            output = false;
                        }
                    }
                    Role::Input => input = to_container.read_from(&stdin),
                    Role::Output => output &= to_us.write_to(&stdout),
                }
            }
            if status.is_none() && !ready[0].is_empty() {
                status = Some(reap(child)?);
            }
            if let Some(status) = status {
                if output && let Some(console) = &self.console {
                    drain(console, &mut to_us, &stdout);
                }
                self.raw.take();
                return Ok(status);
            }
        }
    }

    /// Deals with every signal that arrived. Answers with the exit status if
    /// the process was among the children that ended.
    fn forward(&self, child: &Child) -> Result<Option<u8>, Failure> {
        let mut status = None;
        while let Some(number) = self
            .signals
            .next()
            .map_err(|error| Failure::new(format!("read signals: {error}")))?
        {
            match number {
                WINCH if self.console.is_some() => self.resize(),
                CHLD => status = status.or(reap_all(child)),
                number => {
                    let Some(signal) = Signal::from_named_raw(number) else {
                        continue;
                    };
                    match rustix::process::pidfd_send_signal(&child.pidfd, signal) {
                        Ok(()) | Err(Errno::SRCH) => {}
                        // From another user namespace: by number, which the
                        // unwaited child still holds.
                        Err(Errno::INVAL) => kill_process(child.pid, signal).unwrap_or(()),
                        Err(error) => {
                            return Err(Failure::new(format!("hand on signal {number}: {error}")));
                        }
                    }
                }
            }
        }
        Ok(status)
    }

    /// The container's terminal gets the size of ours.
    fn resize(&self) {
        if let Some(console) = &self.console
            && let Ok(size) = tcgetwinsize(io::stdin())
        {
            tcsetwinsize(console, size).unwrap_or(());
        }
    }
}

/// What a descriptor of the poll is for.
enum Role {
    Notify,
    Console,
    Input,
    Output,
}

/// Bytes on their way.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.start >= self.bytes.len()
    }

    /// False when nothing more will come.
    fn read_from(&mut self, from: impl AsFd) -> bool {
        self.bytes.resize(CHUNK, 0);
        self.start = 0;
        match rustix::io::read(from, &mut self.bytes[..]) {
            Ok(0) => {
                self.bytes.clear();
                false
            }
            Ok(length) => {
                self.bytes.truncate(length);
                true
            }
            Err(error) => {
                self.bytes.clear();
                matches!(error, Errno::AGAIN | Errno::INTR)
            }
        }
    }

    /// False when nobody takes them any more.
    fn write_to(&mut self, to: impl AsFd) -> bool {
        match rustix::io::write(to, &self.bytes[self.start..]) {
            Ok(length) => {
                self.start += length;
                true
            }
            Err(error) => {
                if matches!(error, Errno::AGAIN | Errno::INTR) {
                    return true;
                }
                self.start = self.bytes.len();
                false
            }
        }
    }
}

/// What the ended process still left in its terminal.
fn drain(console: &OwnedFd, buffer: &mut Buffer, stdout: &io::Stdout) {
    let nothing = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        while !buffer.is_empty() {
            if !buffer.write_to(stdout) {
                return;
            }
        }
        let mut fd = [PollFd::new(console, PollFlags::IN)];
        let more = poll(&mut fd, Some(&nothing)).is_ok_and(|count| count > 0);
        if !more || !fd[0].revents().contains(PollFlags::IN) || !buffer.read_from(console) {
            return;
        }
    }
}

fn reap(child: &Child) -> Result<u8, Failure> {
    loop {
        match waitpid(Some(child.pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(exit_status(status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::new(format!("wait for the container: {error}"))),
        }
    }
}

/// Waits for every child that ended: as a subreaper there are more than ours.
fn reap_all(child: &Child) -> Option<u8> {
    let mut own = None;
    while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
        if pid == child.pid {
            own = Some(exit_status(status));
        }
    }
    own
}

fn exit_status(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    u8::try_from(code).unwrap_or(255)
}

/// The size of the terminal on standard input, if it is one.
pub(crate) fn size() -> Option<oci_spec::runtime::Box> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    let area = oci_spec::runtime::BoxBuilder::default();
    area.height(size.ws_row).width(size.ws_col).build().ok()
}

/// Waits for a process that runs already.
pub(crate) fn wait(child: &Child, console: Option<OwnedFd>) -> Result<u8, Failure> {
    Watch::begin(console, None)?.wait(child)
}
