//! `spec`: a `config.json` to start from, the one runc writes.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use cove_flags::flags;
use serde_json::{Value, json};

use crate::args;
use crate::failure::{Failure, Outcome};
use crate::{read, version};

flags! {
    /// What `spec` takes.
    pub(crate) struct SpecFlags {
        'b' bundle: Option<PathBuf> = path, "";
        rootless: bool = switch, "";
    }
}

pub(crate) fn spec(words: &[OsString]) -> Outcome {
    let (flags, _): (SpecFlags, _) = args::arguments(words, 0)?;
    let bundle = flags.bundle.unwrap_or_else(|| PathBuf::from("."));
    let mut document = example();
    if flags.rootless {
        make_rootless(&mut document);
    }
    let path = bundle.join("config.json");
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::new(format!("write {}: {error}", path.display())))?;
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o666).open(&path) {
        Ok(mut file) => {
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| file.write_all(b"\n"));
            written.map_err(|error| Failure::new(format!("write {}: {error}", path.display())))?;
            Ok(0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::new(
            format!("File {} exists. Remove it first", path.display()),
        )),
        Err(error) => Err(Failure::new(format!("write {}: {error}", path.display()))),
    }
}

fn example() -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    json!({
        "ociVersion": version::SPEC,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "cove",
        "mounts": [
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"])
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/proc/scsi"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ]
        }
    })
}

/// What an ordinary user can have: one user, the host's network, no limits.
fn make_rootless(document: &mut Value) {
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let linux = &mut document["linux"];
    linux["uidMappings"] = map(rustix::process::geteuid().as_raw());
    linux["gidMappings"] = map(rustix::process::getegid().as_raw());
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    if let Some(mounts) = document["mounts"].as_array_mut() {
        for mount in mounts.iter_mut() {
            match mount["destination"].as_str() {
                // sysfs belongs to the network namespace, which is the host's.
                Some("/sys") => {
                    *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
                }
                // Groups other than one's own do not exist.
                Some("/dev/pts") => {
                    if let Some(options) = mount["options"].as_array_mut() {
                        options.retain(|option| option != "gid=5");
                    }
                }
                _ => {}
            }
        }
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_specifications() {
        let mut document = example();
        serde_json::from_value::<oci_spec::runtime::Spec>(document.clone()).unwrap();
        make_rootless(&mut document);
        let spec: oci_spec::runtime::Spec = serde_json::from_value(document).unwrap();
        assert!(spec.linux().as_ref().unwrap().resources().is_none());
    }
}
