//! `HostConfig`: what a container asks of its host.

use std::collections::BTreeMap;

use cove_model::instance::{DeviceMapping, NamespaceMode, Record, RestartPolicy, Ulimit};

use super::mounts::{self, MountRequest};
use super::network::{self, PortMap};
use crate::document::{Never, document, list, map};

/// Bytes of `/dev/shm` where nobody says.
const SHM_SIZE: u64 = 64 << 20;
/// The runtime where nobody says.
const RUNTIME: &str = "cove";

document! {
    /// Docker's `HostConfig` of a container.
    pub struct HostConfig {
        binds: Option<Vec<String>> = "Binds",
        mounts: Option<Vec<MountRequest>> = "Mounts" omitempty,
        container_id_file: String = "ContainerIDFile",
        log_config: LogConfig = "LogConfig",
        network_mode: String = "NetworkMode",
        port_bindings: PortMap = "PortBindings",
        restart_policy: RestartRule = "RestartPolicy",
        auto_remove: bool = "AutoRemove",
        volume_driver: String = "VolumeDriver",
        volumes_from: Option<Vec<String>> = "VolumesFrom",
        console_size: [u32; 2] = "ConsoleSize",
        annotations: Option<BTreeMap<String, String>> = "Annotations" omitempty,
        cap_add: Option<Vec<String>> = "CapAdd",
        cap_drop: Option<Vec<String>> = "CapDrop",
        cgroupns_mode: String = "CgroupnsMode",
        dns: Vec<String> = "Dns" / "DNS",
        dns_options: Vec<String> = "DnsOptions" / "DNSOptions",
        dns_search: Vec<String> = "DnsSearch" / "DNSSearch",
        extra_hosts: Option<Vec<String>> = "ExtraHosts",
        group_add: Option<Vec<String>> = "GroupAdd",
        ipc_mode: String = "IpcMode",
        cgroup: String = "Cgroup",
        links: Option<Vec<String>> = "Links",
        oom_score_adj: i32 = "OomScoreAdj",
        pid_mode: String = "PidMode",
        privileged: bool = "Privileged",
        publish_all_ports: bool = "PublishAllPorts",
        readonly_rootfs: bool = "ReadonlyRootfs",
        security_opt: Option<Vec<String>> = "SecurityOpt",
        storage_opt: Option<BTreeMap<String, String>> = "StorageOpt" omitempty,
        tmpfs: Option<BTreeMap<String, String>> = "Tmpfs" omitempty,
        uts_mode: String = "UTSMode",
        userns_mode: String = "UsernsMode",
        shm_size: u64 = "ShmSize",
        sysctls: Option<BTreeMap<String, String>> = "Sysctls" omitempty,
        runtime: String = "Runtime",
        isolation: String = "Isolation",
        init: Option<bool> = "Init" omitempty,
        cpu_shares: u64 = "CpuShares" / "CPUShares",
        memory: u64 = "Memory",
        nano_cpus: u64 = "NanoCpus" / "NanoCPUs",
        cgroup_parent: String = "CgroupParent",
        blkio_weight: u16 = "BlkioWeight",
        blkio_weight_device: Vec<Never> = "BlkioWeightDevice",
        blkio_device_read_bps: Vec<Never> = "BlkioDeviceReadBps",
        blkio_device_write_bps: Vec<Never> = "BlkioDeviceWriteBps",
        blkio_device_read_iops: Vec<Never> = "BlkioDeviceReadIOps",
        blkio_device_write_iops: Vec<Never> = "BlkioDeviceWriteIOps",
        cpu_period: u64 = "CpuPeriod" / "CPUPeriod",
        cpu_quota: i64 = "CpuQuota" / "CPUQuota",
        cpu_realtime_period: u64 = "CpuRealtimePeriod" / "CPURealtimePeriod",
        cpu_realtime_runtime: i64 = "CpuRealtimeRuntime" / "CPURealtimeRuntime",
        cpuset_cpus: String = "CpusetCpus",
        cpuset_mems: String = "CpusetMems",
        devices: Vec<Device> = "Devices",
        device_cgroup_rules: Option<Vec<String>> = "DeviceCgroupRules",
        device_requests: Option<Vec<Never>> = "DeviceRequests",
        kernel_memory: u64 = "KernelMemory" hidden,
        kernel_memory_tcp: u64 = "KernelMemoryTCP" hidden,
        memory_reservation: u64 = "MemoryReservation",
        memory_swap: i64 = "MemorySwap",
        memory_swappiness: Option<u64> = "MemorySwappiness",
        oom_kill_disable: Option<bool> = "OomKillDisable",
        pids_limit: Option<i64> = "PidsLimit",
        ulimits: Vec<Limit> = "Ulimits",
        cpu_count: i64 = "CpuCount" / "CPUCount",
        cpu_percent: i64 = "CpuPercent" / "CPUPercent",
        io_maximum_iops: u64 = "IOMaximumIOps",
        io_maximum_bandwidth: u64 = "IOMaximumBandwidth",
        masked_paths: Option<Vec<String>> = "MaskedPaths",
        readonly_paths: Option<Vec<String>> = "ReadonlyPaths",
    }

    /// Where output is kept.
    pub struct LogConfig {
        kind: String = "Type",
        config: BTreeMap<String, String> = "Config",
    }

    /// What happens when a container ends.
    pub struct RestartRule {
        name: String = "Name",
        maximum_retry_count: u32 = "MaximumRetryCount",
    }

    /// A device of the host.
    pub struct Device {
        path_on_host: String = "PathOnHost",
        path_in_container: String = "PathInContainer",
        cgroup_permissions: String = "CgroupPermissions",
    }

    /// A limit of setrlimit(2); −1 is none.
    pub struct Limit {
        name: String = "Name",
        hard: i64 = "Hard",
        soft: i64 = "Soft",
    }
}

impl HostConfig {
    pub(super) fn of(record: &Record) -> Self {
        let spec = &record.spec;
        let (limits, security) = (&spec.limits, &spec.security);
        let hidden = cove_engine::spec::hidden(security);
        let paths = |paths| (!security.privileged).then_some(paths);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let binds: Vec<String> = spec.mounts.iter().filter_map(mounts::bind).collect();
        let requests: Vec<_> = spec.mounts.iter().filter_map(MountRequest::of).collect();
        Self {
            binds: list(&binds),
            mounts: list(&requests),
            log_config: LogConfig {
                kind: spec.log.driver.name().to_owned(),
                config: spec.log.options.clone(),
            },
            network_mode: network::name(record),
            restart_policy: RestartRule::of(spec.restart),
            auto_remove: spec.auto_remove,
            annotations: map(&spec.annotations),
            cap_add: list(&security.cap_add),
            cap_drop: list(&security.cap_drop),
            cgroupns_mode: mode(&spec.namespaces.cgroup, "private"),
            dns: spec.dns.clone(),
            dns_options: spec.dns_options.clone(),
            dns_search: spec.dns_search.clone(),
            extra_hosts: list(&spec.extra_hosts),
            group_add: list(&spec.groups),
            ipc_mode: mode(&spec.namespaces.ipc, "private"),
            oom_score_adj: spec.oom_score_adj.unwrap_or_default(),
            pid_mode: mode(&spec.namespaces.pid, ""),
            privileged: security.privileged,
            readonly_rootfs: spec.read_only_root,
            security_opt: list(&security.options),
            tmpfs: map(&spec.mounts.iter().filter_map(mounts::tmpfs).collect()),
            uts_mode: mode(&spec.namespaces.uts, ""),
            shm_size: match spec.shm_size {
                0 => SHM_SIZE,
                size => size,
            },
            sysctls: map(&spec.sysctls),
            runtime: match spec.runtime.as_str() {
                "" => RUNTIME,
                name => name,
            }
            .to_owned(),
            init: spec.init,
            cpu_shares: limits.cpu_shares.unwrap_or_default(),
            memory: limits.memory.unwrap_or_default(),
            nano_cpus: limits.nano_cpus.unwrap_or_default(),
            cgroup_parent: text(&limits.cgroup_parent),
            blkio_weight: limits.blkio_weight.unwrap_or_default(),
            cpu_period: limits.cpu_period.unwrap_or_default(),
            cpu_quota: limits.cpu_quota.unwrap_or_default(),
            cpuset_cpus: text(&limits.cpuset_cpus),
            cpuset_mems: text(&limits.cpuset_mems),
            devices: spec.devices.iter().map(Device::of).collect(),
            device_cgroup_rules: list(&spec.device_rules),
            memory_reservation: limits.memory_reservation.unwrap_or_default(),
            memory_swap: limits.memory_and_swap().unwrap_or_default(),
            memory_swappiness: limits.memory_swappiness,
            oom_kill_disable: Some(limits.oom_kill_disable),
            pids_limit: limits.pids,
            ulimits: spec.ulimits.iter().map(Limit::of).collect(),
            masked_paths: paths(hidden.masked),
            readonly_paths: paths(hidden.read_only),
            ..Self::default()
        }
    }
}

impl RestartRule {
    fn of(policy: RestartPolicy) -> Self {
        let (name, count) = match policy {
            RestartPolicy::No => ("no", 0),
            RestartPolicy::OnFailure { max } => ("on-failure", max.unwrap_or_default()),
            RestartPolicy::Always => ("always", 0),
            RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        };
        Self {
            name: name.to_owned(),
            maximum_retry_count: count,
        }
    }
}

impl Device {
    fn of(device: &DeviceMapping) -> Self {
        Self {
            path_on_host: device.host.display().to_string(),
            path_in_container: device.container.clone(),
            cgroup_permissions: device.permissions.clone(),
        }
    }
}

impl Limit {
    fn of(limit: &Ulimit) -> Self {
        let bounded = |limit: u64| i64::try_from(limit).unwrap_or(-1);
        Self {
            name: limit.name.clone(),
            hard: bounded(limit.hard),
            soft: bounded(limit.soft),
        }
    }
}

/// A namespace as its flag names it, with the word for the container's own.
fn mode(mode: &NamespaceMode, own: &str) -> String {
    match mode {
        NamespaceMode::Private => own.to_owned(),
        NamespaceMode::Shareable => "shareable".to_owned(),
        NamespaceMode::Bare => "none".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Instance(id) => format!("container:{id}"),
    }
}
