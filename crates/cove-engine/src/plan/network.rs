//! The network, the namespaces that may be shared, and the names that go with
//! them.

use cove_model::instance::{InstanceSpec, NamespaceMode, Namespaces, NetworkMode, Record};

use crate::error::{Error, Result, invalid};
use crate::host::HostFacts;
use crate::request::{CreateRequest, NamespaceRequest, NetworkRequest};

/// The kinds of namespaces that an instance may share, each with modes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedNamespace {
    /// Process ids.
    Pid,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// View of the cgroup tree.
    Cgroup,
}

impl SharedNamespace {
    /// The mode that a text names as Docker writes them; `None`: this kind has no such mode.
    #[must_use]
    pub fn mode(self, text: &str) -> Option<NamespaceRequest> {
        let mode = match text {
            "" => NamespaceRequest::Default,
            "private" => NamespaceRequest::Private,
            "shareable" => NamespaceRequest::Shareable,
            "none" => NamespaceRequest::Bare,
            "host" => NamespaceRequest::Host,
            other => NamespaceRequest::Instance(other.strip_prefix("container:")?.to_owned()),
        };
        self.has(&mode).then_some(mode)
    }

    const fn has(self, mode: &NamespaceRequest) -> bool {
        match mode {
            NamespaceRequest::Default | NamespaceRequest::Host => true,
            NamespaceRequest::Private => matches!(self, Self::Ipc | Self::Cgroup),
            NamespaceRequest::Shareable | NamespaceRequest::Bare => matches!(self, Self::Ipc),
            NamespaceRequest::Instance(_) => matches!(self, Self::Pid | Self::Ipc),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Ipc => "IPC",
            Self::Uts => "UTS",
            Self::Cgroup => "cgroup namespace",
        }
    }
}

/// The other instances that a request names.
#[derive(Debug, Default)]
pub struct Others {
    /// Whose network is shared.
    pub network: Option<Record>,
    /// Whose process ids are shared.
    pub pid: Option<Record>,
    /// Whose IPC is shared.
    pub ipc: Option<Record>,
}

/// What contradicts itself, whoever the other instances are.
pub(super) fn check(request: &CreateRequest) -> Result<()> {
    match &request.network {
        NetworkRequest::Named(name) if matches!(name.as_str(), "bridge" | "default") => {
            return Err(Error::Unsupported(
                "the bridge network is not supported in this release: use --network none, host or container:NAME".to_owned(),
            ));
        }
        NetworkRequest::Named(name) => {
            return Err(Error::NotFound(format!("network {name} not found")));
        }
        NetworkRequest::Default
        | NetworkRequest::None
        | NetworkRequest::Host
        | NetworkRequest::Instance(_) => {}
    }
    let modes = &request.namespaces;
    for (kind, mode) in [
        (SharedNamespace::Pid, &modes.pid),
        (SharedNamespace::Ipc, &modes.ipc),
        (SharedNamespace::Uts, &modes.uts),
        (SharedNamespace::Cgroup, &modes.cgroup),
    ] {
        if !kind.has(mode) {
            return invalid(format!("Invalid {} mode", kind.name()));
        }
    }
    let hosts_name = modes.uts == NamespaceRequest::Host;
    let conflict = |words: &str| invalid(format!("conflicting options: {words}"));
    if !request.domainname.is_empty() && hosts_name {
        return conflict("domainname and the UTS mode");
    }
    let joined = matches!(request.network, NetworkRequest::Instance(_));
    // What belongs to the instance whose network is shared cannot be said of this one.
    for (said, words) in [
        (!request.dns.is_empty(), "dns and the network mode"),
        (
            !request.extra_hosts.is_empty(),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            !request.run.exposed_ports.is_empty(),
            "port exposing and the container type network mode",
        ),
    ] {
        if joined && said {
            return conflict(words);
        }
    }
    if !request.hostname.is_empty() && hosts_name {
        return conflict("hostname and the UTS mode");
    }
    if !request.hostname.is_empty() && joined {
        return conflict("hostname and the network mode");
    }
    Ok(())
}

/// The network.
pub(super) fn network(request: &NetworkRequest, others: &Others) -> NetworkMode {
    match request {
        NetworkRequest::Default | NetworkRequest::None | NetworkRequest::Named(_) => {
            NetworkMode::None
        }
        NetworkRequest::Host => NetworkMode::Host,
        NetworkRequest::Instance(_) => others.network.as_ref().map_or(NetworkMode::None, |other| {
            NetworkMode::Instance(other.id.clone())
        }),
    }
}

/// The namespaces.
pub(super) fn namespaces(request: &CreateRequest, others: &Others) -> Result<Namespaces> {
    if let Some(other) = &others.ipc {
        joinable_ipc(other)?;
    }
    let mode = |request: &NamespaceRequest, other: &Option<Record>| match request {
        NamespaceRequest::Default | NamespaceRequest::Private => NamespaceMode::Private,
        NamespaceRequest::Shareable => NamespaceMode::Shareable,
        NamespaceRequest::Bare => NamespaceMode::Bare,
        NamespaceRequest::Host => NamespaceMode::Host,
        NamespaceRequest::Instance(_) => other.as_ref().map_or(NamespaceMode::Private, |other| {
            NamespaceMode::Instance(other.id.clone())
        }),
    };
    let modes = &request.namespaces;
    Ok(Namespaces {
        pid: mode(&modes.pid, &others.pid),
        ipc: mode(&modes.ipc, &others.ipc),
        uts: mode(&modes.uts, &None),
        cgroup: mode(&modes.cgroup, &None),
    })
}

/// Only what says so lets others into its IPC namespace, in Docker's words.
fn joinable_ipc(other: &Record) -> Result<()> {
    match other.spec.namespaces.ipc {
        NamespaceMode::Private | NamespaceMode::Bare => Err(Error::Conflict(format!(
            "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            other.id
        ))),
        NamespaceMode::Shareable | NamespaceMode::Host | NamespaceMode::Instance(_) => Ok(()),
    }
}

/// The names that an instance answers to: its own, the host's, or those of
/// whose network it shares.
pub(super) fn names(spec: &mut InstanceSpec, others: &Others, id: &str, host: &HostFacts) {
    let own = spec.namespaces.uts == NamespaceMode::Private;
    if let (Some(other), true) = (&others.network, own) {
        spec.hostname.clone_from(&other.spec.hostname);
        spec.domainname.clone_from(&other.spec.domainname);
        if spec.hostname.is_empty() {
            spec.hostname.clone_from(&host.name);
        }
    }
    if spec.hostname.is_empty() {
        // On the host's network, and in its UTS namespace, it is the host's name.
        if !own || spec.network == NetworkMode::Host {
            spec.hostname.clone_from(&host.name);
        } else {
            id.clone_into(&mut spec.hostname);
        }
    }
}
