//! A supervisor of shell scripts: the program behind the tests of this crate,
//! and what its memory is measured on.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use cove_model::control::{Exited, Failure, Step};
use cove_model::error::ErrorKind;
use cove_model::event::InstanceChange;
use cove_model::status::ProcessId;
use cove_supervisor::config::Config;
use cove_supervisor::spawn::Inherited;
use cove_supervisor::workload::{ContainerStdio, Created, Workload};
use cove_supervisor::{ExitReason, run};
use cove_sys::spawn::spawn_session;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde::Deserialize;

/// What the program is told.
#[derive(Debug, Deserialize)]
struct Job {
    config: Config,
    /// For /bin/sh.
    script: String,
    /// `create` fails.
    #[serde(default)]
    fail_create: bool,
    /// `start` fails.
    #[serde(default)]
    fail_start: bool,
    /// `adopt` fails.
    #[serde(default)]
    fail_adopt: bool,
}

/// A shell that waits for a line in the FIFO `go` before it runs the script.
struct Shell<'a> {
    job: &'a Job,
    go: Option<File>,
    init: Option<Pid>,
}

fn main() -> ExitCode {
    let Ok(mut inherited) = Inherited::take() else {
        return ExitCode::from(64);
    };
    let job: Job = match serde_json::from_slice(&inherited.config) {
        Ok(job) => job,
        Err(error) => {
            inherited
                .ready
                .failed(&Failure::new(Step::Prepare, error.to_string()));
            return ExitCode::from(64);
        }
    };
    let mut shell = Shell {
        job: &job,
        go: None,
        init: None,
    };
    match run(&job.config, &mut shell, inherited.ready) {
        ExitReason::Down(_) | ExitReason::Removed(_) => ExitCode::SUCCESS,
        ExitReason::Failed(_) => ExitCode::from(125),
    }
}

fn fail(step: Step, error: impl std::fmt::Display) -> Failure {
    Failure::new(step, error.to_string())
}

impl Shell<'_> {
    fn note(&self, what: &str) {
        self.note_in("calls", what);
    }

    fn note_in(&self, file: &str, what: &str) {
        let path = self.job.config.runtime_dir.join(file);
        if let Ok(mut file) = File::options().create(true).append(true).open(path) {
            writeln!(file, "{what}").unwrap_or(());
        }
    }

    /// Starts the shell in a session of its own, without the signal mask of
    /// this process. The last of `stdio` stands for what is missing to three.
    fn spawn(&self, stdio: &[OwnedFd]) -> io::Result<i32> {
        let directory = self.job.config.runtime_dir.as_os_str();
        let script = format!("cd \"$1\"; read go < go || exit 99\n{}", self.job.script);
        let argv = [b"sh", b"-c", script.as_bytes(), b"sh", directory.as_bytes()];
        let argv: Result<Vec<_>, _> = argv.into_iter().map(CString::new).collect();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let env = CString::new([b"PATH=", path.as_bytes()].concat())?;
        let last = stdio.last().ok_or(io::ErrorKind::InvalidInput)?;
        let stdio = [0, 1, 2].map(|fd| stdio.get(fd).unwrap_or(last).as_fd());
        let shell = File::open("/bin/sh")?;
        spawn_session(shell.as_fd(), &argv?, &[env], &stdio)
    }

    fn go(&self) -> Result<File, Failure> {
        let path = self.job.config.runtime_dir.join("go");
        match rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(fail(Step::Start, error)),
        }
        File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| fail(Step::Start, error))
    }
}

fn terminal() -> Result<(OwnedFd, OwnedFd), rustix::io::Errno> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    Ok((master, slave))
}

impl Workload for Shell<'_> {
    fn create(&mut self, stdio: ContainerStdio) -> Result<Created, Failure> {
        self.note("create");
        if self.job.fail_create {
            return Err(fail(Step::Create, "no such root"));
        }
        let (stdio, console) = match stdio {
            ContainerStdio::Pipes {
                stdin,
                stdout,
                stderr,
            } => (vec![stdin, stdout, stderr], None),
            ContainerStdio::Terminal { .. } => {
                let (master, slave) = terminal().map_err(|error| fail(Step::Create, error))?;
                (vec![slave], Some(master))
            }
        };
        let go = self.go()?;
        let pid = self
            .spawn(&stdio)
            .map_err(|error| fail(Step::Create, error))?;
        self.init = Pid::from_raw(pid);
        let Some(init) = self.init else {
            return Err(fail(Step::Create, "no pid"));
        };
        let pidfd =
            pidfd_open(init, PidfdFlags::empty()).map_err(|error| fail(Step::Create, error))?;
        self.go = Some(go);
        Ok(Created {
            pid,
            pidfd,
            console,
            warnings: vec!["created".to_owned()],
        })
    }

    fn adopt(&mut self, init: ProcessId) -> Result<(), Failure> {
        self.note("adopt");
        if self.job.fail_adopt {
            return Err(fail(Step::Adopt, "nothing is known of it"));
        }
        self.init = Pid::from_raw(init.pid);
        Ok(())
    }

    fn start(&mut self) -> Result<Vec<String>, Failure> {
        self.note("start");
        if self.job.fail_start {
            let mut failure = fail(Step::Start, "no such program");
            failure.kind = ErrorKind::CommandNotFound;
            return Err(failure);
        }
        let mut go = self
            .go
            .as_ref()
            .ok_or_else(|| fail(Step::Start, "not created"))?;
        go.write_all(b"go\n")
            .map_err(|error| fail(Step::Start, error))?;
        Ok(vec!["started".to_owned()])
    }

    fn signal(&mut self, signal: i32, all: bool) -> Result<(), Failure> {
        self.note(&format!("signal {signal} {all}"));
        let (Some(init), Some(signal)) = (self.init, Signal::from_named_raw(signal)) else {
            return Ok(());
        };
        let sent = if all {
            kill_process_group(init, signal)
        } else {
            kill_process(init, signal)
        };
        match sent {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(fail(Step::Signal, error)),
        }
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.signal(19, true)
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.signal(18, true)
    }

    fn oom_killed(&mut self) -> bool {
        rustix::fs::access(
            self.job.config.runtime_dir.join("oom"),
            rustix::fs::Access::EXISTS,
        )
        .is_ok()
    }

    fn cleanup(&mut self, exited: &Exited) -> Result<(), Failure> {
        self.note(&format!("cleanup {}", exited.exit_code));
        self.go = None;
        self.init = None;
        Ok(())
    }

    fn tell(&mut self, changes: Vec<InstanceChange>) {
        for change in changes {
            self.note_in("told", &format!("{change:?}"));
        }
    }

    fn remove(&mut self) -> Result<(), Failure> {
        self.note("remove");
        let marker = self.job.config.runtime_dir.join("removed");
        File::create(marker).map_err(|error| fail(Step::Remove, error))?;
        Ok(())
    }
}
