//! Running another program in a running instance, straight from the process
//! that asks: no supervisor and no daemon is between them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cove_model::control::TerminalSize;
use cove_model::instance::InstanceSpec;
use cove_sandbox::{ExecChild, ExecOptions, Status, Stdio};
use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::error::{Error, Result};
use crate::spec::Program;
use crate::users::{Accounts, Identity};

/// What runs.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// More environment, as `KEY=value`.
    pub env: Vec<String>,
    /// `user[:group]`; without it the instance's own.
    pub user: Option<String>,
    /// Working directory; without it the instance's own.
    pub working_dir: Option<String>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// The size of that terminal, if it is known.
    pub size: Option<TerminalSize>,
    /// Whether it has all privileges.
    pub privileged: bool,
}

/// What the program reads and writes.
#[derive(Debug, Default)]
pub struct ExecStreams<'a> {
    /// Its stdin, stdout and stderr; without them, and behind a terminal, nothing.
    pub stdio: Option<[OwnedFd; 3]>,
    /// Once it is readable the program is not waited for any longer than a start usually takes.
    pub interrupt: Option<BorrowedFd<'a>>,
}

impl<'a> ExecStreams<'a> {
    fn options(self) -> Result<ExecOptions<'a>> {
        let stdio = match self.stdio {
            Some(stdio) => stdio,
            None => [null()?, null()?, null()?],
        };
        Ok(ExecOptions {
            stdio: Stdio::Fds(stdio),
            interrupt: self.interrupt,
            as_init: true,
            ..ExecOptions::default()
        })
    }
}

fn null() -> Result<OwnedFd> {
    let (path, flags) = ("/dev/null", OFlags::RDWR | OFlags::CLOEXEC);
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::File {
        action: "open",
        path: path.into(),
        source: errno.into(),
    })
}

/// A program in an instance: a child of this process. As a descriptor it is
/// readable once it has ended.
#[derive(Debug)]
pub struct ExecSession {
    child: ExecChild,
}

impl ExecSession {
    /// What the user should know.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.child.warnings
    }

    /// The master of its terminal, the first time that it is asked for.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.child.console.take()
    }

    /// Sends it a signal. A program that ended meanwhile needs none.
    pub fn signal(&self, number: i32) {
        cove_sys::signalfd::send(&self.child.pidfd, number).unwrap_or(());
    }

    /// Waits for its end: 0–255, 128+n for signal n.
    ///
    /// # Errors
    /// When it is no child of this process any more.
    pub fn wait(&self) -> Result<i32> {
        exit_status(self.child.pidfd.as_fd())
    }
}

impl AsFd for ExecSession {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}

impl super::Process<'_> {
    /// Starts a program beside the first process `init` of a running instance.
    ///
    /// # Errors
    /// When the user is unknown, or the program cannot be executed.
    pub(crate) fn exec(
        &self,
        spec: &InstanceSpec,
        request: &ExecRequest,
        init: i32,
        streams: ExecStreams<'_>,
    ) -> Result<ExecSession> {
        let container = self.container().map_err(|error| self.ended(error))?;
        let options = streams.options()?;
        process(spec, request, init)
            .and_then(|process| {
                let child = container.exec(&process, options);
                child.map_err(|error| self.ended(error))
            })
            .map(|child| ExecSession { child })
            .map_err(|source| Error::Exec {
                source: Box::new(source),
            })
    }

    /// What the sandbox says of an instance that ended, or was paused, since its status was read.
    fn ended(&self, error: cove_sandbox::Error) -> Error {
        match error {
            cove_sandbox::Error::NotFound(_)
            | cove_sandbox::Error::WrongStatus {
                status: Status::Creating | Status::Created | Status::Stopped,
                ..
            } => Error::Conflict(format!("Container {} is not running", self.id)),
            cove_sandbox::Error::WrongStatus {
                status: Status::Paused,
                ..
            } => Error::Conflict(format!(
                "Container {} is paused, unpause the container before exec",
                self.id
            )),
            error => Error::Sandbox(error),
        }
    }
}

/// Waits for the end of a child: 0–255, 128+n for signal n.
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> Result<i32> {
    let ended = loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(None) | Err(Errno::INTR) => {}
            Ok(Some(ended)) => break ended,
            Err(errno) => {
                return Err(Error::Stream {
                    action: "wait for the program",
                    source: errno.into(),
                });
            }
        }
    };
    let signal = || ended.terminating_signal().map_or(0, |signal| 128 + signal);
    Ok(ended.exit_status().unwrap_or_else(signal))
}

/// The process of a request, its user looked up in the instance's files.
fn process(spec: &InstanceSpec, request: &ExecRequest, init: i32) -> Result<Process> {
    let root = super::root(init)?;
    let user = request.user.as_deref().unwrap_or(&spec.run.user);
    let identity = Accounts::read(root.as_fd())?.identify(user, &spec.groups)?;
    plan(spec, request, &identity)
}

/// The process of a request that `identity` runs in an instance.
fn plan(spec: &InstanceSpec, request: &ExecRequest, identity: &Identity) -> Result<Process> {
    let mut security = spec.security.clone();
    security.privileged |= request.privileged;
    let mut env = spec.run.env.clone();
    for pair in &request.env {
        let key = pair.split_once('=').map_or(pair.as_str(), |(key, _)| key);
        env.retain(|old| old.split_once('=').is_none_or(|(name, _)| name != key));
        env.push(pair.clone());
    }
    let working_dir = request.working_dir.as_ref();
    if working_dir.is_some_and(|directory| !directory.starts_with('/')) {
        return Err(Error::Invalid("Cwd must be an absolute path".to_owned()));
    }
    let program = Program {
        argv: request.argv.clone(),
        env: &env,
        working_dir: working_dir.unwrap_or(&spec.run.working_dir),
        terminal: request.terminal,
        size: request.size,
        security: &security,
    };
    program
        .plan(spec, identity)?
        .build()
        .map_err(|error| Error::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    //! What an executed process is given.

    use super::*;

    #[test]
    fn it_has_the_apparmor_profile_of_its_instance() {
        let identity = Identity {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            home: "/root".to_owned(),
        };
        for (instance, request) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut spec = InstanceSpec::default();
            spec.security.apparmor = Some("tight".to_owned());
            spec.security.privileged = instance;
            let request = ExecRequest {
                argv: vec!["true".to_owned()],
                privileged: request,
                ..ExecRequest::default()
            };
            let process = plan(&spec, &request, &identity).unwrap();
            let profile = process.apparmor_profile().as_deref();
            assert_eq!(profile, Some("tight"), "{instance} {request:?}");
        }
    }
}
