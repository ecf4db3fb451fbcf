//! Running another program in a running instance, straight from the command
//! that asks: no supervisor and no daemon is between them.

use std::os::fd::AsFd;

use cove_model::control::TerminalSize;
use cove_model::instance::{InstanceSpec, Record};
use cove_model::status::State;
use cove_sandbox::{ExecChild, ExecOptions};
use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};

use super::Instances;
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

impl Instances<'_> {
    /// Starts a program in a running instance. The calling process must be
    /// single-threaded and sealed (`cove_sys::seal`).
    ///
    /// # Errors
    /// When the instance does not run or is paused, the user is unknown, or
    /// the program cannot be executed.
    pub fn exec(
        &self,
        record: &Record,
        request: &ExecRequest,
        options: ExecOptions<'_>,
    ) -> Result<ExecChild> {
        let status = self.status(record)?;
        match status.state {
            State::Running => {}
            State::Paused => {
                return Err(Error::Conflict(format!(
                    "Container {} is paused, unpause the container before exec",
                    record.name
                )));
            }
            State::Restarting => {
                return Err(Error::Conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    record.id
                )));
            }
            State::Created | State::Exited | State::Dead => {
                return Err(Error::Conflict(format!(
                    "Container {} is not running",
                    record.id
                )));
            }
        }
        let container =
            cove_sandbox::Container::load(&self.engine.roots.sandbox(), record.id.as_str())
                .map_err(Error::Sandbox)?;
        let init = status.init.map_or(0, |init| init.pid);
        self.exec_process(record, request, init)
            .and_then(|process| container.exec(&process, options).map_err(Error::Sandbox))
            .map_err(|source| Error::Exec {
                source: Box::new(source),
            })
    }

    fn exec_process(&self, record: &Record, request: &ExecRequest, pid: i32) -> Result<Process> {
        let spec = &record.spec;
        // The instance's root as it sees it, through its first process.
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| Error::File {
            action: "open",
            path: path.into(),
            source: errno.into(),
        })?;
        let user = request.user.as_deref().unwrap_or(&spec.run.user);
        let identity = Accounts::read(root.as_fd())?.identify(user, &spec.groups)?;
        plan(spec, request, &identity)
    }
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
