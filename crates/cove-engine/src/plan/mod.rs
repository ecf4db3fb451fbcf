//! From what a caller asks for to the plan of an instance: pure, and the only
//! home of rules and defaults, so that every face has the same.
//!
//! A plan is made in two steps. [`check`] needs nothing but the request and
//! [`HostFacts`]: what can be refused is refused before an image is pulled.
//! [`Draft::complete`] adds what other instances and the image say. Refusals
//! come in the order and the words of Docker's daemon; a face that knows a
//! rule better, because it knows what was typed, may say so before.

mod limits;
mod mounts;
mod network;
mod process;
mod program;
mod security;

use cove_model::image::RunConfig;
use cove_model::instance::{InstanceId, InstanceSpec, RestartPolicy};

pub use limits::{SWAPPINESS, limits};
pub use network::{Others, SharedNamespace};
pub use process::sysctl_is_own;

use crate::error::{Error, Result, invalid};
use crate::host::HostFacts;
use crate::logging;
use crate::request::{CreateRequest, RestartRequest};
use crate::signals;

/// A plan to which only the image and other instances are missing.
#[derive(Debug)]
pub struct Draft {
    spec: InstanceSpec,
    host: HostFacts,
}

/// What can be fixed before anything is asked for.
///
/// # Errors
/// What makes no sense, contradicts itself or cannot be had here.
pub fn check(request: &CreateRequest, host: HostFacts) -> Result<Draft> {
    network::check(request)?;
    if request.restarts_what_is_removed() {
        return invalid("can't create 'AutoRemove' container with restart policy");
    }
    let restart = restart(&request.restart)?;
    let stop_signal = request.run.stop_signal.as_deref();
    stop_signal.map(signals::parse).transpose()?;
    let mounts = mounts::mounts(&request.mounts)?;
    let limits = limits(&request.limits)?;
    process::check(request)?;
    let security = security::security(request, &host)?;
    runtime(&request.runtime)?;
    let log = logging::plan(&request.log)?;
    let oom_score_adj = process::oom_score_adj(request.oom_score_adj)?;
    mounts::check_targets(&mounts)?;
    let spec = InstanceSpec {
        hostname: request.hostname.clone(),
        domainname: request.domainname.clone(),
        terminal: request.terminal,
        open_stdin: request.open_stdin,
        stdin_once: request.stdin_once,
        attach: request.attach,
        mounts,
        limits,
        ulimits: request.ulimits.clone(),
        sysctls: request.sysctls.clone(),
        devices: request.devices.clone(),
        device_rules: request.device_rules.clone(),
        security,
        read_only_root: request.read_only_root,
        shm_size: request.shm_size,
        init: request.init,
        runtime: request.runtime.clone(),
        groups: request.groups.clone(),
        dns: request.dns.clone(),
        dns_search: request.dns_search.clone(),
        dns_options: request.dns_options.clone(),
        extra_hosts: request.extra_hosts.clone(),
        restart,
        auto_remove: request.auto_remove,
        stop_timeout: request.stop_timeout,
        log,
        oom_score_adj,
        annotations: request.annotations.clone(),
        ..InstanceSpec::default()
    };
    Ok(Draft { spec, host })
}

impl Draft {
    /// What is fixed so far.
    #[must_use]
    pub const fn spec(&self) -> &InstanceSpec {
        &self.spec
    }

    /// The whole plan of the instance `id`.
    ///
    /// # Errors
    /// When another instance cannot be joined, or nothing says what to run.
    pub fn complete(
        self,
        request: &CreateRequest,
        others: &Others,
        image: &RunConfig,
        id: &InstanceId,
    ) -> Result<InstanceSpec> {
        let mut spec = self.spec;
        spec.network = network::network(&request.network, others);
        spec.namespaces = network::namespaces(request, others)?;
        (spec.run, spec.argv) = program::program(&request.run, image)?;
        network::names(&mut spec, others, id.short(), &self.host);
        Ok(spec)
    }
}

/// The restart policy that a caller asks for.
///
/// # Errors
/// Docker's words for a name that it does not know, and a count that does not fit.
pub fn restart(request: &RestartRequest) -> Result<RestartPolicy> {
    RestartPolicy::new(&request.name, request.max_retries)
        .map_err(|error| Error::Invalid(error.to_string()))
}

/// The runtime goes by the names of those whose place ours takes.
fn runtime(name: &str) -> Result<()> {
    match name {
        "" | "cove" | "crun" | "runc" | "io.containerd.runc.v2" => Ok(()),
        other => invalid(format!("Unknown runtime specified {other}")),
    }
}

#[cfg(test)]
mod table;
