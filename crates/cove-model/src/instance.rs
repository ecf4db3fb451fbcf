//! What an instance is: the spec that a user asked for, completed by the
//! image and the defaults, and the record of it that outlives commands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::RunConfig;
use crate::resource::Resource;
pub use crate::restart::RestartPolicy;

/// The id of an instance: 64 lowercase hexadecimal digits, as with Docker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

/// A text that is no instance id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid instance id \"{0}\": expected 64 hexadecimal digits")]
pub struct InvalidId(String);

impl InstanceId {
    /// The id made of 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes).hex())
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, which is what tables show.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Digest::from_hex(text).map_err(|_| InvalidId(text.to_owned()))?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl AsRef<str> for InstanceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an instance between commands. Written once when it is
/// created; only the name, the restart policy and the limits change later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The instance's id.
    pub id: InstanceId,
    /// The unique name.
    pub name: String,
    /// RFC 3339 time of creation, with nanoseconds.
    pub created: String,
    /// What runs it; older records do not say.
    #[serde(default)]
    pub driver: Driver,
    /// The image it was made from.
    pub image: ImageUse,
    /// What runs, and how.
    pub spec: InstanceSpec,
}

/// What turns the spec of an instance into something running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// Namespaces and cgroups.
    #[default]
    Process,
}

impl Resource for Record {
    type Id = InstanceId;

    const KIND: &'static str = "container";
    const DIRECTORY: &'static str = "containers";
    const NAMES: &'static str = "names";
    const VERSION: u32 = 1;

    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }

    fn is_transient(&self) -> bool {
        self.spec.auto_remove
    }
}

/// The image behind an instance, pinned by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    /// The name as the user wrote it.
    pub name: String,
    /// The image's id: the digest of its configuration.
    pub id: Digest,
    /// Uncompressed digests of the layers, base first.
    pub layers: Vec<Digest>,
}

/// Everything about an instance that a plan fixes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceSpec {
    /// The image's run configuration with the user's flags on top.
    pub run: RunConfig,
    /// The program and its arguments: entrypoint followed by command.
    pub argv: Vec<String>,
    /// Host name; with the host's UTS namespace, empty.
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
    /// Mounts besides the root and the ones every container has.
    pub mounts: Vec<Mount>,
    /// The network.
    pub network: NetworkMode,
    /// The namespaces that may be shared.
    pub namespaces: Namespaces,
    /// Limits, enforced by cgroups.
    pub limits: Limits,
    /// Limits, enforced per process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the instance's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Device nodes of the host.
    pub devices: Vec<DeviceMapping>,
    /// Extra rules of the device filter, as `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// Privileges.
    pub security: Security,
    /// Whether the root is read-only.
    pub read_only_root: bool,
    /// Size of `/dev/shm` in bytes; 0 means 64 MiB.
    pub shm_size: u64,
    /// Whether a minimal init runs as process 1, reaps and forwards signals.
    pub init: Option<bool>,
    /// The runtime by the name that the user called it; empty when nobody did.
    pub runtime: String,
    /// Supplementary groups, by name or number.
    pub groups: Vec<String>,
    /// Name servers; empty means the host's.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Additional lines of `/etc/hosts`, as `name:address`.
    pub extra_hosts: Vec<String>,
    /// What happens when the program ends.
    pub restart: RestartPolicy,
    /// Whether the instance is removed when it ends.
    pub auto_remove: bool,
    /// Seconds between the stop signal and the kill; `None` means 10, less than 0 for ever.
    pub stop_timeout: Option<i64>,
    /// Where output is kept.
    pub log: LogConfig,
    /// The out-of-memory killer's preference, −1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Free annotations, passed on to the runtime specification.
    pub annotations: BTreeMap<String, String>,
}

/// Streams that a client attaches to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path inside the instance.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        path: PathBuf,
        /// `rprivate` (the default), `private`, `rshared`, `shared`, `rslave`, `slave`.
        propagation: Option<String>,
        /// Whether mounts below the path are left out.
        non_recursive: bool,
        /// Whether a missing path is made as a directory (`-v`) or an error (`--mount`).
        create: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// Mount options as `size=64m,mode=1777`.
        options: String,
        /// Whether it was asked for as a mount (`--mount`), not as `--tmpfs`.
        #[serde(default)]
        mount: bool,
    },
}

/// The network of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// A namespace of its own with loopback only.
    #[default]
    None,
    /// The host's network.
    Host,
    /// The namespace of another instance.
    Instance(InstanceId),
}

/// Whose namespace is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceMode {
    /// The instance's own.
    #[default]
    Private,
    /// The instance's own, which others may join; of IPC only, as with Docker.
    Shareable,
    /// The instance's own, without `/dev/shm`; of IPC only, as with Docker.
    Bare,
    /// The host's.
    Host,
    /// That of another instance.
    Instance(InstanceId),
}

/// The namespaces that an instance may share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Process ids.
    pub pid: NamespaceMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceMode,
    /// Host name; sharing with an instance is refused, as with Docker.
    pub uts: NamespaceMode,
    /// View of the cgroup tree.
    pub cgroup: NamespaceMode,
}

/// Limits enforced by cgroups. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Soft limit in bytes.
    pub memory_reservation: Option<u64>,
    /// Bytes of memory and swap together; −1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Whether the out-of-memory killer is off for the instance.
    pub oom_kill_disable: bool,
    /// Processors in billionths.
    pub nano_cpus: Option<u64>,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds per period.
    pub cpu_quota: Option<i64>,
    /// Length of the period in microseconds.
    pub cpu_period: Option<u64>,
    /// Processors that may be used, as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used.
    pub cpuset_mems: Option<String>,
    /// Number of processes; −1 is unlimited, `None` is the default of 2048.
    pub pids: Option<i64>,
    /// Relative weight of block input and output, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Cgroup below which the instance's own is made.
    pub cgroup_parent: Option<String>,
}

impl Limits {
    /// Memory and swap together that apply: who limits only the memory may
    /// swap as much again, as with Docker.
    #[must_use]
    pub fn memory_and_swap(&self) -> Option<i64> {
        let doubled = |memory: u64| i64::try_from(memory.saturating_mul(2)).unwrap_or(i64::MAX);
        self.memory_swap.or(self.memory.map(doubled))
    }
}

/// A limit of setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lowercase, such as `nofile`.
    pub name: String,
    /// The soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// The hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// A device node of the host inside an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub host: PathBuf,
    /// Path in the instance.
    pub container: String,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// Privileges of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Whether all protection is off.
    pub privileged: bool,
    /// Capabilities added to the default set, as `CAP_…` or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set, as `CAP_…` or `ALL`.
    pub cap_drop: Vec<String>,
    /// The system-call filter.
    pub seccomp: SeccompProfile,
    /// Whether set-user-id programs gain nothing.
    pub no_new_privileges: bool,
    /// Whether `/proc` and `/sys` are shown without masks.
    pub unmasked: bool,
    /// Paths that are hidden besides the ones that every instance does not see.
    pub mask: Vec<String>,
    /// Paths, with `*` and `?`, that are neither hidden nor read-only.
    pub unmask: Vec<String>,
    /// AppArmor profile, where the host has AppArmor.
    pub apparmor: Option<String>,
    /// SELinux label parts, where the host has SELinux; there only `disable`.
    pub selinux: Vec<String>,
    /// The options as the user said them.
    pub options: Vec<String>,
}

/// Which system-call filter applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompProfile {
    /// Cove's default, Docker's list.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON format, whole.
    Custom(String),
}

/// Where output is kept, as the user said it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// The driver.
    pub driver: LogDriver,
    /// Its options by name.
    pub options: BTreeMap<String, String>,
}

/// How output is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Rotated files in the format of the Kubernetes container runtime interface.
    #[default]
    #[serde(alias = "file")]
    K8sFile,
    /// Files as Docker's driver of this name writes them.
    JsonFile,
    /// Rotated and compressed files whose format is nobody's business.
    Local,
    /// Not at all.
    None,
}

impl LogDriver {
    /// Its name on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::K8sFile => "k8s-file",
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_before_there_were_drivers_is_of_a_container() {
        let record = Record {
            id: InstanceId::from_random([7; 32]),
            name: "old".to_owned(),
            created: String::new(),
            driver: Driver::Process,
            image: ImageUse {
                name: "i".to_owned(),
                id: Digest::from_bytes([1; 32]),
                layers: Vec::new(),
            },
            spec: InstanceSpec::default(),
        };
        let mut old = serde_json::to_value(&record).unwrap();
        assert_eq!(old["driver"], "process");
        old.as_object_mut().unwrap().remove("driver");
        assert_eq!(serde_json::from_value::<Record>(old).unwrap(), record);
    }
}
