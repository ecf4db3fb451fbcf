//! Privileges: capabilities, the system-call filter, hidden paths.

use std::collections::HashSet;

use cove_model::glob;
use cove_model::image::Platform;
use cove_model::instance::{InstanceSpec, SeccompProfile, Security};
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxSeccomp,
};

use super::{invalid, profile};
use crate::error::{Error, Result};

/// What neither Docker nor Podman shows a container.
const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What neither Docker nor Podman lets a container change.
const READONLY_PATHS: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The paths of an instance that are not as the kernel has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Not seen.
    pub masked: Vec<String>,
    /// Not changed.
    pub read_only: Vec<String>,
}

/// What an instance neither sees nor changes.
#[must_use]
pub fn hidden(security: &Security) -> Hidden {
    if security.privileged || security.unmasked {
        return Hidden {
            masked: security.mask.clone(),
            read_only: Vec::new(),
        };
    }
    let shown = |path: &str| {
        security
            .unmask
            .iter()
            .any(|pattern| glob::matches(pattern, path))
    };
    let kept = |paths: &[&str]| -> Vec<String> {
        let kept = paths.iter().filter(|path| !shown(path));
        kept.map(|&path| path.to_owned()).collect()
    };
    let mut masked = kept(MASKED_PATHS);
    masked.extend(security.mask.iter().cloned());
    Hidden {
        masked,
        read_only: kept(READONLY_PATHS),
    }
}

/// The AppArmor profile that a program is to have. Where the host has no AppArmor, what
/// names no confinement, or the one that everybody has, asks for nothing.
pub(super) fn apparmor(security: &Security, enabled: impl Fn() -> bool) -> Option<String> {
    let profile = security.apparmor.as_deref()?;
    let asks_nothing = matches!(profile, "" | "unconfined" | "docker-default");
    (!asks_nothing || enabled()).then(|| profile.to_owned())
}

/// Podman's eleven, all of which are in Docker's fourteen: no device nodes,
/// no raw sockets, no audit records.
const DEFAULT_CAPABILITIES: [Capability; 11] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// The capabilities of a program that runs as `uid`. Nobody but root starts
/// with any; what a set-user-id program may gain is bounded all the same.
/// The inheritable set is empty (CVE-2022-24769).
///
/// # Errors
/// When a name is no capability.
pub fn capabilities(security: &Security, uid: u32) -> Result<LinuxCapabilities> {
    let bounding = bounding(security)?;
    let held = if uid == 0 {
        bounding.clone()
    } else {
        Capabilities::new()
    };
    LinuxCapabilitiesBuilder::default()
        .bounding(bounding)
        .permitted(held.clone())
        .effective(held)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
        .map_err(invalid)
}

fn bounding(security: &Security) -> Result<Capabilities> {
    if security.privileged {
        return Ok(all());
    }
    let (add, add_all) = parse(&security.cap_add)?;
    let (drop, drop_all) = parse(&security.cap_drop)?;
    let mut set: Capabilities = match (add_all, drop_all) {
        (true, _) => all(),
        (false, true) => Capabilities::new(),
        (false, false) => DEFAULT_CAPABILITIES.into_iter().collect(),
    };
    // As with Docker: what is named wins over ALL, adding over dropping.
    set.retain(|capability| !drop.contains(capability));
    set.extend(add);
    Ok(set)
}

fn parse(names: &[String]) -> Result<(HashSet<Capability>, bool)> {
    let mut set = HashSet::new();
    let mut everything = false;
    for name in names {
        if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
            everything = true;
        } else {
            set.insert(capability(name)?);
        }
    }
    Ok((set, everything))
}

/// A capability by name, with or without `CAP_`, in any case.
pub(crate) fn capability(name: &str) -> Result<Capability> {
    let upper = name.to_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    ALL_CAPABILITIES
        .into_iter()
        .find(|capability| capability.to_string() == bare)
        .ok_or_else(|| Error::Invalid(format!("invalid capability: \"CAP_{bare}\"")))
}

fn all() -> Capabilities {
    ALL_CAPABILITIES.into_iter().collect()
}

/// Every capability that Linux knows; the runtime leaves out what an older
/// kernel does not.
const ALL_CAPABILITIES: [Capability; 41] = [
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setgid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

/// The instance's system-call filter; `None` is unconfined.
pub(super) fn seccomp(spec: &InstanceSpec) -> Result<Option<LinuxSeccomp>> {
    match &spec.security.seccomp {
        _ if spec.security.privileged => Ok(None),
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::Default => default_seccomp(&spec.security).map(Some),
        SeccompProfile::Custom(json) => {
            let platform = Platform::host();
            let release = rustix::system::uname();
            let facts = profile::Facts {
                capabilities: &bounding(&spec.security)?,
                architecture: &platform.architecture,
                kernel: profile::kernel_version(&release.release().to_string_lossy())?,
            };
            profile::parse(json, &facts).map(Some)
        }
    }
}

/// Cove's own filter for these privileges.
///
/// # Errors
/// When a name is no capability.
pub fn default_seccomp(security: &Security) -> Result<LinuxSeccomp> {
    let capabilities: Vec<_> = bounding(security)?.into_iter().collect();
    Ok(cove_sandbox::seccomp::default_profile(
        &capabilities,
        native(),
    ))
}

const fn native() -> Arch {
    if cfg!(target_arch = "x86_64") {
        Arch::ScmpArchX86_64
    } else if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else {
        Arch::ScmpArchRiscv64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_hidden_and_shown_as_podman_takes_them() {
        let with = |mask: &[&str], unmask: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect();
            hidden(&Security {
                mask: owned(mask),
                unmask: owned(unmask),
                ..Security::default()
            })
        };
        let all = with(&[], &[]);
        assert_eq!(all.masked, MASKED_PATHS);
        assert_eq!(all.read_only, READONLY_PATHS);
        let some = with(&["/a"], &["/proc/kcore", "/proc/sys"]);
        assert!(some.masked.contains(&"/a".to_owned()));
        assert!(!some.masked.contains(&"/proc/kcore".to_owned()));
        assert_eq!(some.masked.len(), MASKED_PATHS.len());
        assert_eq!(some.read_only.len(), READONLY_PATHS.len() - 1);
        let open = with(&[], &["/proc/*"]);
        assert!(
            open.masked.iter().all(|path| path.starts_with("/sys")),
            "{open:?}"
        );
        assert_eq!(open.read_only, [""; 0]);
    }

    #[test]
    fn no_confinement_asks_for_nothing_where_there_is_none() {
        for (profile, enabled, asked) in [
            (None, true, None),
            (Some("unconfined"), false, None),
            (Some("unconfined"), true, Some("unconfined")),
            (Some("docker-default"), false, None),
            (Some("tight"), false, Some("tight")),
        ] {
            let security = Security {
                apparmor: profile.map(str::to_owned),
                ..Security::default()
            };
            assert_eq!(
                apparmor(&security, || enabled).as_deref(),
                asked,
                "{profile:?}"
            );
        }
    }
}
