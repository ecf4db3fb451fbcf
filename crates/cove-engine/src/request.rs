//! What a caller wants of a new instance: only what was said. Names are as
//! they were said, nothing is checked and nothing has a default: both are done
//! when it is planned ([`mod@crate::plan`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use cove_model::image::{Platform, RunConfig};
use cove_model::instance::{Attach, DeviceMapping, Ulimit};

use crate::images::PullPolicy;

/// What a caller wants. A value that is 0, empty or `None` was not said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateRequest {
    /// The name; a free one is made up without it.
    pub name: Option<String>,
    /// The image by name or id.
    pub image: String,
    /// When to ask the registry.
    pub pull: PullPolicy,
    /// The image's platform, when not the host's.
    pub platform: Option<Platform>,
    /// What is to stand in place of the image's configuration; an empty
    /// entrypoint takes the image's away.
    pub run: RunConfig,
    /// Host name.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Whether the program gets a terminal.
    pub terminal: bool,
    /// Whether standard input stays open for clients that attach.
    pub open_stdin: bool,
    /// Whether standard input closes when the first client leaves.
    pub stdin_once: bool,
    /// The streams the creating client attaches to.
    pub attach: Attach,
    /// Mounts besides those that every instance has.
    pub mounts: Vec<MountRequest>,
    /// The network.
    pub network: NetworkRequest,
    /// The namespaces that may be shared.
    pub namespaces: NamespacesRequest,
    /// Limits, enforced by cgroups.
    pub limits: LimitsRequest,
    /// Limits, enforced per process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the instance's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Device nodes of the host.
    pub devices: Vec<DeviceMapping>,
    /// Extra rules of the device filter, as `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// Whether all protection is off.
    pub privileged: bool,
    /// Capabilities added to the default set, with or without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set.
    pub cap_drop: Vec<String>,
    /// Docker's and Podman's security options, as `key=value`; that of the
    /// system-call filter carries the whole profile.
    pub security_options: Vec<String>,
    /// Whether the root is read-only.
    pub read_only_root: bool,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Whether a minimal init runs as process 1, reaps and forwards signals.
    pub init: Option<bool>,
    /// The runtime.
    pub runtime: String,
    /// Supplementary groups, by name or number.
    pub groups: Vec<String>,
    /// Name servers in place of the host's.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Additional lines of `/etc/hosts`, as `name:address`.
    pub extra_hosts: Vec<String>,
    /// What happens when the program ends.
    pub restart: RestartRequest,
    /// Whether the instance is removed when it ends.
    pub auto_remove: bool,
    /// Seconds between the stop signal and the kill; less than 0 is for ever.
    pub stop_timeout: Option<i64>,
    /// Where output is kept.
    pub log: LogRequest,
    /// The out-of-memory killer's preference.
    pub oom_score_adj: i64,
    /// Free annotations, passed on to the runtime specification.
    pub annotations: BTreeMap<String, String>,
}

impl CreateRequest {
    /// Whether it contradicts itself: what is removed when it ends is not restarted.
    #[must_use]
    pub fn restarts_what_is_removed(&self) -> bool {
        self.auto_remove && !self.restart.is_none()
    }
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountRequest {
    /// `bind` or `tmpfs`.
    pub kind: String,
    /// What is mounted.
    pub source: PathBuf,
    /// Where the instance has it.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// How mounts made later below a bind mount pass between both sides.
    pub propagation: Option<String>,
    /// Whether mounts below the source are left out.
    pub non_recursive: bool,
    /// Of a tmpfs, as `size=64m,mode=1777`.
    pub options: String,
    /// Whether it was said in short (`-v`, `--tmpfs`): then a source that is
    /// not there is made, and it is shown as it was said.
    pub short: bool,
}

/// The network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetworkRequest {
    /// That of an instance of which nobody says one.
    #[default]
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
    /// That of another instance, by name or id.
    Instance(String),
    /// One that was made, by name or id.
    Named(String),
}

/// Whose namespace is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NamespaceRequest {
    /// That of an instance of which nobody says one.
    #[default]
    Default,
    /// The instance's own.
    Private,
    /// The instance's own, which others may join.
    Shareable,
    /// The instance's own, without `/dev/shm`.
    Bare,
    /// The host's.
    Host,
    /// That of another instance, by name or id.
    Instance(String),
}

/// The namespaces that an instance may share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespacesRequest {
    /// Process ids.
    pub pid: NamespaceRequest,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceRequest,
    /// Host name.
    pub uts: NamespaceRequest,
    /// View of the cgroup tree.
    pub cgroup: NamespaceRequest,
}

/// Limits enforced by cgroups. In most, 0 is nothing said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitsRequest {
    /// Bytes of memory.
    pub memory: i64,
    /// Soft limit in bytes.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together; −1 is unlimited swap.
    pub memory_swap: i64,
    /// 0 to 100; −1 is nothing said.
    pub memory_swappiness: Option<i64>,
    /// Whether the out-of-memory killer is off for the instance.
    pub oom_kill_disable: bool,
    /// Processors in billionths.
    pub nano_cpus: i64,
    /// Relative weight of processor time.
    pub cpu_shares: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Length of the period in microseconds.
    pub cpu_period: i64,
    /// Processors that may be used, as `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes that may be used.
    pub cpuset_mems: String,
    /// Number of processes; 0 and less are unlimited.
    pub pids: Option<i64>,
    /// Relative weight of block input and output.
    pub blkio_weight: u64,
    /// Cgroup below which the instance's own is made.
    pub cgroup_parent: String,
}

/// A restart policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartRequest {
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub name: String,
    /// The most restarts in a row.
    pub max_retries: i32,
}

impl RestartRequest {
    /// Whether nothing is ever restarted, whatever else was said.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self.name.as_str(), "" | "no")
    }
}

/// Where output is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The driver.
    pub driver: String,
    /// Its options by name.
    pub options: BTreeMap<String, String>,
}
