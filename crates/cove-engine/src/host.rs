//! What the host offers, as `info` tells it: each looked up, none assumed.

use std::path::{Path, PathBuf};

use cove_image::{Environment, Registries};
use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::Engine;

/// A file of /proc or /etc that is read here.
const MAX_FILE: u64 = 64 << 10;
const CGROUPS: &str = "/sys/fs/cgroup";

/// What the host can do for instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostAbilities {
    /// Version of the cgroups that limits are kept by, 1 or 2.
    pub cgroup_version: u8,
    /// Limits of memory.
    pub memory: bool,
    /// Limits of memory and swap together.
    pub swap: bool,
    /// Soft limits of memory.
    pub memory_reservation: bool,
    /// How readily memory is swapped out.
    pub swappiness: bool,
    /// The out-of-memory killer can be turned off.
    pub oom_kill_disable: bool,
    /// Weights of block input and output.
    pub blkio_weight: bool,
    /// Quotas of processor time.
    pub cpu_quota: bool,
    /// The period of such a quota.
    pub cpu_period: bool,
    /// Weights of processor time.
    pub cpu_shares: bool,
    /// Sets of processors and memory nodes.
    pub cpuset: bool,
    /// Limits of the number of processes.
    pub pids: bool,
    /// The host forwards packets.
    pub ipv4_forwarding: bool,
    /// AppArmor is in force.
    pub apparmor: bool,
}

/// What a plan depends on besides the request and the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The host's name.
    pub name: String,
    /// SELinux is in force.
    pub selinux: bool,
}

impl HostFacts {
    /// Looks at the host.
    #[must_use]
    pub fn look() -> Self {
        let system = rustix::system::uname();
        Self {
            name: system.nodename().to_string_lossy().into_owned(),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

impl HostAbilities {
    /// Looks at the host.
    #[must_use]
    pub fn look() -> Self {
        let controllers = cove_sandbox::cgroup::Host::detect()
            .and_then(|host| host.controllers())
            .unwrap_or_default();
        let has = |name: &str| controllers.iter().any(|controller| controller == name);
        let unified = at("cgroup.controllers").exists();
        let file = |controller: &str, name: &str| at(controller).join(name).exists();
        let common = Self {
            memory: has("memory"),
            cpuset: has("cpuset"),
            pids: has("pids"),
            ipv4_forwarding: text("/proc/sys/net/ipv4/ip_forward").trim() == "1",
            apparmor: cove_sandbox::has_apparmor(),
            ..Self::default()
        };
        if unified {
            return Self {
                cgroup_version: 2,
                swap: own_group().join("memory.swap.max").exists(),
                memory_reservation: has("memory"),
                blkio_weight: ["io.weight", "io.bfq.weight"]
                    .iter()
                    .any(|name| own_group().join(name).exists()),
                cpu_quota: has("cpu"),
                cpu_period: has("cpu"),
                cpu_shares: has("cpu"),
                ..common
            };
        }
        Self {
            cgroup_version: 1,
            swap: file("memory", "memory.memsw.limit_in_bytes"),
            memory_reservation: file("memory", "memory.soft_limit_in_bytes"),
            swappiness: file("memory", "memory.swappiness"),
            blkio_weight: file("blkio", "blkio.weight") || file("blkio", "blkio.bfq.weight"),
            oom_kill_disable: file("memory", "memory.oom_control"),
            cpu_quota: file("cpu", "cpu.cfs_quota_us"),
            cpu_period: file("cpu", "cpu.cfs_period_us"),
            cpu_shares: file("cpu", "cpu.shares"),
            ..common
        }
    }

    /// What is missing, in the words of Docker's `info`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let missing = [
            (self.memory, "No memory limit support"),
            (self.swap, "No swap limit support"),
            (
                self.oom_kill_disable || self.cgroup_version != 1,
                "No oom kill disable support",
            ),
            (self.cpu_quota, "No cpu cfs quota support"),
            (self.cpu_period, "No cpu cfs period support"),
            (self.cpu_shares, "No cpu shares support"),
            (self.cpuset, "No cpuset support"),
            (self.ipv4_forwarding, "IPv4 forwarding is disabled"),
        ];
        let missing = missing.iter().filter(|(there, _)| !there);
        missing
            .map(|(_, text)| format!("WARNING: {text}"))
            .collect()
    }
}

fn at(name: &str) -> PathBuf {
    Path::new(CGROUPS).join(name)
}

fn text(path: &str) -> String {
    cove_sys::fs::read_to_string(Path::new(path), MAX_FILE).unwrap_or_default()
}

/// The group that we are in: the root of a hierarchy has no files of limits.
fn own_group() -> PathBuf {
    let own = text("/proc/self/cgroup");
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    at(path.unwrap_or_default().trim_start_matches('/'))
}

/// Where images without a registry come from, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Places that are asked before it.
    pub mirrors: Vec<String>,
    /// It is only spoken to over TLS that is verified.
    pub secure: bool,
}

impl Index {
    /// What registries.conf(5) says of Docker's registry.
    #[must_use]
    pub fn configured() -> Self {
        let registries = Registries::load(&Environment::of_process()).unwrap_or_default();
        let registry = registries
            .registries()
            .iter()
            .find(|registry| registry.prefix == "docker.io");
        Self {
            mirrors: registry.map_or_else(Vec::new, |registry| {
                let mirrors = registry.mirrors.iter();
                mirrors.map(|mirror| mirror.location.clone()).collect()
            }),
            secure: registry.is_none_or(|registry| !registry.insecure),
        }
    }
}

impl Engine {
    /// What tells this installation from any other, also from one that follows it in the
    /// same place: made of the machine and of the directory, so that nothing is written to
    /// answer a question.
    #[must_use]
    pub fn identity(&self) -> String {
        let root = &self.roots.root;
        let flags = StatxFlags::INO | StatxFlags::BTIME;
        let seen = rustix::fs::statx(CWD, root, AtFlags::empty(), flags)
            .map(|stat| (stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
            .unwrap_or_default();
        let facts = format!("{}{}{seen:?}", text("/etc/machine-id"), root.display());
        // FNV-1a, forwards and backwards.
        let hash = |bytes: &mut dyn Iterator<Item = u8>| {
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
        };
        let (one, two) = (hash(&mut facts.bytes()), hash(&mut facts.bytes().rev()));
        let hex = format!("{one:016x}{two:016x}");
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &hex[range]);
        parts.join("-")
    }

    /// The kind of file system that images and containers are kept on, by the names that
    /// Docker has for them.
    pub(crate) fn backing_file_system(&self) -> &'static str {
        let magic = rustix::fs::statfs(&self.roots.root).map_or(0, |stat| i128::from(stat.f_type));
        match magic {
            0xEF53 => "extfs",
            0x5846_5342 => "xfs",
            0x9123_683E => "btrfs",
            0x0102_1994 => "tmpfs",
            0x2FC1_2FC1 => "zfs",
            0x794C_7630 => "overlayfs",
            0xF2F5_2010 => "f2fs",
            _ => "<unknown>",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let all = HostAbilities {
            cgroup_version: 2,
            memory: true,
            swap: true,
            cpu_quota: true,
            cpu_period: true,
            cpu_shares: true,
            cpuset: true,
            pids: true,
            ipv4_forwarding: true,
            ..HostAbilities::default()
        };
        assert_eq!(all.warnings(), [""; 0]);
        let some = HostAbilities {
            cgroup_version: 1,
            swap: false,
            ..all
        };
        assert_eq!(
            some.warnings(),
            [
                "WARNING: No swap limit support",
                "WARNING: No oom kill disable support"
            ]
        );
    }
}
