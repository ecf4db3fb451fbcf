//! `info`: what the machine and the installation are like.

use std::collections::BTreeMap;

use cove_engine::{Engine, HostAbilities, Index, Machine};
use cove_model::image::Platform;
use cove_model::instance::LogDriver;
use cove_model::status::State;
use jiff::Timestamp;

use crate::container::GraphDriver;
use crate::document::{Never, document, list};
use crate::error::{Error, Result};
use crate::time;
use crate::version::Build;

/// Where an image without a registry comes from, as Docker names it.
const INDEX: &str = "https://index.docker.io/v1/";
/// The names that `--runtime` takes.
const RUNTIMES: [&str; 4] = ["cove", "crun", "io.containerd.runc.v2", "runc"];

document! {
    /// Docker's document of `info`.
    pub struct Info {
        id: String = "ID",
        containers: usize = "Containers",
        containers_running: usize = "ContainersRunning",
        containers_paused: usize = "ContainersPaused",
        containers_stopped: usize = "ContainersStopped",
        images: usize = "Images",
        driver: String = "Driver",
        driver_status: Vec<[String; 2]> = "DriverStatus",
        plugins: Plugins = "Plugins",
        memory_limit: bool = "MemoryLimit",
        swap_limit: bool = "SwapLimit",
        cpu_cfs_period: bool = "CpuCfsPeriod",
        cpu_cfs_quota: bool = "CpuCfsQuota",
        cpu_shares: bool = "CPUShares",
        cpu_set: bool = "CPUSet",
        pids_limit: bool = "PidsLimit",
        ipv4_forwarding: bool = "IPv4Forwarding",
        debug: bool = "Debug",
        open_files: usize = "NFd",
        oom_kill_disable: bool = "OomKillDisable",
        goroutines: usize = "NGoroutines",
        system_time: String = "SystemTime",
        logging_driver: String = "LoggingDriver",
        cgroup_driver: String = "CgroupDriver",
        cgroup_version: String = "CgroupVersion",
        events_listeners: usize = "NEventsListener",
        kernel_version: String = "KernelVersion",
        operating_system: String = "OperatingSystem",
        os_version: String = "OSVersion",
        os_type: String = "OSType",
        architecture: String = "Architecture",
        index_server_address: String = "IndexServerAddress",
        registry_config: RegistryConfig = "RegistryConfig",
        processors: usize = "NCPU",
        memory: u64 = "MemTotal",
        generic_resources: Option<Vec<Never>> = "GenericResources",
        docker_root_dir: String = "DockerRootDir",
        http_proxy: String = "HttpProxy",
        https_proxy: String = "HttpsProxy",
        no_proxy: String = "NoProxy",
        name: String = "Name",
        labels: Vec<String> = "Labels",
        experimental_build: bool = "ExperimentalBuild",
        server_version: String = "ServerVersion",
        runtimes: BTreeMap<String, Runtime> = "Runtimes",
        default_runtime: String = "DefaultRuntime",
        swarm: Swarm = "Swarm",
        live_restore_enabled: bool = "LiveRestoreEnabled",
        isolation: String = "Isolation",
        init_binary: String = "InitBinary",
        containerd_commit: Commit = "ContainerdCommit",
        runc_commit: Commit = "RuncCommit",
        init_commit: Commit = "InitCommit",
        security_options: Vec<String> = "SecurityOptions",
        warnings: Option<Vec<String>> = "Warnings",
        client_info: ClientInfo = "ClientInfo",
    }

    /// What can be named where drivers are.
    pub struct Plugins {
        volume: Vec<String> = "Volume",
        network: Vec<String> = "Network",
        authorization: Option<Vec<String>> = "Authorization",
        log: Vec<String> = "Log",
    }

    /// How registries are spoken to.
    pub struct RegistryConfig {
        index_configs: BTreeMap<String, IndexConfig> = "IndexConfigs",
        insecure_registry_cidrs: Vec<String> = "InsecureRegistryCIDRs",
        mirrors: Vec<String> = "Mirrors",
    }

    /// How one registry is spoken to.
    pub struct IndexConfig {
        mirrors: Vec<String> = "Mirrors",
        name: String = "Name",
        official: bool = "Official",
        secure: bool = "Secure",
    }

    /// A program that runs containers.
    pub struct Runtime {
        path: String = "path" / "Path",
    }

    /// A program's sources.
    pub struct Commit {
        id: String = "ID",
    }

    /// The swarm that a machine is no part of.
    pub struct Swarm {
        node_id: String = "NodeID",
        node_addr: String = "NodeAddr",
        local_node_state: String = "LocalNodeState",
        control_available: bool = "ControlAvailable",
        error: String = "Error",
        remote_managers: Option<Vec<Never>> = "RemoteManagers",
    }

    /// The program that asks.
    pub struct ClientInfo {
        debug: bool = "Debug",
        version: String = "Version",
        git_commit: String = "GitCommit",
        os: String = "Os",
        arch: String = "Arch",
        build_time: String = "BuildTime",
        context: String = "Context",
        plugins: Vec<Never> = "Plugins",
        warnings: Option<Vec<String>> = "Warnings",
    }
}

impl Info {
    /// The document: every value is looked up. `variable` is what the
    /// environment has by a name.
    ///
    /// # Errors
    /// When containers or images cannot be listed.
    pub fn of(
        engine: &Engine,
        build: &Build,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let instances = engine.instances().list().map_err(Error::Engine)?.instances;
        let count = |wanted: fn(State) -> bool| {
            let states = instances.iter().map(|instance| instance.status.state);
            states.filter(|&state| wanted(state)).count()
        };
        let running = count(|state| matches!(state, State::Running | State::Restarting));
        let paused = count(|state| state == State::Paused);
        let host = HostAbilities::look();
        let machine = Machine::look();
        let program = machine.program.display().to_string();
        let index = Index::configured();
        let proxy = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_lowercase()));
            masked(&value.unwrap_or_default())
        };
        let commit = || Commit {
            id: build.commit.to_owned(),
        };
        Ok(Self {
            id: engine.identity(),
            containers: instances.len(),
            containers_running: running,
            containers_paused: paused,
            containers_stopped: instances.len() - running - paused,
            images: engine.images().list().map_err(Error::Engine)?.len(),
            driver: GraphDriver::NAME.to_owned(),
            driver_status: driver_status(engine),
            plugins: Plugins::known(),
            memory_limit: host.memory,
            swap_limit: host.swap,
            cpu_cfs_period: host.cpu_period,
            cpu_cfs_quota: host.cpu_quota,
            cpu_shares: host.cpu_shares,
            cpu_set: host.cpuset,
            pids_limit: host.pids,
            ipv4_forwarding: host.ipv4_forwarding,
            debug: false,
            open_files: machine.open_files,
            oom_kill_disable: host.oom_kill_disable,
            // One thread of one process answers, and nothing listens.
            goroutines: 1,
            system_time: Timestamp::now().to_string(),
            logging_driver: LogDriver::default().name().to_owned(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: host.cgroup_version.to_string(),
            events_listeners: 0,
            kernel_version: machine.kernel,
            operating_system: machine.system,
            os_version: machine.system_version,
            os_type: "linux".to_owned(),
            architecture: machine.architecture.to_owned(),
            index_server_address: INDEX.to_owned(),
            registry_config: RegistryConfig::of(&index),
            processors: machine.processors,
            memory: machine.memory,
            generic_resources: None,
            docker_root_dir: engine.roots().root.display().to_string(),
            http_proxy: proxy("HTTP_PROXY"),
            https_proxy: proxy("HTTPS_PROXY"),
            no_proxy: proxy("NO_PROXY"),
            name: machine.name,
            labels: Vec::new(),
            experimental_build: false,
            server_version: build.version.to_owned(),
            runtimes: RUNTIMES
                .map(|name| {
                    let path = program.clone();
                    (name.to_owned(), Runtime { path })
                })
                .into(),
            default_runtime: "cove".to_owned(),
            swarm: Swarm {
                local_node_state: "inactive".to_owned(),
                ..Swarm::default()
            },
            // No daemon: nothing that may end has containers in its hands.
            live_restore_enabled: true,
            isolation: String::new(),
            init_binary: program,
            containerd_commit: Commit::default(),
            runc_commit: commit(),
            init_commit: commit(),
            // What keeps containers apart whenever nobody says otherwise.
            security_options: texts(&["name=seccomp,profile=builtin", "name=cgroupns"]),
            warnings: list(&host.warnings()),
            client_info: ClientInfo::of(build),
        })
    }
}

impl Plugins {
    fn known() -> Self {
        use LogDriver::{JsonFile, K8sFile, Local, None};
        Self {
            volume: Vec::new(),
            network: texts(&["host", "null"]),
            authorization: Option::None,
            log: texts(&[JsonFile, K8sFile, Local, None].map(LogDriver::name)),
        }
    }
}

impl RegistryConfig {
    fn of(index: &Index) -> Self {
        let official = IndexConfig {
            mirrors: index.mirrors.clone(),
            name: "docker.io".to_owned(),
            official: true,
            secure: index.secure,
        };
        Self {
            index_configs: BTreeMap::from([(official.name.clone(), official)]),
            // Loopback is spoken to without TLS, as with Docker.
            insecure_registry_cidrs: texts(&["::1/128", "127.0.0.0/8"]),
            mirrors: index.mirrors.clone(),
        }
    }
}

impl ClientInfo {
    fn of(build: &Build) -> Self {
        let platform = Platform::host();
        Self {
            debug: false,
            version: build.version.to_owned(),
            git_commit: build.commit.to_owned(),
            os: platform.os,
            arch: platform.architecture,
            build_time: build
                .date
                .map_or_else(|| "unknown".to_owned(), time::ansi_c),
            context: "default".to_owned(),
            plugins: Vec::new(),
            warnings: None,
        }
    }
}

fn driver_status(engine: &Engine) -> Vec<[String; 2]> {
    let overlay = engine.overlay();
    [
        ("Backing Filesystem", overlay.backing.to_owned()),
        ("Using metacopy", overlay.metacopy.to_string()),
        ("userxattr", overlay.user_xattr.to_string()),
    ]
    .map(|(name, value)| [name.to_owned(), value])
    .into()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A proxy as the environment has it, without the password that may be in it.
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
