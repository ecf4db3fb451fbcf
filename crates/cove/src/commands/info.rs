//! `info`: what the machine and the installation are like, as Docker's
//! document and in Docker's lines. Every value is looked up.

use std::path::Path;

use cove_engine::{Engine, HostAbilities, Index};
use cove_model::instance::LogDriver;
use cove_model::status::State;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::system::{go_architecture, show};
use super::tables::system::FormatFlags;
use crate::build;
use crate::format::{human, time};
use crate::outcome::Outcome;
use crate::output;
use crate::settings::Session;

/// Where an image without a registry comes from, as Docker names it.
const INDEX: &str = "https://index.docker.io/v1/";
/// The names that `--runtime` takes.
const RUNTIMES: [&str; 4] = ["cove", "crun", "io.containerd.runc.v2", "runc"];

/// Shows what the machine and the installation are like.
pub(crate) fn info(session: &Session, flags: &FormatFlags, _: &[String]) -> Outcome {
    let engine = session.engine()?;
    let host = HostAbilities::look();
    let states: Vec<State> = engine
        .instances()
        .list()?
        .iter()
        .map(|instance| instance.status.state)
        .collect();
    let images = engine.images().list()?.len();
    let document = document(engine, &host, &states, images);
    let code = show(&flags.format, &document, || plain(engine, &document))?;
    if flags.format.is_empty() {
        for warning in host.warnings() {
            output::note(&warning);
        }
    }
    Ok(code)
}

fn document(engine: &Engine, host: &HostAbilities, states: &[State], images: usize) -> Value {
    let count = |wanted: fn(State) -> bool| states.iter().filter(|state| wanted(**state)).count();
    let running = count(|state| matches!(state, State::Running | State::Restarting));
    let paused = count(|state| state == State::Paused);
    let uname = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let memory = memory.totalram.saturating_mul(u64::from(memory.mem_unit));
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let system = OsRelease::read();
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.display().to_string();
    let runtimes: Map<String, Value> = RUNTIMES
        .map(|name| (name.to_owned(), json!({"path": program})))
        .into_iter()
        .collect();
    use LogDriver::{JsonFile, K8sFile, Local, None};
    let log_drivers = [JsonFile, K8sFile, Local, None].map(LogDriver::name);
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let mut fields = Map::new();
    for (key, value) in [
        ("ID", Value::from(engine.identity())),
        ("Containers", states.len().into()),
        ("ContainersRunning", running.into()),
        ("ContainersPaused", paused.into()),
        (
            "ContainersStopped",
            (states.len() - running - paused).into(),
        ),
        ("Images", images.into()),
        ("Driver", "overlay2".into()),
        ("DriverStatus", driver_status(engine)),
        (
            "Plugins",
            json!({
                "Volume": [],
                "Network": ["host", "null"],
                "Authorization": null,
                "Log": log_drivers,
            }),
        ),
        ("MemoryLimit", host.memory.into()),
        ("SwapLimit", host.swap.into()),
        ("CpuCfsPeriod", host.cpu_period.into()),
        ("CpuCfsQuota", host.cpu_quota.into()),
        ("CPUShares", host.cpu_shares.into()),
        ("CPUSet", host.cpuset.into()),
        ("PidsLimit", host.pids.into()),
        ("IPv4Forwarding", host.ipv4_forwarding.into()),
        ("Debug", false.into()),
        ("NFd", open_files.into()),
        ("OomKillDisable", host.oom_kill_disable.into()),
        // One thread of one process answers, and nothing listens.
        ("NGoroutines", 1.into()),
        ("SystemTime", Timestamp::now().to_string().into()),
        ("LoggingDriver", LogDriver::default().name().into()),
        ("CgroupDriver", "cgroupfs".into()),
        ("CgroupVersion", host.cgroup_version.to_string().into()),
        ("NEventsListener", 0.into()),
        ("KernelVersion", uname.release().to_string_lossy().into()),
        ("OperatingSystem", system.name.into()),
        ("OSVersion", system.version.into()),
        ("OSType", "linux".into()),
        ("Architecture", std::env::consts::ARCH.into()),
        ("IndexServerAddress", INDEX.into()),
        ("RegistryConfig", registry_config(&Index::configured())),
        ("NCPU", cpus.into()),
        ("MemTotal", memory.into()),
        ("GenericResources", Value::Null),
        (
            "DockerRootDir",
            engine.roots().root.display().to_string().into(),
        ),
        ("HttpProxy", proxy("HTTP_PROXY").into()),
        ("HttpsProxy", proxy("HTTPS_PROXY").into()),
        ("NoProxy", proxy("NO_PROXY").into()),
        ("Name", uname.nodename().to_string_lossy().into()),
        ("Labels", json!([])),
        ("ExperimentalBuild", false.into()),
        ("ServerVersion", build::VERSION.into()),
        ("Runtimes", runtimes.into()),
        ("DefaultRuntime", "cove".into()),
        (
            "Swarm",
            json!({
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": false,
                "Error": "",
                "RemoteManagers": null,
            }),
        ),
        // No daemon: nothing that may end has containers in its hands.
        ("LiveRestoreEnabled", true.into()),
        ("Isolation", "".into()),
        ("InitBinary", program.clone().into()),
        ("ContainerdCommit", json!({"ID": ""})),
        ("RuncCommit", json!({"ID": build::COMMIT})),
        ("InitCommit", json!({"ID": build::COMMIT})),
        ("SecurityOptions", security_options()),
        ("Warnings", warnings(host)),
        (
            "ClientInfo",
            json!({
                "Debug": false,
                "Version": build::VERSION,
                "GitCommit": build::COMMIT,
                "Os": "linux",
                "Arch": go_architecture(),
                "BuildTime": built(),
                "Context": "default",
                "Plugins": [],
                "Warnings": null,
            }),
        ),
    ] {
        fields.insert(key.to_owned(), value);
    }
    Value::Object(fields)
}

fn registry_config(index: &Index) -> Value {
    json!({
        "IndexConfigs": {
            "docker.io": {
                "Mirrors": index.mirrors,
                "Name": "docker.io",
                "Official": true,
                "Secure": index.secure,
            },
        },
        // Loopback is spoken to without TLS, as with Docker.
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "Mirrors": index.mirrors,
    })
}

/// What keeps containers apart whenever nobody says otherwise.
fn security_options() -> Value {
    json!(["name=seccomp,profile=builtin", "name=cgroupns"])
}

fn driver_status(engine: &Engine) -> Value {
    let metacopy = Path::new("/sys/module/overlay/parameters/metacopy");
    let metacopy =
        cove_sys::fs::read_to_string(metacopy, 16).is_ok_and(|text| text.starts_with('Y'));
    let user = !rustix::process::geteuid().is_root();
    json!([
        ["Backing Filesystem", engine.backing_file_system()],
        ["Using metacopy", metacopy.to_string()],
        ["userxattr", user.to_string()],
    ])
}

fn warnings(host: &HostAbilities) -> Value {
    let warnings = host.warnings();
    if warnings.is_empty() {
        Value::Null
    } else {
        json!(warnings)
    }
}

fn built() -> String {
    build::date().map_or_else(|| "unknown".to_owned(), time::ansi_c)
}

/// A proxy as the environment has it, without the password that may be in it.
fn proxy(name: &str) -> String {
    let value = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase()));
    masked(&value.unwrap_or_default())
}

fn masked(proxy: &str) -> String {
    let Some((scheme, rest)) = proxy.split_once("://") else {
        return proxy.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://xxxxx:xxxxx@{}", &rest[at + 1..]),
        None => proxy.to_owned(),
    }
}

/// What os-release(5) says.
struct OsRelease {
    name: String,
    version: String,
}

impl OsRelease {
    fn read() -> Self {
        let path = ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .find_map(|path| cove_sys::fs::read_to_string(Path::new(path), 64 << 10).ok());
        let text = path.unwrap_or_default();
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key));
            found.map(|value| value.trim_matches(['"', '\'']).to_owned())
        };
        Self {
            name: value("PRETTY_NAME=").unwrap_or_else(|| "Linux".to_owned()),
            version: value("VERSION_ID=").unwrap_or_default(),
        }
    }
}

/// Docker's lines, with the build and the second directory.
fn plain(engine: &Engine, document: &Value) -> String {
    let text = |key: &str| match &document[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let words = |list: &Value| {
        let words = list.as_array().into_iter().flatten();
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        words.join(" ")
    };
    let mut lines = vec![
        "Client:".to_owned(),
        format!(" Version:    {}", build::VERSION),
        " Context:    default".to_owned(),
        " Debug Mode: false".to_owned(),
        String::new(),
        "Server:".to_owned(),
        format!(" Containers: {}", text("Containers")),
        format!("  Running: {}", text("ContainersRunning")),
        format!("  Paused: {}", text("ContainersPaused")),
        format!("  Stopped: {}", text("ContainersStopped")),
        format!(" Images: {}", text("Images")),
        format!(" Server Version: {}", text("ServerVersion")),
        format!("  Git Commit: {}", build::short_commit()),
        format!("  Built: {}", built()),
        format!(" Storage Driver: {}", text("Driver")),
    ];
    for pair in document["DriverStatus"].as_array().into_iter().flatten() {
        let part = |n: usize| pair[n].as_str().unwrap_or_default();
        lines.push(format!("  {}: {}", part(0), part(1)));
    }
    let plugins = &document["Plugins"];
    let runtimes = document["Runtimes"].as_object();
    let runtimes: Vec<&str> = runtimes
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    lines.extend([
        format!(" Logging Driver: {}", text("LoggingDriver")),
        format!(" Cgroup Driver: {}", text("CgroupDriver")),
        format!(" Cgroup Version: {}", text("CgroupVersion")),
        " Plugins:".to_owned(),
        format!("  Volume: {}", words(&plugins["Volume"]))
            .trim_end()
            .to_owned(),
        format!("  Network: {}", words(&plugins["Network"])),
        format!("  Log: {}", words(&plugins["Log"])),
        " Swarm: inactive".to_owned(),
        format!(" Runtimes: {}", runtimes.join(" ")),
        format!(" Default Runtime: {}", text("DefaultRuntime")),
        format!(" Init Binary: {}", text("InitBinary")),
        " Security Options:".to_owned(),
    ]);
    for option in document["SecurityOptions"].as_array().into_iter().flatten() {
        for part in option.as_str().unwrap_or_default().split(',') {
            match part.split_once('=') {
                Some(("name", name)) => lines.push(format!("  {name}")),
                Some(("profile", name)) => lines.push(format!("   Profile: {name}")),
                Some(_) | None => {}
            }
        }
    }
    lines.extend([
        format!(" Kernel Version: {}", text("KernelVersion")),
        format!(" Operating System: {}", text("OperatingSystem")),
        format!(" OSType: {}", text("OSType")),
        format!(" Architecture: {}", text("Architecture")),
        format!(" CPUs: {}", text("NCPU")),
        format!(
            " Total Memory: {}",
            human::binary_size(document["MemTotal"].as_u64().unwrap_or(0))
        ),
        format!(" Name: {}", text("Name")),
        format!(" ID: {}", text("ID")),
        format!(" Docker Root Dir: {}", text("DockerRootDir")),
        format!(" Run Root Dir: {}", engine.roots().runroot.display()),
        " Debug Mode: false".to_owned(),
    ]);
    for (title, key) in [
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ] {
        let value = text(key);
        if !value.is_empty() {
            lines.push(format!(" {title}: {value}"));
        }
    }
    lines.push(" Experimental: false".to_owned());
    lines.push(" Insecure Registries:".to_owned());
    let insecure = &document["RegistryConfig"]["InsecureRegistryCIDRs"];
    for network in insecure.as_array().into_iter().flatten() {
        lines.push(format!("  {}", network.as_str().unwrap_or_default()));
    }
    lines.push(" Live Restore Enabled: true".to_owned());
    lines.push(String::new());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_shown() {
        for (proxy, shown) in [
            ("", ""),
            ("http://proxy:3128", "http://proxy:3128"),
            (
                "http://me:secret@proxy:3128/",
                "http://xxxxx:xxxxx@proxy:3128/",
            ),
            ("http://me:se@cret@proxy", "http://xxxxx:xxxxx@proxy"),
            ("localhost,.example.com", "localhost,.example.com"),
            ("http://proxy/@x", "http://proxy/@x"),
        ] {
            assert_eq!(masked(proxy), shown);
        }
    }
}
