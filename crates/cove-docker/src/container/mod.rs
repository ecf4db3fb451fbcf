//! Docker's document of a container.

use std::path::PathBuf;

use cove_engine::{Engine, Instance};
use cove_model::instance::{
    InstanceSpec, Mount, MountSource, NamespaceMode, Record, RestartPolicy,
};
use cove_model::status::{State, Status};
use serde_json::{Map, Value, json};

use super::{Frame, config, nullable};
use crate::commands::list::network_name;
use crate::format::time::ZERO;

/// Bytes of `/dev/shm` where nobody says.
const SHM_SIZE: u64 = 64 << 20;

/// The document; with `sized` also what the files take.
pub(crate) fn document(engine: &Engine, instance: &Instance, sized: bool) -> Value {
    let (record, status) = (&instance.record, &instance.status);
    let spec = &record.spec;
    let directory = engine.instances().directory(record);
    let file = |name: &str| -> Value { directory.join(name).display().to_string().into() };
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("Id", record.id.as_str().into());
    put("Created", record.created.as_str().into());
    put(
        "Path",
        spec.argv.first().cloned().unwrap_or_default().into(),
    );
    put("Args", json!(spec.argv.get(1..).unwrap_or_default()));
    put("State", state(status));
    put("Image", record.image.id.to_string().into());
    put("ResolvConfPath", file("resolv.conf"));
    put("HostnamePath", file("hostname"));
    put("HostsPath", file("hosts"));
    put(
        "LogPath",
        engine
            .instances()
            .public_log_path(record)
            .map_or_else(String::new, |path| path.display().to_string())
            .into(),
    );
    put("Name", format!("/{}", record.name).into());
    put("RestartCount", status.restart_count.into());
    put("Driver", "overlay2".into());
    put("Platform", "linux".into());
    put("MountLabel", "".into());
    put("ProcessLabel", "".into());
    put(
        "AppArmorProfile",
        spec.security.apparmor.clone().unwrap_or_default().into(),
    );
    put("ExecIDs", Value::Null);
    put("HostConfig", host_config(spec, record));
    put("GraphDriver", graph(engine, record, status));
    if sized {
        let own = engine.instances().written(record);
        let image = engine
            .images()
            .get(&record.image.id.to_string())
            .map_or(0, |image| image.size);
        put("SizeRw", own.into());
        put("SizeRootFs", (own + image).into());
    }
    put(
        "Mounts",
        spec.mounts
            .iter()
            .filter_map(mount_point)
            .collect::<Vec<Value>>()
            .into(),
    );
    let frame = Frame {
        hostname: &spec.hostname,
        domainname: &spec.domainname,
        attach: spec.attach,
        tty: spec.terminal,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        image: &record.image.name,
        stop_timeout: spec.stop_timeout,
    };
    put("Config", config(&spec.run, &frame));
    put("NetworkSettings", network(record));
    Value::Object(fields)
}

fn state(status: &Status) -> Value {
    let time = |time: &Option<String>| time.clone().unwrap_or_else(|| ZERO.to_owned());
    json!({
        "Status": status.state.as_str(),
        "Running": status.state.is_running() || status.state == State::Restarting,
        "Paused": status.state == State::Paused,
        "Restarting": status.state == State::Restarting,
        "OOMKilled": status.oom_killed,
        "Dead": status.state == State::Dead,
        "Pid": status.init.map_or(0, |init| init.pid),
        "ExitCode": if status.state.is_running() { 0 } else { status.exit_code.unwrap_or(0) },
        "Error": status.error.clone().unwrap_or_default(),
        "StartedAt": time(&status.started_at),
        "FinishedAt": time(&status.finished_at),
    })
}

fn host_config(spec: &InstanceSpec, record: &Record) -> Value {
    let limits = &spec.limits;
    let security = &spec.security;
    let list = |list: &[String]| -> Value { json!(list) };
    let mode = |mode: &NamespaceMode, own: &str| match mode {
        NamespaceMode::Private => own.to_owned(),
        NamespaceMode::Shareable => "shareable".to_owned(),
        NamespaceMode::Bare => "none".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Instance(id) => format!("container:{id}"),
    };
    let (restart, retries) = match spec.restart {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::OnFailure { max } => ("on-failure", max.unwrap_or(0)),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
    };
    let tmpfs: Map<String, Value> = spec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Tmpfs {
                options,
                mount: false,
            } => Some((mount.target.clone(), options.as_str().into())),
            MountSource::Tmpfs { .. } | MountSource::Bind { .. } => None,
        })
        .collect();
    let unlimited = |limit: u64| i64::try_from(limit).unwrap_or(-1);
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("Binds", nullable(&binds(&spec.mounts)));
    let described: Vec<Value> = spec.mounts.iter().filter_map(described).collect();
    if !described.is_empty() {
        put("Mounts", described.into());
    }
    put("ContainerIDFile", "".into());
    put("LogConfig", log_config(spec));
    put("NetworkMode", network_name(record).into());
    put("PortBindings", json!({}));
    put(
        "RestartPolicy",
        json!({"Name": restart, "MaximumRetryCount": retries}),
    );
    put("AutoRemove", spec.auto_remove.into());
    put("VolumeDriver", "".into());
    put("VolumesFrom", Value::Null);
    put("ConsoleSize", json!([0, 0]));
    if !spec.annotations.is_empty() {
        put("Annotations", json!(spec.annotations));
    }
    put("CapAdd", nullable(&security.cap_add));
    put("CapDrop", nullable(&security.cap_drop));
    put(
        "CgroupnsMode",
        mode(&spec.namespaces.cgroup, "private").into(),
    );
    put("Dns", list(&spec.dns));
    put("DnsOptions", list(&spec.dns_options));
    put("DnsSearch", list(&spec.dns_search));
    put("ExtraHosts", nullable(&spec.extra_hosts));
    put("GroupAdd", nullable(&spec.groups));
    put("IpcMode", mode(&spec.namespaces.ipc, "private").into());
    put("Cgroup", "".into());
    put("Links", Value::Null);
    put("OomScoreAdj", spec.oom_score_adj.unwrap_or(0).into());
    put("PidMode", mode(&spec.namespaces.pid, "").into());
    put("Privileged", security.privileged.into());
    put("PublishAllPorts", false.into());
    put("ReadonlyRootfs", spec.read_only_root.into());
    put("SecurityOpt", nullable(&security.options));
    if !tmpfs.is_empty() {
        put("Tmpfs", Value::Object(tmpfs));
    }
    put("UTSMode", mode(&spec.namespaces.uts, "").into());
    put("UsernsMode", "".into());
    put(
        "ShmSize",
        if spec.shm_size == 0 {
            SHM_SIZE
        } else {
            spec.shm_size
        }
        .into(),
    );
    if !spec.sysctls.is_empty() {
        put("Sysctls", json!(spec.sysctls));
    }
    put(
        "Runtime",
        if spec.runtime.is_empty() {
            "cove"
        } else {
            &spec.runtime
        }
        .into(),
    );
    put("Isolation", "".into());
    if let Some(init) = spec.init {
        put("Init", init.into());
    }
    put("CpuShares", limits.cpu_shares.unwrap_or(0).into());
    put("Memory", limits.memory.unwrap_or(0).into());
    put("NanoCpus", limits.nano_cpus.unwrap_or(0).into());
    put(
        "CgroupParent",
        limits.cgroup_parent.clone().unwrap_or_default().into(),
    );
    put("BlkioWeight", limits.blkio_weight.unwrap_or(0).into());
    for name in [
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
    ] {
        put(name, json!([]));
    }
    put("CpuPeriod", limits.cpu_period.unwrap_or(0).into());
    put("CpuQuota", limits.cpu_quota.unwrap_or(0).into());
    put("CpuRealtimePeriod", 0.into());
    put("CpuRealtimeRuntime", 0.into());
    put(
        "CpusetCpus",
        limits.cpuset_cpus.clone().unwrap_or_default().into(),
    );
    put(
        "CpusetMems",
        limits.cpuset_mems.clone().unwrap_or_default().into(),
    );
    let devices = spec.devices.iter().map(|device| {
        json!({
            "PathOnHost": device.host.display().to_string(),
            "PathInContainer": device.container,
            "CgroupPermissions": device.permissions,
        })
    });
    put("Devices", devices.collect::<Vec<Value>>().into());
    put("DeviceCgroupRules", nullable(&spec.device_rules));
    put("DeviceRequests", Value::Null);
    put(
        "MemoryReservation",
        limits.memory_reservation.unwrap_or(0).into(),
    );
    put("MemorySwap", limits.memory_and_swap().unwrap_or(0).into());
    put("MemorySwappiness", json!(limits.memory_swappiness));
    put("OomKillDisable", limits.oom_kill_disable.into());
    put("PidsLimit", json!(limits.pids));
    let ulimits = spec.ulimits.iter().map(|limit| {
        json!({"Name": limit.name, "Hard": unlimited(limit.hard), "Soft": unlimited(limit.soft)})
    });
    put("Ulimits", ulimits.collect::<Vec<Value>>().into());
    put("CpuCount", 0.into());
    put("CpuPercent", 0.into());
    put("IOMaximumIOps", 0.into());
    put("IOMaximumBandwidth", 0.into());
    let hidden = cove_engine::spec::hidden(security);
    let paths = |paths: Vec<String>| -> Value {
        if security.privileged {
            Value::Null
        } else {
            json!(paths)
        }
    };
    put("MaskedPaths", paths(hidden.masked));
    put("ReadonlyPaths", paths(hidden.read_only));
    Value::Object(fields)
}

fn log_config(spec: &InstanceSpec) -> Value {
    json!({"Type": spec.log.driver.name(), "Config": spec.log.options})
}

/// Bind mounts as `-v` takes them.
fn binds(mounts: &[Mount]) -> Vec<String> {
    let bind = |mount: &Mount| match &mount.source {
        MountSource::Bind {
            path,
            propagation,
            create: true,
            ..
        } => {
            let mut options = Vec::new();
            options.extend(mount.read_only.then_some("ro"));
            options.extend(propagation.as_deref());
            let options = options.join(",");
            let colon = if options.is_empty() { "" } else { ":" };
            Some(format!(
                "{}:{}{colon}{options}",
                path.display(),
                mount.target
            ))
        }
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    };
    mounts.iter().filter_map(bind).collect()
}

/// A mount as `--mount` says it, which `-v` and `--tmpfs` do not.
fn described(mount: &Mount) -> Option<Value> {
    // In Docker's order.
    let frame = |mut fields: Value| {
        fields["Target"] = mount.target.as_str().into();
        if mount.read_only {
            fields["ReadOnly"] = true.into();
        }
        fields
    };
    Some(match &mount.source {
        MountSource::Bind {
            path,
            propagation,
            non_recursive,
            create: false,
        } => {
            let source = path.display().to_string();
            let mut fields = frame(json!({"Type": "bind", "Source": source}));
            if let Some(mode) = propagation {
                fields["BindOptions"]["Propagation"] = mode.as_str().into();
            }
            if *non_recursive {
                fields["BindOptions"]["NonRecursive"] = true.into();
            }
            fields
        }
        MountSource::Tmpfs {
            options,
            mount: true,
        } => {
            let mut fields = frame(json!({"Type": "tmpfs"}));
            for option in options.split(',') {
                if let Some(size) = option.strip_prefix("size=") {
                    fields["TmpfsOptions"]["SizeBytes"] = json!(size.parse::<u64>().ok());
                } else if let Some(mode) = option.strip_prefix("mode=") {
                    fields["TmpfsOptions"]["Mode"] = json!(u32::from_str_radix(mode, 8).ok());
                }
            }
            fields
        }
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => return None,
    })
}

fn mount_point(mount: &Mount) -> Option<Value> {
    match &mount.source {
        MountSource::Bind {
            path, propagation, ..
        } => Some(json!({
            "Type": "bind",
            "Source": path.display().to_string(),
            "Destination": mount.target,
            "Mode": if mount.read_only { "ro" } else { "" },
            "RW": !mount.read_only,
            "Propagation": propagation.as_deref().unwrap_or("rprivate"),
        })),
        MountSource::Tmpfs { mount: true, .. } => Some(json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": mount.target,
            "Mode": "",
            "RW": !mount.read_only,
            "Propagation": "",
        })),
        MountSource::Tmpfs { .. } => None,
    }
}

/// The parts of the root, and while it runs its root as a whole.
fn graph(engine: &Engine, record: &Record, status: &Status) -> Value {
    let shown = |path: PathBuf| -> Value { path.display().to_string().into() };
    let directory = engine.instances().directory(record);
    let layers = engine.roots().root.join("layers");
    let lower =
        |layer: &cove_model::Digest| layers.join(layer.hex()).join("diff").display().to_string();
    let lowers: Vec<String> = record.image.layers.iter().rev().map(lower).collect();
    let mut data = Map::new();
    data.insert("LowerDir".to_owned(), lowers.join(":").into());
    if let Some(init) = status.init {
        // Nothing is mounted on the host: this is where the root is seen.
        data.insert(
            "MergedDir".to_owned(),
            format!("/proc/{}/root", init.pid).into(),
        );
    }
    data.insert("UpperDir".to_owned(), shown(directory.join("upper")));
    data.insert("WorkDir".to_owned(), shown(directory.join("work")));
    json!({"Data": data, "Name": "overlay2"})
}

fn network(record: &Record) -> Value {
    let name = network_name(record);
    let endpoint = json!({
        "IPAMConfig": null,
        "Links": null,
        "Aliases": null,
        "MacAddress": "",
        "DriverOpts": null,
        "GwPriority": 0,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": null,
    });
    let mut networks = Map::new();
    if !name.starts_with("container:") {
        networks.insert(name, endpoint);
    }
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": {},
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": networks,
    })
}
