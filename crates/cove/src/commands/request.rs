//! From the flags of `run` and `create` to what the engine is asked for.
//!
//! Everything is read here, the files that flags name included; nothing is
//! made. The texts of refusals are Docker's.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use cove_engine::plan::{SWAPPINESS, SharedNamespace};
use cove_engine::request::{
    LimitsRequest, LogRequest, MountRequest, NamespaceRequest, NamespacesRequest, NetworkRequest,
    RestartRequest,
};
use cove_engine::{CreateRequest, PullPolicy};
use cove_model::go;
use cove_model::image::{Empty, RunConfig};
use cove_model::instance::Attach;

use super::security;
use super::tables::run::CreateFlags;
use super::tables::shared::{self, Process};
use crate::outcome::Failure;
use crate::output;
use crate::parse;

/// The request that the flags and arguments make. What Docker's client sees is
/// refused here, what its daemon sees is left to the engine.
pub(crate) fn resolve(
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
    let interactive = flags.process.interactive;
    let attach = attach(&flags.attach, interactive, detached);
    let request = CreateRequest {
        name: Some(flags.name.clone()).filter(|name| !name.is_empty()),
        image,
        pull: pull_policy(&flags.pull)?,
        platform,
        network: network(flags)?,
        namespaces: namespaces(flags)?,
        restart: restart(flags.restart.as_deref().unwrap_or_default())?,
        run: run_config(flags, command)?,
        hostname: flags.hostname.clone(),
        domainname: flags.domainname.clone(),
        terminal: flags.process.tty,
        open_stdin: interactive,
        stdin_once: interactive && attach.stdin,
        attach,
        mounts: mounts(flags)?,
        limits: create_limits(flags)?,
        ulimits: flags.ulimit.clone(),
        sysctls: pairs(&flags.sysctl),
        devices: each(&flags.device, parse::device::parse)?,
        device_rules: flags.device_cgroup_rule.clone(),
        privileged: flags.privileged,
        cap_add: flags.cap_add.clone(),
        cap_drop: flags.cap_drop.clone(),
        security_options: security::options(&flags.security_opt)?,
        read_only_root: flags.read_only,
        shm_size: flags.shm_size.unwrap_or(0),
        init: flags.init,
        runtime: flags.runtime.clone(),
        groups: flags.group_add.clone(),
        dns: flags.dns.clone(),
        dns_search: flags.dns_search.clone(),
        dns_options: [flags.dns_option.as_slice(), &flags.dns_opt].concat(),
        extra_hosts: flags.add_host.clone(),
        auto_remove: flags.rm,
        stop_timeout: flags.stop_timeout,
        log: LogRequest {
            driver: flags.log_driver.clone(),
            // As with Docker, what comes later of an option wins.
            options: pairs(&flags.log_opt),
        },
        oom_score_adj: flags.oom_score_adj.unwrap_or(0),
        annotations: pairs(&flags.annotation),
    };
    if request.restarts_what_is_removed() {
        return Err(Failure::plain(
            "conflicting options: cannot specify both --restart and --rm",
        ));
    }
    // Docker's client leaves this one to its daemon.
    let ipc = SharedNamespace::Ipc
        .mode(&flags.ipc)
        .ok_or_else(|| Failure::error(format!("Invalid IPC mode: {}", flags.ipc)))?;
    let namespaces = NamespacesRequest {
        ipc,
        ..request.namespaces
    };
    Ok(CreateRequest {
        namespaces,
        ..request
    })
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    texts.iter().map(|text| parse::env::pair(text)).collect()
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

/// Each value of a flag through a parser.
fn each<T>(texts: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Failure> {
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

fn run_config(flags: &CreateFlags, command: Vec<String>) -> Result<RunConfig, Failure> {
    let mut labels = Vec::new();
    for path in &flags.label_file {
        let content = output::read_file(path)?;
        labels.extend(parse::env::file(path, &content, None).map_err(Failure::plain)?);
    }
    labels.extend_from_slice(&flags.label);
    let ports = each(&flags.expose, cove_docker::port::expose)?;
    let stop_signal = Some(flags.stop_signal.as_str()).filter(|signal| !signal.is_empty());
    Ok(RunConfig {
        user: flags.user.clone(),
        exposed_ports: ports
            .into_iter()
            .flatten()
            .map(|port| (port, Empty {}))
            .collect(),
        env: environment(&flags.process)?,
        entrypoint: flags.entrypoint.clone().map(|word| vec![word]),
        cmd: Some(command),
        working_dir: flags.process.workdir.clone(),
        labels: pairs(&labels),
        stop_signal: stop_signal.map(str::to_owned),
        healthcheck: flags
            .no_healthcheck
            .then(|| serde_json::json!({"Test": ["NONE"]})),
        ..RunConfig::default()
    })
}

fn mounts(flags: &CreateFlags) -> Result<Vec<MountRequest>, Failure> {
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
    mounts.extend(each(&flags.mount, parse::mount::parse)?);
    let mut tmpfs: Vec<MountRequest> = Vec::new();
    for text in &flags.tmpfs {
        let mount = parse::volume::tmpfs(text);
        // Of several for one place the last counts, as to Docker's client.
        tmpfs.retain(|other| other.target != mount.target);
        tmpfs.push(mount);
    }
    mounts.append(&mut tmpfs);
    Ok(mounts)
}

fn network(flags: &CreateFlags) -> Result<NetworkRequest, Failure> {
    let names = [flags.network.as_slice(), &flags.net].concat();
    let [name] = names.as_slice() else {
        return match names.as_slice() {
            [] => Ok(NetworkRequest::Default),
            _ => Err(Failure::plain(
                "several networks are not supported: give --network once, as none, host or container:NAME",
            )),
        };
    };
    Ok(match name.as_str() {
        "" => return Err(Failure::plain("no name set for network")),
        "none" => NetworkRequest::None,
        "host" => NetworkRequest::Host,
        other => match other.strip_prefix("container:") {
            Some(name) => NetworkRequest::Instance(name.to_owned()),
            None => NetworkRequest::Named(other.to_owned()),
        },
    })
}

/// All but that of IPC, which is looked at when all else is right.
fn namespaces(flags: &CreateFlags) -> Result<NamespacesRequest, Failure> {
    // Containers run in the host's user namespace, which is what `host` asks for.
    if !matches!(flags.userns.as_str(), "" | "host") {
        return Err(Failure::plain("--userns: invalid USER mode"));
    }
    let mode = |kind: SharedNamespace, text: &str, flag: &str, word: &str| {
        kind.mode(text)
            .ok_or_else(|| Failure::plain(format!("--{flag}: invalid {word} mode")))
    };
    Ok(NamespacesRequest {
        ipc: NamespaceRequest::Default,
        pid: mode(SharedNamespace::Pid, &flags.pid, "pid", "PID")?,
        uts: mode(SharedNamespace::Uts, &flags.uts, "uts", "UTS")?,
        cgroup: mode(
            SharedNamespace::Cgroup,
            &flags.cgroupns,
            "cgroupns",
            "CGROUP",
        )?,
    })
}

/// The limits that the flags of `run` and `create` say.
fn create_limits(flags: &CreateFlags) -> Result<LimitsRequest, Failure> {
    if let Some(percent) = flags.memory_swappiness
        && percent != -1
        && !SWAPPINESS.contains(&percent)
    {
        return Err(Failure::plain(format!(
            "invalid value: {percent}. Valid memory swappiness range is 0-100"
        )));
    }
    Ok(LimitsRequest {
        memory_swappiness: flags.memory_swappiness,
        oom_kill_disable: flags.oom_kill_disable,
        cgroup_parent: flags.cgroup_parent.clone(),
        ..limits(&flags.limits, flags.memory_swap)
    })
}

/// The limits that the flags of `update` say, which are among those of `run`.
pub(crate) fn limits(flags: &shared::Limits, memory_swap: Option<i64>) -> LimitsRequest {
    let bytes = |size: Option<u64>| i64::try_from(size.unwrap_or(0)).unwrap_or(i64::MAX);
    LimitsRequest {
        memory: bytes(flags.memory),
        memory_reservation: bytes(flags.memory_reservation),
        memory_swap: memory_swap.unwrap_or(0),
        nano_cpus: flags.cpus.unwrap_or(0),
        cpu_shares: flags.cpu_shares.unwrap_or(0),
        cpu_quota: flags.cpu_quota.unwrap_or(0),
        cpu_period: flags.cpu_period.unwrap_or(0),
        cpuset_cpus: flags.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: flags.cpuset_mems.clone().unwrap_or_default(),
        pids: flags.pids_limit,
        blkio_weight: flags.blkio_weight.unwrap_or(0),
        ..LimitsRequest::default()
    }
}

/// The restart policy that a text says.
pub(crate) fn restart(text: &str) -> Result<RestartRequest, Failure> {
    parse::restart::parse(text).map_err(Failure::plain)
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
