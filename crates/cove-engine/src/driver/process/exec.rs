//! Running another program in a running instance, straight from the process
//! that asks: no supervisor and no daemon is between them.

use std::os::fd::AsFd;

use cove_model::control::TerminalSize;
use cove_model::instance::InstanceSpec;
use cove_sandbox::{ExecChild, ExecOptions};
use oci_spec::runtime::Process;

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
        options: ExecOptions<'_>,
    ) -> Result<ExecChild> {
        let container = self.load()?;
        process(spec, request, init)
            .and_then(|process| container.exec(&process, options).map_err(Error::Sandbox))
            .map_err(|source| Error::Exec {
                source: Box::new(source),
            })
    }
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
