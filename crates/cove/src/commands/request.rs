//! From the flags of `run` and `create` to what the engine is asked for.
//!
//! Everything is read here, the files that flags name included; nothing is
//! made. The texts of refusals are Docker's.

use std::env;
use std::path::Path;

use cove_engine::{CreateRequest, PullPolicy};
use cove_model::InstanceId;
use cove_model::image::{Empty, RunConfig};
use cove_model::instance::{
    Attach, InstanceSpec, Limits, LogConfig, Mount, NamespaceMode, Namespaces, NetworkMode,
    RestartPolicy,
};

use super::record;
use crate::flags::Matches;
use crate::format::go;
use crate::outcome::{Failure, Voice};
use crate::output;
use crate::parse;
use crate::settings::Session;

/// The request that the flags and arguments make.
pub(crate) fn resolve(session: &Session, matches: &Matches) -> Result<CreateRequest, Failure> {
    let (image, command) = match matches.args.split_first() {
        Some((image, command)) => (image.clone(), command.to_vec()),
        None => return Err(Failure::plain("invalid reference format")),
    };
    let platform = match matches.text("platform") {
        "" => None,
        text => {
            let platform = parse::platform::parse(text);
            Some(platform.map_err(|error| {
                Failure::error(format!("error parsing specified platform: {error}"))
            })?)
        }
    };
    Ok(CreateRequest {
        name: matches
            .get("name")
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        image,
        pull: pull_policy(matches.get("pull").unwrap_or("missing"))?,
        platform,
        spec: spec(session, matches)?,
        entrypoint: matches.get("entrypoint").map(|word| vec![word.to_owned()]),
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

fn spec(session: &Session, matches: &Matches) -> Result<InstanceSpec, Failure> {
    let terminal = matches.on("tty");
    let interactive = matches.on("interactive");
    let detached = matches.on("detach");
    let attach = attach(matches, interactive, detached);
    let mut refusals = Refusals::default();
    let network = refusals.of(network(session, matches));
    let namespaces = refusals.of(namespaces(session, matches));
    let domainname = matches.text("domainname");
    if !domainname.is_empty() && namespaces.uts == NamespaceMode::Host {
        refusals.add(Failure::error(
            "conflicting options: domainname and the UTS mode",
        ));
    }
    if matches!(network, NetworkMode::Instance(_)) {
        refusals.of(whose_network(matches));
    }
    let auto_remove = matches.on("rm");
    let restart = match restart(matches.text("restart")) {
        // Only its daemon knows the policies, as with Docker.
        Err(failure) if auto_remove && failure.voice == Voice::Engine => RestartPolicy::Always,
        other => refusals.of(other),
    };
    if auto_remove && restart != RestartPolicy::No {
        refusals.add(Failure::plain(
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    let pairs = |name: &str| {
        matches
            .all(name)
            .iter()
            .map(|text| parse::env::pair(text))
            .collect()
    };
    let spec = InstanceSpec {
        run: refusals.of(run_config(matches)),
        argv: Vec::new(),
        hostname: refusals.of(hostname(matches, &network, &namespaces)),
        domainname: domainname.to_owned(),
        terminal,
        open_stdin: interactive,
        stdin_once: interactive && attach.stdin,
        attach,
        mounts: refusals.of(mounts(matches)),
        network,
        namespaces,
        limits: refusals.of(limits(matches)),
        ulimits: refusals.of(each(matches, "ulimit", parse::ulimit::parse)),
        sysctls: pairs("sysctl"),
        devices: refusals.of(each(matches, "device", parse::device::parse)),
        device_rules: matches.all("device-cgroup-rule"),
        security: refusals.of(super::security::security(matches)),
        read_only_root: matches.on("read-only"),
        shm_size: refusals.of(size(matches, "shm-size")).unwrap_or(0),
        init: matches.get("init").map(|_| matches.on("init")),
        runtime: refusals.of(runtime(matches.text("runtime"))),
        groups: matches.all("group-add"),
        dns: matches.all("dns"),
        dns_search: matches.all("dns-search"),
        dns_options: [matches.all("dns-option"), matches.all("dns-opt")].concat(),
        extra_hosts: refusals.of(each(matches, "add-host", parse::host::add_host)),
        restart,
        auto_remove,
        stop_timeout: refusals.of(stop_timeout(matches)),
        log: refusals.of(log(matches)),
        oom_score_adj: refusals.of(oom_score_adj(matches)),
        annotations: pairs("annotation"),
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
    matches: &Matches,
    flag: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    matches
        .all(flag)
        .iter()
        .map(|text| parse(text).map_err(Failure::plain))
        .collect()
}

fn attach(matches: &Matches, interactive: bool, detached: bool) -> Attach {
    if detached {
        return Attach::default();
    }
    let named = matches.all("attach");
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
pub(crate) fn environment(matches: &Matches) -> Result<Vec<String>, Failure> {
    let lookup = |name: &str| env::var(name).ok();
    let mut pairs = Vec::new();
    for path in matches.all("env-file") {
        let content = output::read_file(&path)?;
        pairs.extend(parse::env::file(&path, &content, Some(&lookup)).map_err(Failure::plain)?);
    }
    pairs.extend(
        matches
            .all("env")
            .iter()
            .map(|text| parse::env::complete(text, &lookup)),
    );
    Ok(pairs)
}

fn run_config(matches: &Matches) -> Result<RunConfig, Failure> {
    let mut labels = Vec::new();
    for path in matches.all("label-file") {
        let content = output::read_file(&path)?;
        labels.extend(parse::env::file(&path, &content, None).map_err(Failure::plain)?);
    }
    labels.extend(matches.all("label"));
    let ports = each(matches, "expose", parse::port::expose)?;
    let stop_signal = matches
        .get("stop-signal")
        .filter(|signal| !signal.is_empty());
    if let Some(signal) = stop_signal {
        cove_engine::signals::parse(signal)?;
    }
    Ok(RunConfig {
        user: matches.text("user").to_owned(),
        exposed_ports: ports
            .into_iter()
            .flatten()
            .map(|port| (port, Empty {}))
            .collect(),
        env: environment(matches)?,
        working_dir: working_dir(matches.text("workdir")),
        labels: labels.iter().map(|text| parse::env::pair(text)).collect(),
        stop_signal: stop_signal.map(str::to_owned),
        healthcheck: matches
            .on("no-healthcheck")
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

fn mounts(matches: &Matches) -> Result<Vec<Mount>, Failure> {
    let cwd =
        env::current_dir().map_err(|error| Failure::plain(go::path_error("getwd", ".", &error)))?;
    let mut volumes: Vec<String> = Vec::new();
    // Said twice is said once, as to Docker's client.
    for text in matches.all("volume") {
        if !volumes.contains(&text) {
            volumes.push(text);
        }
    }
    let volume = |text: &String| parse::volume::parse(text, &cwd).map_err(Failure::plain);
    let mut mounts: Vec<_> = volumes.iter().map(volume).collect::<Result<_, _>>()?;
    for text in matches.all("mount") {
        // It is Docker's daemon that looks at what a mount needs.
        mounts.push(parse::mount::parse(&text).map_err(Failure::error)?);
    }
    let mut tmpfs: Vec<Mount> = Vec::new();
    for text in matches.all("tmpfs") {
        let mount = parse::volume::tmpfs(&text).map_err(Failure::error)?;
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

fn network(session: &Session, matches: &Matches) -> Result<NetworkMode, Failure> {
    let mut names = matches.all("network");
    names.extend(matches.all("net"));
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

fn namespaces(session: &Session, matches: &Matches) -> Result<Namespaces, Failure> {
    let mode = |text: &str, invalid: &str| match text {
        "" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        other => match joined(session, other) {
            Some(id) => Ok(NamespaceMode::Instance(id?)),
            None => Err(Failure::plain(invalid.to_owned())),
        },
    };
    let own_or_host = |flag: &str, kind: &str| {
        let invalid = || Err(Failure::plain(format!("--{flag}: invalid {kind} mode")));
        match matches.text(flag) {
            "" => Ok(NamespaceMode::Private),
            "host" => Ok(NamespaceMode::Host),
            "private" if flag == "cgroupns" => Ok(NamespaceMode::Private),
            _ => invalid(),
        }
    };
    // Containers run in the host's user namespace, which is what `host` asks for.
    if !matches!(matches.text("userns"), "" | "host") {
        return Err(Failure::plain("--userns: invalid USER mode"));
    }
    let ipc = match matches.text("ipc") {
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
        pid: mode(matches.text("pid"), "--pid: invalid PID mode")?,
        ipc,
        uts: own_or_host("uts", "UTS")?,
        cgroup: own_or_host("cgroupns", "CGROUP")?,
    })
}

/// What belongs to the container whose network is shared cannot be said of this one.
fn whose_network(matches: &Matches) -> Result<(), Failure> {
    for (flag, words) in [
        ("dns", "dns and the network mode"),
        ("add-host", "custom host-to-IP mapping and the network mode"),
        (
            "expose",
            "port exposing and the container type network mode",
        ),
    ] {
        if !matches.all(flag).is_empty() {
            return Err(Failure::error(format!("conflicting options: {words}")));
        }
    }
    Ok(())
}

fn hostname(
    matches: &Matches,
    network: &NetworkMode,
    namespaces: &Namespaces,
) -> Result<String, Failure> {
    let name = matches.text("hostname");
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

/// The size a flag says; 0 means as if it was not given, as with Docker.
fn size(matches: &Matches, flag: &str) -> Result<Option<u64>, Failure> {
    let Some(text) = matches.get(flag) else {
        return Ok(None);
    };
    let bytes = cove_model::size::parse(text).map_err(Failure::plain)?;
    Ok((bytes > 0).then_some(bytes))
}

/// The number a flag says, 0 as if it was not given.
fn number(matches: &Matches, flag: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = matches.get(flag) else {
        return Ok(None);
    };
    let value = go::parse_int(text).map_err(Failure::plain)?;
    Ok((value != 0).then_some(value))
}

fn positive(matches: &Matches, flag: &str) -> Result<Option<u64>, Failure> {
    number(matches, flag)?
        .map(|value| {
            u64::try_from(value)
                .map_err(|_| Failure::error(format!("--{flag}: {value} must not be negative")))
        })
        .transpose()
}

fn shares(matches: &Matches) -> Result<Option<u64>, Failure> {
    let value = number(matches, "cpu-shares")?;
    let unsigned = value.map(|value| {
        u64::try_from(value).map_err(|_| {
            Failure::error(format!(
                "invalid CPU shares ({value}): value must be a positive integer"
            ))
        })
    });
    unsigned.transpose()
}

/// The limits that flags of `run` and `update` say.
pub(crate) fn limits(matches: &Matches) -> Result<Limits, Failure> {
    let text = |flag: &str| {
        Some(matches.text(flag))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let swappiness = match matches.get("memory-swappiness").map(go::parse_int) {
        None | Some(Ok(-1)) => None,
        Some(value) => {
            let value = value.map_err(Failure::plain)?;
            let valid = u64::try_from(value).ok().filter(|value| *value <= 100);
            Some(valid.ok_or_else(|| {
                Failure::plain(format!(
                    "invalid value: {value}. Valid memory swappiness range is 0-100"
                ))
            })?)
        }
    };
    let blkio_weight = match matches
        .get("blkio-weight")
        .map(|text| go::parse_uint(text, 16))
    {
        None | Some(Ok(0)) => None,
        Some(weight) => {
            let weight = weight.map_err(Failure::plain)?;
            let valid = u16::try_from(weight)
                .ok()
                .filter(|weight| (10..=1000).contains(weight));
            Some(valid.ok_or_else(|| Failure::error("Range of blkio weight is from 10 to 1000"))?)
        }
    };
    let memory_swap = match matches.get("memory-swap") {
        None => None,
        Some(text) => {
            let swap = cove_model::size::parse_swap(text).map_err(Failure::plain)?;
            (swap != 0).then_some(swap)
        }
    };
    Ok(Limits {
        memory: size(matches, "memory")?,
        memory_reservation: size(matches, "memory-reservation")?,
        memory_swap,
        memory_swappiness: swappiness,
        oom_kill_disable: matches.on("oom-kill-disable"),
        nano_cpus: nano_cpus(matches)?,
        cpu_shares: shares(matches)?,
        cpu_quota: number(matches, "cpu-quota")?,
        cpu_period: positive(matches, "cpu-period")?,
        cpuset_cpus: text("cpuset-cpus"),
        cpuset_mems: text("cpuset-mems"),
        // Docker's 0 is "no limit", ours is −1; saying nothing is our default.
        pids: match matches.get("pids-limit").map(go::parse_int) {
            None => None,
            Some(limit) => Some(
                Some(limit.map_err(Failure::plain)?)
                    .filter(|n| *n > 0)
                    .unwrap_or(-1),
            ),
        },
        blkio_weight,
        cgroup_parent: text("cgroup-parent"),
    })
}

fn nano_cpus(matches: &Matches) -> Result<Option<u64>, Failure> {
    let Some(text) = matches.get("cpus") else {
        return Ok(None);
    };
    let nano = parse::cpus::parse(text).map_err(Failure::plain)?;
    // Fewer than none are too few, which the engine says.
    let nano = u64::try_from(nano).unwrap_or(1);
    Ok((nano > 0).then_some(nano))
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

fn stop_timeout(matches: &Matches) -> Result<Option<i64>, Failure> {
    let seconds = matches.get("stop-timeout").map(go::parse_int);
    seconds.transpose().map_err(Failure::plain)
}

fn oom_score_adj(matches: &Matches) -> Result<Option<i32>, Failure> {
    let Some(value) = number(matches, "oom-score-adj")? else {
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

fn log(matches: &Matches) -> Result<LogConfig, Failure> {
    // As with Docker, what comes later of an option wins.
    let options = matches.all("log-opt");
    Ok(LogConfig {
        driver: cove_engine::logging::driver(matches.text("log-driver"))?,
        options: options.iter().map(|text| parse::env::pair(text)).collect(),
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
