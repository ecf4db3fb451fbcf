//! The mounts of an instance: those every container has, the files that Cove
//! writes for it, and the user's.

use std::path::PathBuf;

use cove_model::instance::{InstanceSpec, MountSource, NamespaceMode};
use oci_spec::runtime::{Mount, MountBuilder};

use super::{Facts, INIT_PATH, invalid};
use crate::error::Result;

/// Bytes of `/dev/shm` when the user does not say.
const DEFAULT_SHM: u64 = 64 << 20;

/// All mounts in the order they are made: a later one may lie in an earlier.
pub(super) fn mounts(spec: &InstanceSpec, facts: &Facts<'_>) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for (target, kind, options) in basics(spec) {
        if !covered(spec, target) {
            mounts.push(mount(target, kind, kind.into(), options)?);
        }
    }
    if !covered(spec, "/dev/shm") {
        mounts.extend(shared_memory(spec, facts)?);
    }
    let mut files = vec!["hosts", "resolv.conf"];
    if spec.namespaces.uts != NamespaceMode::Host {
        files.push("hostname");
    }
    // Part of the root to whoever asks for a read-only one.
    let access = if spec.read_only_root { "ro" } else { "rw" };
    for file in files {
        let target = format!("/etc/{file}");
        if !covered(spec, &target) {
            let options = ["rbind", access, "rprivate"];
            mounts.push(bind(facts.files.join(file), &target, &options)?);
        }
    }
    if spec.init == Some(true) {
        mounts.push(bind(
            facts.executable.clone(),
            INIT_PATH,
            &["bind", "ro", "nosuid", "nodev"],
        )?);
    }
    // Outer before inner, whatever the order of the flags.
    let mut users: Vec<_> = spec.mounts.iter().collect();
    users.sort_by_key(|mount| {
        mount
            .target
            .split('/')
            .filter(|part| !part.is_empty())
            .count()
    });
    for user in users {
        let access = if user.read_only { "ro" } else { "rw" };
        mounts.push(match &user.source {
            MountSource::Bind {
                path,
                propagation,
                non_recursive,
                create: _,
            } => {
                let kind = if *non_recursive { "bind" } else { "rbind" };
                let propagation = propagation.as_deref().unwrap_or("rprivate");
                bind(path.clone(), &user.target, &[kind, access, propagation])?
            }
            MountSource::Tmpfs { options, .. } => {
                let mut list = vec!["nosuid", "nodev", "noexec", access];
                list.extend(options.split(',').filter(|option| !option.is_empty()));
                mount(&user.target, "tmpfs", "tmpfs".into(), &list)?
            }
        });
    }
    Ok(mounts)
}

/// What the root lets through for the user's mounts to be more than private,
/// as Docker sets it.
pub(super) fn root_propagation(spec: &InstanceSpec) -> Option<&'static str> {
    let asks = |word: &str| {
        spec.mounts.iter().any(|mount| match &mount.source {
            MountSource::Bind { propagation, .. } => propagation
                .as_deref()
                .is_some_and(|given| given.ends_with(word)),
            MountSource::Tmpfs { .. } => false,
        })
    };
    if asks("shared") {
        Some("shared")
    } else {
        asks("slave").then_some("rslave")
    }
}

/// Whether the user mounts something at this very place.
fn covered(spec: &InstanceSpec, target: &str) -> bool {
    spec.mounts
        .iter()
        .any(|mount| mount.target.trim_end_matches('/') == target)
}

type Basic = (&'static str, &'static str, &'static [&'static str]);

fn basics(spec: &InstanceSpec) -> Vec<Basic> {
    let mut list: Vec<Basic> = vec![
        ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        (
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        (
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
    ];
    let privileged = spec.security.privileged;
    list.push(if privileged {
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev"])
    } else {
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    });
    list.push(if privileged {
        (
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime"],
        )
    } else {
        (
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        )
    });
    list.push(("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    list
}

/// POSIX shared memory belongs to whom the IPC namespace belongs.
fn shared_memory(spec: &InstanceSpec, facts: &Facts<'_>) -> Result<Option<Mount>> {
    let theirs = match spec.namespaces.ipc {
        NamespaceMode::Bare => return Ok(None),
        NamespaceMode::Private | NamespaceMode::Shareable => None,
        NamespaceMode::Host => Some("/dev/shm".into()),
        NamespaceMode::Instance(_) => Some(facts.shm.clone()),
    };
    if let Some(source) = theirs {
        return bind(source, "/dev/shm", &["rbind", "rprivate"]).map(Some);
    }
    let size = if spec.shm_size == 0 {
        DEFAULT_SHM
    } else {
        spec.shm_size
    };
    let size = format!("size={size}");
    mount(
        "/dev/shm",
        "tmpfs",
        "shm".into(),
        &["nosuid", "noexec", "nodev", "mode=1777", &size],
    )
    .map(Some)
}

fn bind(source: PathBuf, target: &str, options: &[&str]) -> Result<Mount> {
    mount(target, "bind", source, options)
}

fn mount(target: &str, kind: &str, source: PathBuf, options: &[&str]) -> Result<Mount> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(super::strings(options))
        .build()
        .map_err(invalid)
}
