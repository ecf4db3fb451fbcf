//! Containers: the document of one, and the rows of their list.

mod config;
mod filter;
mod host_config;
mod list;
mod mounts;
mod network;
mod sizes;
mod status;

use std::collections::BTreeMap;
use std::path::Path;

use cove_engine::{Engine, Instance};
use cove_model::instance::Record;
use cove_model::status::{State, Status};

use self::sizes::Sizes;
use crate::document::{Never, document};
use crate::time::ZERO;

pub use config::{Config, Healthcheck};
pub use filter::{Filter, is_active};
pub use host_config::{Device, HostConfig, Limit, LogConfig, RestartRule};
pub use list::{Row, Shown, id};
pub use mounts::{BindOptions, MountPoint, MountRequest, TmpfsOptions};
pub use network::{Endpoint, IpamConfig, NetworkSettings, PortBinding, PortMap};
pub use status::text as status_text;

document! {
    /// Docker's document of a container.
    pub struct Container {
        id: String = "Id" / "ID",
        created: String = "Created",
        path: String = "Path",
        args: Vec<String> = "Args",
        state: ContainerState = "State",
        image: String = "Image",
        resolv_conf_path: String = "ResolvConfPath",
        hostname_path: String = "HostnamePath",
        hosts_path: String = "HostsPath",
        log_path: String = "LogPath",
        node: Option<Never> = "Node" hidden,
        name: String = "Name",
        restart_count: u32 = "RestartCount",
        driver: String = "Driver",
        platform: String = "Platform",
        mount_label: String = "MountLabel",
        process_label: String = "ProcessLabel",
        app_armor_profile: String = "AppArmorProfile",
        exec_ids: Option<Vec<String>> = "ExecIDs",
        host_config: HostConfig = "HostConfig",
        graph_driver: GraphDriver = "GraphDriver",
        size_rw: Option<u64> = "SizeRw" omitempty,
        size_root_fs: Option<u64> = "SizeRootFs" omitempty,
        mounts: Vec<MountPoint> = "Mounts",
        config: Config = "Config",
        network_settings: NetworkSettings = "NetworkSettings",
    }

    /// Where a container is in its life.
    pub struct ContainerState {
        status: String = "Status",
        running: bool = "Running",
        paused: bool = "Paused",
        restarting: bool = "Restarting",
        oom_killed: bool = "OOMKilled",
        dead: bool = "Dead",
        pid: i32 = "Pid",
        exit_code: i32 = "ExitCode",
        error: String = "Error",
        started_at: String = "StartedAt",
        finished_at: String = "FinishedAt",
        health: Option<Never> = "Health" omitempty,
    }

    /// The parts of a root.
    pub struct GraphDriver {
        data: BTreeMap<String, String> = "Data",
        name: String = "Name",
    }
}

impl Container {
    /// The document; with `sized` also what the files take.
    #[must_use]
    pub fn of(engine: &Engine, instance: &Instance, sized: bool) -> Self {
        let (record, status) = (&instance.record, &instance.status);
        let spec = &record.spec;
        let directory = engine.instances().directory(record);
        let file = |name: &str| text(&directory.join(name));
        let log = engine.instances().public_log_path(record);
        let sizes = sized.then(|| Sizes::of(engine, record));
        Self {
            id: record.id.to_string(),
            created: record.created.clone(),
            path: spec.argv.first().cloned().unwrap_or_default(),
            args: spec.argv.get(1..).unwrap_or_default().to_vec(),
            state: ContainerState::of(status),
            image: record.image.id.to_string(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path: log.map_or_else(String::new, |path| text(&path)),
            name: format!("/{}", record.name),
            restart_count: status.restart_count,
            driver: GraphDriver::NAME.to_owned(),
            platform: "linux".to_owned(),
            app_armor_profile: spec.security.apparmor.clone().unwrap_or_default(),
            host_config: HostConfig::of(record),
            graph_driver: GraphDriver::of_container(engine, record, status),
            size_rw: sizes.as_ref().map(|sizes| sizes.own),
            size_root_fs: sizes.as_ref().map(|sizes| sizes.whole),
            mounts: spec.mounts.iter().filter_map(MountPoint::of).collect(),
            config: Config::of_container(record),
            network_settings: NetworkSettings::of(record),
            ..Self::default()
        }
    }
}

impl ContainerState {
    fn of(status: &Status) -> Self {
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| ZERO.to_owned());
        let running = status.state.is_running();
        Self {
            status: status.state.as_str().to_owned(),
            running: running || status.state == State::Restarting,
            paused: status.state == State::Paused,
            restarting: status.state == State::Restarting,
            oom_killed: status.oom_killed,
            dead: status.state == State::Dead,
            pid: status.init.map_or(0, |init| init.pid),
            exit_code: status.exit_code.filter(|_| !running).unwrap_or_default(),
            error: status.error.clone().unwrap_or_default(),
            started_at: time(&status.started_at),
            finished_at: time(&status.finished_at),
            health: None,
        }
    }
}

impl GraphDriver {
    /// What Docker calls overlayfs with one directory for each layer.
    pub(crate) const NAME: &str = "overlay2";

    /// Parts by their names.
    pub(crate) fn of(parts: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let named = parts
            .into_iter()
            .map(|(name, part)| (name.to_owned(), part));
        Self {
            data: named.collect(),
            name: Self::NAME.to_owned(),
        }
    }

    fn of_container(engine: &Engine, record: &Record, status: &Status) -> Self {
        let root = engine.instances().root_parts(record);
        let lower: Vec<String> = root.lower.iter().map(|path| text(path)).collect();
        let parts = [
            ("LowerDir", lower.join(":")),
            ("UpperDir", text(&root.upper)),
            ("WorkDir", text(&root.work)),
        ];
        // Nothing is mounted on the host: this is where the root is seen.
        let merged = |pid| ("MergedDir", format!("/proc/{pid}/root"));
        Self::of(
            parts
                .into_iter()
                .chain(status.init.map(|init| merged(init.pid))),
        )
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
