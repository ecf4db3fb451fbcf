//! From the spec of an instance to an OCI runtime specification: pure, so that a
//! plan can be tested by looking at it. What must be read from the host or the
//! image comes in as [`Facts`].

mod mounts;
mod profile;
mod resources;
mod security;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cove_model::control::TerminalSize;
use cove_model::instance::{InstanceSpec, NamespaceMode, NetworkMode, Security};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    BoxBuilder, LinuxBuilder, LinuxDevice, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder,
    RootBuilder, Spec, SpecBuilder,
};

pub(crate) use resources::device_rule;
pub use resources::{DEFAULT_PIDS, resources, without_devices};
pub(crate) use security::capability;
pub use security::{Hidden, capabilities, default_seccomp, hidden};

use crate::error::{Error, Result};
use crate::users::Identity;

/// What Docker gives a program that the image gives no search path.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Of a terminal that is on no screen. None is without a size, on which programs divide.
const USUAL_SIZE: TerminalSize = TerminalSize { rows: 24, cols: 80 };

/// Where the engine's init appears inside an instance that asks for one.
pub const INIT_PATH: &str = "/sbin/docker-init";

/// What the plan needs to know of the host and the image.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Who the program runs as, looked up in the image's files.
    pub identity: &'a Identity,
    /// The size of its terminal, if it is known.
    pub size: Option<TerminalSize>,
    /// The instance's cgroup, below the mount point of the hierarchy.
    pub cgroup: PathBuf,
    /// The directory with `hosts`, `hostname` and `resolv.conf`.
    pub files: &'a Path,
    /// Where the `/dev/shm` of a joined IPC namespace lies while the instance is made.
    pub shm: PathBuf,
    /// Namespaces of others that are joined.
    pub joined: Joined,
    /// Device nodes of the host that the instance gets.
    pub devices: Vec<Device>,
    /// The number of processes when the user does not say; `None` where the
    /// host cannot limit them.
    pub default_pids: Option<i64>,
    /// The engine's own executable, for [`INIT_PATH`].
    pub executable: PathBuf,
}

/// A device node of the host.
#[derive(Debug, Clone)]
pub struct Device {
    /// Where the instance has it.
    pub node: LinuxDevice,
    /// What the instance may do with it: `r`, `w` and `m`.
    pub access: String,
}

/// Namespaces of others that are joined, held by descriptors of this process.
#[derive(Debug, Default)]
pub struct Joined {
    /// Process ids.
    pub pid: Option<OwnedFd>,
    /// IPC.
    pub ipc: Option<OwnedFd>,
    /// Network.
    pub network: Option<OwnedFd>,
}

/// The runtime specification of what an instance, or anything else, is to run.
///
/// # Errors
/// When the spec holds a value that the specification cannot express.
pub fn runtime_spec(spec: &InstanceSpec, facts: &Facts<'_>) -> Result<Spec> {
    let nodes = facts.devices.iter().map(|device| device.node.clone());
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(spec, &facts.joined)?)
        .cgroups_path(facts.cgroup.clone())
        .resources(resources(spec, &facts.devices, facts.default_pids)?)
        .devices(nodes.collect::<Vec<_>>())
        .sysctl(sysctls(spec));
    let hidden = hidden(&spec.security);
    linux = linux
        .masked_paths(hidden.masked)
        .readonly_paths(hidden.read_only);
    if let Some(propagation) = mounts::root_propagation(spec) {
        linux = linux.rootfs_propagation(propagation);
    }
    if let Some(filter) = security::seccomp(spec)? {
        linux = linux.seccomp(filter);
    }
    let root = RootBuilder::default()
        .path("rootfs")
        .readonly(spec.read_only_root)
        .build()
        .map_err(invalid)?;
    let builder = SpecBuilder::default()
        .version("1.3.0")
        .root(root)
        .mounts(mounts::mounts(spec, facts)?)
        .process(process(spec, facts.identity, facts.size)?)
        .linux(linux.build().map_err(invalid)?)
        .annotations(
            spec.annotations
                .clone()
                .into_iter()
                .collect::<HashMap<_, _>>(),
        );
    let mut plan = builder.build().map_err(invalid)?;
    // The builder would fill in a host name of its own.
    plan.set_hostname(None);
    if spec.namespaces.uts != NamespaceMode::Host {
        plan.set_hostname(Some(spec.hostname.clone()));
        plan.set_domainname((!spec.domainname.is_empty()).then(|| spec.domainname.clone()));
    }
    Ok(plan)
}

fn process(
    spec: &InstanceSpec,
    identity: &Identity,
    size: Option<TerminalSize>,
) -> Result<Process> {
    let mut argv = spec.argv.clone();
    if spec.init == Some(true) {
        argv.splice(0..0, [INIT_PATH.to_owned(), "--".to_owned()]);
    }
    let program = Program {
        argv,
        env: &spec.run.env,
        working_dir: &spec.run.working_dir,
        terminal: spec.terminal,
        size,
        security: &spec.security,
    };
    program.plan(spec, identity)?.build().map_err(invalid)
}

/// A program in an instance: its own, or another that is executed there.
pub(crate) struct Program<'a> {
    pub(crate) argv: Vec<String>,
    /// What image and user say, as `KEY=value`.
    pub(crate) env: &'a [String],
    /// Empty is the root.
    pub(crate) working_dir: &'a str,
    pub(crate) terminal: bool,
    /// The size of its terminal, if it is known.
    pub(crate) size: Option<TerminalSize>,
    pub(crate) security: &'a Security,
}

impl Program<'_> {
    /// What is the same for every program of the instance, run by `identity`.
    ///
    /// # Errors
    /// When the specification holds a value that cannot be expressed.
    pub(crate) fn plan(self, spec: &InstanceSpec, identity: &Identity) -> Result<ProcessBuilder> {
        let cwd = match self.working_dir {
            "" => "/",
            directory => directory,
        };
        let mut process = ProcessBuilder::default()
            .terminal(self.terminal)
            .user(identity.to_oci())
            .args(self.argv)
            .env(environment(spec, self.env, identity, self.terminal))
            .cwd(cwd)
            .capabilities(capabilities(self.security, identity.uid)?)
            .no_new_privileges(self.security.no_new_privileges)
            .rlimits(rlimits(spec)?);
        if self.terminal {
            let size = self.size.filter(|size| size.rows > 0 && size.cols > 0);
            let size = size.unwrap_or(USUAL_SIZE);
            let size = BoxBuilder::default()
                .height(u64::from(size.rows))
                .width(u64::from(size.cols));
            process = process.console_size(size.build().map_err(invalid)?);
        }
        if let Some(adjustment) = spec.oom_score_adj {
            process = process.oom_score_adj(adjustment);
        }
        // As with Docker, no privileges lift a profile that the user named,
        // neither the instance's nor those of one executed program.
        if let Some(profile) = security::apparmor(&spec.security, cove_sandbox::has_apparmor) {
            process = process.apparmor_profile(profile);
        }
        Ok(process)
    }
}

/// A hard limit that this host does not allow is an error: the user named it.
///
/// # Errors
/// Which one, and what is allowed.
pub(crate) fn check_ulimits(spec: &InstanceSpec) -> Result<()> {
    for limit in &spec.ulimits {
        let most = cove_sandbox::highest_limit(rlimit_type(&limit.name)?);
        if limit.hard > most {
            return Err(Error::Invalid(format!(
                "error setting rlimit {}: operation not permitted: the hard limit can be {most} at most",
                limit.name
            )));
        }
    }
    Ok(())
}

/// The limits of setrlimit(2).
fn rlimits(spec: &InstanceSpec) -> Result<Vec<PosixRlimit>> {
    spec.ulimits
        .iter()
        .map(|limit| {
            PosixRlimitBuilder::default()
                .typ(rlimit_type(&limit.name)?)
                .soft(limit.soft)
                .hard(limit.hard)
                .build()
                .map_err(invalid)
        })
        .collect()
}

/// The environment as Docker makes it: a search path, the host name, `TERM`
/// with a terminal, what image and user say, and a home.
fn environment(
    spec: &InstanceSpec,
    given: &[String],
    identity: &Identity,
    terminal: bool,
) -> Vec<String> {
    let last = |key: &str| {
        let of_key = |pair: &&String| pair.split_once('=').is_some_and(|(name, _)| name == key);
        given.iter().rev().find(of_key).cloned()
    };
    let mut environment = Vec::with_capacity(given.len() + 4);
    environment.push(last("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned()));
    if last("HOSTNAME").is_none() && !spec.hostname.is_empty() {
        environment.push(format!("HOSTNAME={}", spec.hostname));
    }
    if terminal && last("TERM").is_none() {
        environment.push("TERM=xterm".to_owned());
    }
    let others = given.iter().filter(|pair| pair.contains('='));
    environment.extend(others.filter(|pair| !pair.starts_with("PATH=")).cloned());
    if !environment.iter().any(|pair| pair.starts_with("HOME=")) {
        environment.push(format!("HOME={}", identity.home));
    }
    environment
}

fn namespaces(spec: &InstanceSpec, joined: &Joined) -> Result<Vec<LinuxNamespace>> {
    let mut list = Vec::new();
    let mut add = |typ, held: Option<&OwnedFd>| {
        let mut builder = LinuxNamespaceBuilder::default().typ(typ);
        if let Some(held) = held {
            builder = builder.path(format!("/proc/self/fd/{}", held.as_raw_fd()));
        }
        list.push(builder.build().map_err(invalid)?);
        Ok::<_, Error>(())
    };
    add(LinuxNamespaceType::Mount, None)?;
    if spec.namespaces.pid != NamespaceMode::Host {
        add(LinuxNamespaceType::Pid, joined.pid.as_ref())?;
    }
    if spec.namespaces.ipc != NamespaceMode::Host {
        add(LinuxNamespaceType::Ipc, joined.ipc.as_ref())?;
    }
    if spec.namespaces.uts != NamespaceMode::Host {
        add(LinuxNamespaceType::Uts, None)?;
    }
    if spec.network != NetworkMode::Host {
        add(LinuxNamespaceType::Network, joined.network.as_ref())?;
    }
    if spec.namespaces.cgroup != NamespaceMode::Host {
        add(LinuxNamespaceType::Cgroup, None)?;
    }
    Ok(list)
}

/// The user's kernel parameters on top of Docker's: with a network of its own
/// a container may use any port and send pings without privileges. One that is
/// joined is another's to set up, and may even be the host's.
fn sysctls(spec: &InstanceSpec) -> HashMap<String, String> {
    let mut sysctls = HashMap::new();
    match spec.network {
        NetworkMode::None => {
            for (key, value) in [
                ("net.ipv4.ip_unprivileged_port_start", "0"),
                ("net.ipv4.ping_group_range", "0 2147483647"),
            ] {
                sysctls.insert(key.to_owned(), value.to_owned());
            }
        }
        NetworkMode::Host | NetworkMode::Instance(_) => {}
    }
    sysctls.extend(spec.sysctls.clone());
    sysctls
}

pub(crate) fn rlimit_type(name: &str) -> Result<PosixRlimitType> {
    Ok(match name {
        "cpu" => PosixRlimitType::RlimitCpu,
        "fsize" => PosixRlimitType::RlimitFsize,
        "data" => PosixRlimitType::RlimitData,
        "stack" => PosixRlimitType::RlimitStack,
        "core" => PosixRlimitType::RlimitCore,
        "rss" => PosixRlimitType::RlimitRss,
        "nproc" => PosixRlimitType::RlimitNproc,
        "nofile" => PosixRlimitType::RlimitNofile,
        "memlock" => PosixRlimitType::RlimitMemlock,
        "as" => PosixRlimitType::RlimitAs,
        "locks" => PosixRlimitType::RlimitLocks,
        "sigpending" => PosixRlimitType::RlimitSigpending,
        "msgqueue" => PosixRlimitType::RlimitMsgqueue,
        "nice" => PosixRlimitType::RlimitNice,
        "rtprio" => PosixRlimitType::RlimitRtprio,
        "rttime" => PosixRlimitType::RlimitRttime,
        _ => return Err(Error::Invalid(format!("invalid ulimit type: {name}"))),
    })
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// A value that the specification's builders refuse.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn invalid(error: OciSpecError) -> Error {
    Error::Invalid(format!(
        "the container cannot be expressed as a runtime specification: {error}"
    ))
}

#[cfg(test)]
mod tests;
