//! Kernel parameters by name: where procfs has them, and which namespaces have one of their own.

use std::path::{Component, Path};

use crate::ns;

/// A kernel parameter that is not the host's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Its file below `/proc/sys`: plain components, none of which leads upwards.
    pub file: String,
    /// The `CLONE_NEW*` bit of the namespaces that have one each.
    pub namespace: u64,
}

/// Those below `kernel/` that every IPC namespace has of its own.
const IPC: [&str; 8] = [
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "shmall",
    "shmmax",
    "shmmni",
    "shm_rmid_forced",
];

impl Sysctl {
    /// Reads a name with dots or with slashes, as sysctl(8) does; `None` if no kind of namespace
    /// has the parameter to itself. What decides is the path the name stands for: a slash between
    /// dots is a dot of the path, so a name's beginning says nothing about where it leads.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let file = path_of(name);
        let plain = |part: &str| {
            let mut parts = Path::new(part).components();
            matches!(parts.next(), Some(Component::Normal(_))) && !part.contains('\0')
        };
        let parts: Vec<&str> = file.split('/').collect();
        if !parts.iter().all(|part| plain(part)) {
            return None;
        }
        let namespace = match parts[..] {
            ["net", _, ..] => ns::NET,
            ["user", _, ..] => ns::USER,
            ["fs", "mqueue", _, ..] => ns::IPC,
            ["kernel", "hostname" | "domainname"] => ns::UTS,
            ["kernel", name] if IPC.contains(&name) => ns::IPC,
            _ => return None,
        };
        Some(Self { file, namespace })
    }
}

/// `net.ipv4.conf.eth0/1.forwarding` has its slashes and dots the other way round on disk. A name
/// whose first separator is a slash is the path already.
fn path_of(name: &str) -> String {
    if name.find(['.', '/']).map(|at| name.as_bytes()[at]) != Some(b'.') {
        return name.to_owned();
    }
    name.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds() {
        for (name, file, namespace) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", ns::NET),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward", ns::NET),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
                ns::NET,
            ),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "net/ipv4/conf/eth0.1/forwarding",
                ns::NET,
            ),
            ("kernel.shmmax", "kernel/shmmax", ns::IPC),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max", ns::IPC),
            ("kernel/domainname", "kernel/domainname", ns::UTS),
            (
                "user.max_net_namespaces",
                "user/max_net_namespaces",
                ns::USER,
            ),
        ] {
            let file = file.to_owned();
            assert_eq!(
                Sysctl::parse(name),
                Some(Sysctl { file, namespace }),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_the_hosts_or_leads_there_is_refused() {
        for name in [
            "",
            "net",
            "net.",
            "net..ipv4",
            "net//ipv4",
            "/net/ipv4/ip_forward",
            "net.ipv4.ip_forward\0",
            "kernel.core_pattern",
            "kernel.shmmax.x",
            "fs.file-max",
            "network.x",
            "net/../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "net/./ipv4/ip_forward",
            "net.ipv4.//.//.kernel.core_pattern",
            "fs/mqueue/../file-max",
        ] {
            assert_eq!(Sysctl::parse(name), None, "{name:?}");
        }
    }
}
