//! Runs a program to its end: both outputs captured, a limit on its time, and
//! a note when something it left behind still holds its output open.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A program to run.
#[derive(Debug, Clone)]
pub struct Cmd {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    input: Vec<u8>,
    limit: Duration,
}

/// How a program ended and what it printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// Exit status or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// From the start to the exit.
    pub time: Duration,
    /// A process that outlived the program kept its output open.
    pub held_open: bool,
    /// The time limit passed and the program was killed.
    pub timed_out: bool,
}

impl Cmd {
    /// Runs `program`, found on the PATH when it has no slash; no input, a
    /// limit of two minutes.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: Vec::new(),
            limit: Duration::from_secs(120),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.push((key.as_ref().to_owned(), None));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// Gives the program these bytes as standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Kills the program after this time.
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same command under another program: `wrapper arguments… -- self`.
    #[must_use]
    pub fn under(mut self, wrapper: &str, arguments: &[&str]) -> Self {
        let mut all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        all.push(std::mem::replace(&mut self.program, wrapper.into()));
        all.append(&mut self.arguments);
        self.arguments = all;
        self
    }

    /// The standard library's command with the same settings and no pipes.
    #[must_use]
    pub fn command(&self) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "running programs is this module's subject"
        )]
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for (key, value) in &self.environment {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Starts the program with its outputs captured, for [`Running::wait`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self) -> Running {
        let mut command = self.command();
        let stdin = if self.input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.line()));
        if let Some(mut stdin) = child.stdin.take() {
            let input = self.input.clone();
            // A program may end without reading all of its input.
            std::thread::spawn(move || stdin.write_all(&input).ok());
        }
        let pidfd = pidfd(&child);
        Running {
            line: self.line(),
            child,
            pidfd,
            started,
            limit: self.limit,
        }
    }

    /// Runs the program to its end, however it ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self) -> Output {
        self.start().wait()
    }

    /// Runs the program and returns its output.
    ///
    /// # Panics
    /// When it fails, with all it printed.
    pub fn ok(&self) -> Output {
        let output = self.run();
        assert!(output.success(), "{output}");
        output
    }

    fn line(&self) -> String {
        let mut line = self.program.to_string_lossy().into_owned();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&argument.to_string_lossy());
        }
        line
    }
}

/// A program that runs, with its outputs captured.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    pidfd: OwnedFd,
    started: Instant,
    limit: Duration,
}

impl Running {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; a process that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        let _gone = pidfd_send_signal(&self.pidfd, signal);
    }

    /// True when the program ended within `time`.
    ///
    /// # Panics
    /// When the kernel refuses to poll.
    #[must_use]
    pub fn ends_within(&self, time: Duration) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        wait_for(&mut fds, time);
        !fds[0].revents().is_empty()
    }

    /// Waits for the end, or kills at the limit.
    ///
    /// # Panics
    /// When the pipes fail.
    #[must_use]
    pub fn wait(mut self) -> Output {
        let mut pipes = [
            Pipe::new(self.child.stdout.take().map(OwnedFd::from)),
            Pipe::new(self.child.stderr.take().map(OwnedFd::from)),
        ];
        let mut ended: Option<Duration> = None;
        let mut timed_out = false;
        loop {
            let left = match ended {
                // What the program wrote is in the pipe already.
                Some(at) => (at + Duration::from_secs(1)).saturating_sub(self.started.elapsed()),
                None => self.limit.saturating_sub(self.started.elapsed()),
            };
            if left.is_zero() {
                if ended.is_some() {
                    break;
                }
                timed_out = true;
                self.signal(Signal::KILL);
                self.limit += Duration::from_secs(5);
                continue;
            }
            let all_closed = pipes.iter().all(|p| p.fd.is_none());
            if ended.is_some() && all_closed {
                break;
            }
            let mut fds: Vec<PollFd<'_>> = pipes
                .iter()
                .filter_map(|p| p.fd.as_ref())
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            if ended.is_none() {
                fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
            }
            wait_for(&mut fds, left);
            let mut ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ended.is_none() && ready.pop() == Some(true) {
                ended = Some(self.started.elapsed());
            }
            let mut ready = ready.into_iter();
            for pipe in &mut pipes {
                if pipe.fd.is_some() && ready.next() == Some(true) {
                    pipe.read();
                }
            }
        }
        let status = self.child.wait().expect("our own child can be waited for");
        let held_open = pipes.iter().any(|p| p.fd.is_some());
        let [stdout, stderr] = pipes.map(|p| p.bytes);
        let time = ended.unwrap_or_else(|| self.started.elapsed());
        Output {
            line: self.line,
            status,
            stdout,
            stderr,
            time,
            held_open,
            timed_out,
        }
    }
}

impl Output {
    /// Ended with status 0 within its time.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// Exit status as a shell would tell it: 128 + n for signal n.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = if self.timed_out {
            ", killed at its time limit"
        } else {
            ""
        };
        write!(
            f,
            "`{}`: {}{late}\n--- stdout\n{}--- stderr\n{}",
            self.line,
            self.status,
            self.out(),
            self.err()
        )
    }
}

struct Pipe {
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Pipe {
    const fn new(fd: Option<OwnedFd>) -> Self {
        Self {
            fd,
            bytes: Vec::new(),
        }
    }

    /// One read; the end closes the pipe.
    fn read(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        let mut file = std::fs::File::from(fd);
        let mut buffer = vec![0; 1 << 16];
        match file.read(&mut buffer) {
            Ok(0) => {}
            Ok(n) => {
                self.bytes.extend_from_slice(&buffer[..n]);
                self.fd = Some(file.into());
            }
            Err(e) => panic!("cannot read a program's output: {e}"),
        }
    }
}

/// A pidfd of a child that has not been waited for.
///
/// # Panics
/// When the kernel refuses.
#[must_use]
pub fn pidfd(child: &Child) -> OwnedFd {
    let pid = Pid::from_child(child);
    pidfd_open(pid, PidfdFlags::empty()).expect("a child that was not reaped has a pidfd")
}

/// Polls; a signal that interrupts counts as nothing ready.
fn wait_for(fds: &mut [PollFd<'_>], time: Duration) {
    let time = Timespec::try_from(time).expect("the limit fits");
    match poll(fds, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => panic!("cannot poll: {e}"),
    }
}

/// Lets time pass between two attempts at what sends no event.
pub fn pause(time: Duration) {
    wait_for(&mut [], time);
}

/// Waits until a descriptor is readable; false when `time` passed first.
///
/// # Panics
/// When the kernel refuses to poll.
#[must_use]
pub fn readable(fd: impl AsFd, time: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    wait_for(&mut fds, time);
    !fds[0].revents().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_and_the_status_are_told() {
        let output = Cmd::new("sh")
            .args(["-c", "cat; echo no >&2; exit 3"])
            .input("yes")
            .run();
        assert_eq!(
            (output.code(), output.out(), output.err()),
            (3, "yes".into(), "no\n".into())
        );
        assert!(!output.held_open && !output.timed_out);
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_said_so() {
        let output = Cmd::new("sleep")
            .arg("60")
            .limit(Duration::from_millis(50))
            .run();
        assert!(output.timed_out);
        assert_eq!(output.code(), 137);
    }

    #[test]
    fn a_leftover_that_holds_the_output_is_noticed() {
        let output = Cmd::new("sh").args(["-c", "sleep 5 & echo $!"]).run();
        assert!(output.held_open);
        let pid = Pid::from_raw(output.out().trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn a_wrapper_runs_the_command() {
        let output = Cmd::new("echo").arg("hi").under("env", &["A=b"]).ok();
        assert_eq!(output.out(), "hi\n");
    }
}
