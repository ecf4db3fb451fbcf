//! From the flags of `run` and `create` to what the engine is asked for.
//!
//! Everything is read here, the files that flags name included; nothing is
//! made. The texts of refusals are Docker's.

use std::env;
use std::path::Path;

use cove_engine::{CreateRequest, PullPolicy};
use cove_model::InstanceId;
use cove_model::go;
use cove_model::image::{Empty, RunConfig};
use cove_model::instance::{
    Attach, InstanceSpec, Limits, LogConfig, Mount, NamespaceMode, Namespaces, NetworkMode,
    RestartPolicy,
};

use super::record;
use super::tables::run::CreateFlags;
use super::tables::shared::{self, Process};
use crate::outcome::{Failure, Voice};
use crate::output;
use crate::parse;
use crate::settings::Session;

/// The request that the flags and arguments make.
pub(crate) fn resolve(
    session: &Session,
    flags: &CreateFlags,
    detached: bool,
    args: &[String],
) -> Result<CreateRequest, Failure> {
    let (image, command) = match args.split_first() {
        Some((image, command)) => (image.clone(), command.to_vec()),
        None => return Err(Failure::plain("invalid reference format")),
    };
    let platform = match flags.platform.as_str() {
        "" => None,
        text => {
            let platform = parse::platform::parse(text);
            Some(platform.map_err(|error| {
                Failure::error(format!("error parsing specified platform: {error}"))
            })?)
        }
    };
    Ok(CreateRequest {
        name: Some(flags.name.clone()).filter(|name| !name.is_empty()),
        image,
        pull: pull_policy(&flags.pull)?,
        platform,
        spec: spec(session, flags, detached)?,
        entrypoint: flags.entrypoint.clone().map(|word| vec![word]),
        command,
    })
}

fn pull_policy(text: &str) -> Result<PullPolicy, Failure> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err(Failure::plain(format!(
            "invalid pull option: '{text}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

fn spec(session: &Session, flags: &CreateFlags, detached: bool) -> Result<InstanceSpec, Failure> {
    let interactive = flags.process.interactive;
    let attach = attach(&flags.attach, interactive, detached);
    let mut refusals = Refusals::default();
    let network = refusals.of(network(session, flags));
    let namespaces = refusals.of(namespaces(session, flags));
    if !flags.domainname.is_empty() && namespaces.uts == NamespaceMode::Host {
        refusals.add(Failure::error(
            "conflicting options: domainname and the UTS mode",
        ));
    }
    if matches!(network, NetworkMode::Instance(_)) {
        refusals.of(whose_network(flags));
    }
    let auto_remove = flags.rm;
    let restart = match restart(flags.restart.as_deref().unwrap_or_default()) {
        // Only its daemon knows the policies, as with Docker.
        Err(failure) if auto_remove && failure.voice == Voice::Engine => RestartPolicy::Always,
        other => refusals.of(other),
    };
    if auto_remove && restart != RestartPolicy::No {
        refusals.add(Failure::plain(
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    let pairs = |texts: &[String]| texts.iter().map(|text| parse::env::pair(text)).collect();
    let spec = InstanceSpec {
        run: refusals.of(run_config(flags)),
        argv: Vec::new(),
        hostname: refusals.of(hostname(&flags.hostname, &network, &namespaces)),
        domainname: flags.domainname.clone(),
        terminal: flags.process.tty,
        open_stdin: interactive,
        stdin_once: interactive && attach.stdin,
        attach,
        mounts: refusals.of(mounts(flags)),
        network,
        namespaces,
        limits: refusals.of(create_limits(flags)),
        ulimits: flags.ulimit.clone(),
        sysctls: pairs(&flags.sysctl),
        devices: refusals.of(each(&flags.device, parse::device::parse)),
        device_rules: flags.device_cgroup_rule.clone(),
        security: refusals.of(super::security::security(flags)),
        read_only_root: flags.read_only,
        shm_size: flags.shm_size.unwrap_or(0),
        init: flags.init,
        runtime: refusals.of(runtime(&flags.runtime)),
        groups: flags.group_add.clone(),
        dns: flags.dns.clone(),
        dns_search: flags.dns_search.clone(),
        dns_options: [flags.dns_option.as_slice(), &flags.dns_opt].concat(),
        extra_hosts: flags.add_host.clone(),
        restart,
        auto_remove,
        stop_timeout: flags.stop_timeout,
        log: refusals.of(log(flags)),
        oom_score_adj: refusals.of(oom_score_adj(flags.oom_score_adj)),
        annotations: pairs(&flags.annotation),
    };
    refusals.over(spec)
}

/// What was refused so far. With Docker the client looks at all flags before
/// its daemon sees any, so its word comes first, wherever the flag stands.
#[derive(Debug, Default)]
struct Refusals {
    first: Option<Failure>,
}

impl Refusals {
    /// The value, or one in its place that nobody will see.
    fn of<T: Default>(&mut self, result: Result<T, Failure>) -> T {
        result.unwrap_or_else(|failure| {
            self.add(failure);
            T::default()
        })
    }

    fn add(&mut self, failure: Failure) {
        let engine = |failure: &Failure| failure.voice == Voice::Engine;
        if self
            .first
            .as_ref()
            .is_none_or(|first| engine(first) && !engine(&failure))
        {
            self.first = Some(failure);
        }
    }

    /// The value, when nothing was refused.
    fn over<T>(self, value: T) -> Result<T, Failure> {
        self.first.map_or(Ok(value), Err)
    }
}

/// The runtime by the names of those whose place ours takes.
fn runtime(name: &str) -> Result<String, Failure> {
    match name {
        "" | "cove" | "crun" | "runc" | "io.containerd.runc.v2" => Ok(name.to_owned()),
        other => Err(Failure::error(format!("Unknown runtime specified {other}"))),
    }
}

/// Each value of a flag through a parser.
pub(super) fn each<T>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    texts
        .iter()
        .map(|text| parse(text).map_err(Failure::plain))
        .collect()
}

fn attach(named: &[String], interactive: bool, detached: bool) -> Attach {
    if detached {
        return Attach::default();
    }
    let has = |stream: &str| named.iter().any(|name| name.eq_ignore_ascii_case(stream));
    let all = named.is_empty();
    Attach {
        stdin: interactive || has("stdin"),
        stdout: all || has("stdout"),
        stderr: all || has("stderr"),
    }
}

/// The variables of `--env-file` and `--env`, in the order that lets the
/// latter win.
pub(crate) fn environment(flags: &Process) -> Result<Vec<String>, Failure> {
    let lookup = |name: &str| env::var(name).ok();
    let mut pairs = Vec::new();
    for path in &flags.env_file {
        let content = output::read_file(path)?;
        pairs.extend(parse::env::file(path, &content, Some(&lookup)).map_err(Failure::plain)?);
    }
    let given = flags.env.iter();
    pairs.extend(given.map(|text| parse::env::complete(text, &lookup)));
    Ok(pairs)
}

fn run_config(flags: &CreateFlags) -> Result<RunConfig, Failure> {
    let mut labels = Vec::new();
    for path in &flags.label_file {
        let content = output::read_file(path)?;
        labels.extend(parse::env::file(path, &content, None).map_err(Failure::plain)?);
    }
    labels.extend_from_slice(&flags.label);
    let ports = each(&flags.expose, cove_docker::port::expose)?;
    let stop_signal = Some(flags.stop_signal.as_str()).filter(|signal| !signal.is_empty());
    if let Some(signal) = stop_signal {
        cove_engine::signals::parse(signal)?;
    }
    Ok(RunConfig {
        user: flags.user.clone(),
        exposed_ports: ports
            .into_iter()
            .flatten()
            .map(|port| (port, Empty {}))
            .collect(),
        env: environment(&flags.process)?,
        working_dir: working_dir(&flags.process.workdir),
        labels: labels.iter().map(|text| parse::env::pair(text)).collect(),
        stop_signal: stop_signal.map(str::to_owned),
        healthcheck: flags
            .no_healthcheck
            .then(|| serde_json::json!({"Test": ["NONE"]})),
        ..RunConfig::default()
    })
}

/// An absolute directory without `..`; what is not absolute is refused later.
fn working_dir(text: &str) -> String {
    if text.starts_with('/') {
        parse::volume::clean(Path::new(text)).display().to_string()
    } else {
        text.to_owned()
    }
}

fn mounts(flags: &CreateFlags) -> Result<Vec<Mount>, Failure> {
    let cwd =
        env::current_dir().map_err(|error| Failure::plain(go::path_error("getwd", ".", &error)))?;
    let mut volumes: Vec<&String> = Vec::new();
    // Said twice is said once, as to Docker's client.
    for text in &flags.volume {
        if !volumes.contains(&text) {
            volumes.push(text);
        }
    }
    let volume = |text: &&String| parse::volume::parse(text, &cwd).map_err(Failure::plain);
    let mut mounts: Vec<_> = volumes.iter().map(volume).collect::<Result<_, _>>()?;
    for text in &flags.mount {
        // It is Docker's daemon that looks at what a mount needs.
        mounts.push(parse::mount::parse(text).map_err(Failure::error)?);
    }
    let mut tmpfs: Vec<Mount> = Vec::new();
    for text in &flags.tmpfs {
        let mount = parse::volume::tmpfs(text).map_err(Failure::error)?;
        // Of several for one place the last counts, as to Docker's client.
        tmpfs.retain(|other| other.target != mount.target);
        tmpfs.push(mount);
    }
    mounts.append(&mut tmpfs);
    Ok(mounts)
}

/// The container that `container:NAME` names.
fn joined(session: &Session, text: &str) -> Option<Result<InstanceId, Failure>> {
    let name = text.strip_prefix("container:")?;
    Some(record(session, name).map(|record| record.id))
}

fn network(session: &Session, flags: &CreateFlags) -> Result<NetworkMode, Failure> {
    let names = [flags.network.as_slice(), &flags.net].concat();
    let [name] = names.as_slice() else {
        return match names.as_slice() {
            [] => Ok(NetworkMode::None),
            _ => Err(Failure::plain(
                "several networks are not supported: give --network once, as none, host or container:NAME",
            )),
        };
    };
    match name.as_str() {
        "" => Err(Failure::plain("no name set for network")),
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        "bridge" | "default" => Err(Failure::plain(
            "the bridge network is not supported in this release: use --network none, host or container:NAME",
        )),
        other => match joined(session, other) {
            Some(id) => Ok(NetworkMode::Instance(id?)),
            None => Err(Failure::plain(format!("network {other} not found"))),
        },
    }
}

fn namespaces(session: &Session, flags: &CreateFlags) -> Result<Namespaces, Failure> {
    let mode = |text: &str, invalid: &str| match text {
        "" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        other => match joined(session, other) {
            Some(id) => Ok(NamespaceMode::Instance(id?)),
            None => Err(Failure::plain(invalid.to_owned())),
        },
    };
    let own_or_host = |text: &str, flag: &str, kind: &str| {
        let invalid = || Err(Failure::plain(format!("--{flag}: invalid {kind} mode")));
        match text {
            "" => Ok(NamespaceMode::Private),
            "host" => Ok(NamespaceMode::Host),
            "private" if flag == "cgroupns" => Ok(NamespaceMode::Private),
            _ => invalid(),
        }
    };
    // Containers run in the host's user namespace, which is what `host` asks for.
    if !matches!(flags.userns.as_str(), "" | "host") {
        return Err(Failure::plain("--userns: invalid USER mode"));
    }
    let ipc = match flags.ipc.as_str() {
        "private" => NamespaceMode::Private,
        "shareable" => NamespaceMode::Shareable,
        "none" => NamespaceMode::Bare,
        // Docker's client leaves this one to its daemon.
        text => mode(text, &format!("Invalid IPC mode: {text}")).map_err(|failure| Failure {
            voice: Voice::Engine,
            ..failure
        })?,
    };
    Ok(Namespaces {
        pid: mode(&flags.pid, "--pid: invalid PID mode")?,
        ipc,
        uts: own_or_host(&flags.uts, "uts", "UTS")?,
        cgroup: own_or_host(&flags.cgroupns, "cgroupns", "CGROUP")?,
    })
}

/// What belongs to the container whose network is shared cannot be said of this one.
fn whose_network(flags: &CreateFlags) -> Result<(), Failure> {
    for (given, words) in [
        (&flags.dns, "dns and the network mode"),
        (
            &flags.add_host,
            "custom host-to-IP mapping and the network mode",
        ),
        (
            &flags.expose,
            "port exposing and the container type network mode",
        ),
    ] {
        if !given.is_empty() {
            return Err(Failure::error(format!("conflicting options: {words}")));
        }
    }
    Ok(())
}

fn hostname(name: &str, network: &NetworkMode, namespaces: &Namespaces) -> Result<String, Failure> {
    if name.is_empty() {
        // On the host's network, and in its UTS namespace, it is the host's name.
        let host = matches!(network, NetworkMode::Host) || namespaces.uts == NamespaceMode::Host;
        return Ok(if host {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        } else {
            String::new()
        });
    }
    if namespaces.uts == NamespaceMode::Host {
        return Err(Failure::error(
            "conflicting options: hostname and the UTS mode",
        ));
    }
    if matches!(network, NetworkMode::Instance(_)) {
        return Err(Failure::error(
            "conflicting options: hostname and the network mode",
        ));
    }
    Ok(name.to_owned())
}

/// A number that is 0 means as if it was not given, as with Docker.
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// The limits that the flags of `run` and `create` say.
fn create_limits(flags: &CreateFlags) -> Result<Limits, Failure> {
    let memory_swappiness = match flags.memory_swappiness {
        None | Some(-1) => None,
        Some(value) => {
            let valid = u64::try_from(value).ok().filter(|value| *value <= 100);
            Some(valid.ok_or_else(|| {
                Failure::plain(format!(
                    "invalid value: {value}. Valid memory swappiness range is 0-100"
                ))
            })?)
        }
    };
    Ok(Limits {
        memory_swappiness,
        oom_kill_disable: flags.oom_kill_disable,
        cgroup_parent: Some(flags.cgroup_parent.clone()).filter(|parent| !parent.is_empty()),
        ..limits(&flags.limits, flags.memory_swap)?
    })
}

/// The limits that the flags of `update` say, which are among those of `run`.
pub(crate) fn limits(flags: &shared::Limits, memory_swap: Option<i64>) -> Result<Limits, Failure> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let blkio_weight = match given(flags.blkio_weight) {
        None => None,
        Some(weight) => {
            let valid = u16::try_from(weight)
                .ok()
                .filter(|weight| (10..=1000).contains(weight));
            Some(valid.ok_or_else(|| Failure::error("Range of blkio weight is from 10 to 1000"))?)
        }
    };
    let unsigned = |value: Option<i64>, refusal: fn(i64) -> String| {
        let value = given(value)
            .map(|value| u64::try_from(value).map_err(|_| Failure::error(refusal(value))));
        value.transpose()
    };
    Ok(Limits {
        memory: given(flags.memory),
        memory_reservation: given(flags.memory_reservation),
        memory_swap: given(memory_swap),
        // Fewer than none are too few, which the engine says.
        nano_cpus: given(flags.cpus.map(|nano| u64::try_from(nano).unwrap_or(1))),
        cpu_shares: unsigned(flags.cpu_shares, |value| {
            format!("invalid CPU shares ({value}): value must be a positive integer")
        })?,
        cpu_quota: given(flags.cpu_quota),
        cpu_period: unsigned(flags.cpu_period, |value| {
            format!("--cpu-period: {value} must not be negative")
        })?,
        cpuset_cpus: text(&flags.cpuset_cpus),
        cpuset_mems: text(&flags.cpuset_mems),
        // Docker's 0 is "no limit", ours is −1; saying nothing is our default.
        pids: flags
            .pids_limit
            .map(|limit| if limit > 0 { limit } else { -1 }),
        blkio_weight,
        ..Limits::default()
    })
}

/// The restart policy that a text says.
pub(crate) fn restart(text: &str) -> Result<RestartPolicy, Failure> {
    use cove_model::restart::RestartPolicyError as Error;
    text.parse().map_err(|error| match error {
        Error::Unknown(name) => Failure::error(format!("invalid restart policy '{name}'")),
        Error::Count(_) => {
            Failure::plain("invalid restart policy format: maximum retry count must be an integer")
        }
        Error::Negative(_) => Failure::error("maximum retry count cannot be negative"),
        Error::NoPolicy(_) => {
            Failure::plain("invalid restart policy format: no policy provided before colon")
        }
        Error::CountNotAllowed(text) => Failure::error(format!(
            "maximum retry count cannot be used with restart policy '{}'",
            text.split(':').next().unwrap_or_default()
        )),
    })
}

fn oom_score_adj(value: Option<i64>) -> Result<Option<i32>, Failure> {
    let Some(value) = given(value) else {
        return Ok(None);
    };
    match i32::try_from(value)
        .ok()
        .filter(|value| (-1000..=1000).contains(value))
    {
        Some(value) => Ok(Some(value)),
        None => Err(Failure::error(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        ))),
    }
}

fn log(flags: &CreateFlags) -> Result<LogConfig, Failure> {
    Ok(LogConfig {
        driver: cove_engine::logging::driver(&flags.log_driver)?,
        // As with Docker, what comes later of an option wins.
        options: flags
            .log_opt
            .iter()
            .map(|text| parse::env::pair(text))
            .collect(),
    })
}

/// Docker's check that a file for the id is not left from another container.
pub(crate) fn check_cidfile(path: &str) -> Result<(), Failure> {
    if Path::new(path).exists() {
        return Err(Failure::error(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
