//! Limits and the device filter.

use cove_model::instance::{InstanceSpec, Limits};
use oci_spec::runtime::{
    LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder,
    LinuxDeviceType, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};

use super::{Device, invalid};
use crate::error::{Error, Result};

/// Processes per instance when the user does not say; Podman's default.
pub const DEFAULT_PIDS: i64 = 2048;
/// Microseconds of a scheduling period when only the share is given.
const DEFAULT_PERIOD: u64 = 100_000;

/// The limits of an instance and which devices it may use. `default_pids` is
/// the number of processes when the user does not say, where the host can
/// limit them at all.
///
/// # Errors
/// When a value is out of range.
pub fn resources(
    spec: &InstanceSpec,
    devices: &[Device],
    default_pids: Option<i64>,
) -> Result<LinuxResources> {
    let limits = &spec.limits;
    let mut builder = LinuxResourcesBuilder::default().devices(device_rules(spec, devices)?);
    let mut memory = LinuxMemoryBuilder::default();
    let mut has_memory = false;
    if let Some(bytes) = limits.memory {
        memory = memory.limit(signed(bytes)?);
        has_memory = true;
    }
    if let Some(bytes) = limits.memory_reservation {
        memory = memory.reservation(signed(bytes)?);
        has_memory = true;
    }
    if let Some(bytes) = limits.memory_and_swap() {
        memory = memory.swap(bytes);
        has_memory = true;
    }
    if let Some(percent) = limits.memory_swappiness {
        memory = memory.swappiness(percent);
        has_memory = true;
    }
    if limits.oom_kill_disable {
        memory = memory.disable_oom_killer(true);
        has_memory = true;
    }
    if has_memory {
        builder = builder.memory(memory.build().map_err(invalid)?);
    }
    let mut cpu = LinuxCpuBuilder::default();
    let mut has_cpu = false;
    if let Some(shares) = limits.cpu_shares {
        cpu = cpu.shares(shares);
        has_cpu = true;
    }
    let (quota, period) = quota(limits)?;
    if let Some(quota) = quota {
        cpu = cpu.quota(quota);
        has_cpu = true;
    }
    if let Some(period) = period {
        cpu = cpu.period(period);
        has_cpu = true;
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        cpu = cpu.cpus(cpus.clone());
        has_cpu = true;
    }
    if let Some(nodes) = &limits.cpuset_mems {
        cpu = cpu.mems(nodes.clone());
        has_cpu = true;
    }
    if has_cpu {
        builder = builder.cpu(cpu.build().map_err(invalid)?);
    }
    if let Some(weight) = limits.blkio_weight {
        let block = LinuxBlockIoBuilder::default()
            .weight(weight)
            .build()
            .map_err(invalid)?;
        builder = builder.block_io(block);
    }
    if let Some(processes) = limits.pids.or(default_pids) {
        let processes = if processes <= 0 { -1 } else { processes };
        let pids = LinuxPidsBuilder::default()
            .limit(processes)
            .build()
            .map_err(invalid)?;
        builder = builder.pids(pids);
    }
    builder.build().map_err(invalid)
}

/// The same limits without the device filter, which an update leaves alone.
#[must_use]
pub fn without_devices(mut resources: LinuxResources) -> LinuxResources {
    resources.set_devices(None);
    resources
}

fn quota(limits: &Limits) -> Result<(Option<i64>, Option<u64>)> {
    match limits.nano_cpus {
        Some(nanos) => {
            let quota = signed(nanos.saturating_mul(DEFAULT_PERIOD) / 1_000_000_000)?;
            Ok((Some(quota), Some(DEFAULT_PERIOD)))
        }
        None => Ok((limits.cpu_quota, limits.cpu_period)),
    }
}

fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::Invalid(format!("{value} is too large for a limit")))
}

/// The filter: nothing, then node creation, the harmless devices, and those
/// the user named. A privileged instance may use all.
fn device_rules(spec: &InstanceSpec, devices: &[Device]) -> Result<Vec<LinuxDeviceCgroup>> {
    if spec.security.privileged {
        return Ok(vec![rule(true, LinuxDeviceType::A, None, None, "rwm")?]);
    }
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, None, None, "rwm")?,
        rule(true, LinuxDeviceType::C, None, None, "m")?,
        rule(true, LinuxDeviceType::B, None, None, "m")?,
    ];
    // null, zero, full, random, urandom, tty, console, ptmx, pseudo-terminals.
    for (major, minor) in [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ] {
        rules.push(rule(true, LinuxDeviceType::C, Some(major), minor, "rwm")?);
    }
    for Device { node, access } in devices {
        rules.push(rule(
            true,
            node.typ(),
            Some(node.major()),
            Some(node.minor()),
            access,
        )?);
    }
    for text in &spec.device_rules {
        rules.push(device_rule(text)?);
    }
    Ok(rules)
}

/// A rule in Docker's words: `c 1:3 rwm`, `b *:* r`, `a`.
pub(crate) fn device_rule(text: &str) -> Result<LinuxDeviceCgroup> {
    let bad = || Error::Invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut parts = text.split_whitespace();
    let kind = match parts.next() {
        Some("a") => LinuxDeviceType::A,
        Some("b") => LinuxDeviceType::B,
        Some("c") => LinuxDeviceType::C,
        _ => return Err(bad()),
    };
    let numbers = parts.next().ok_or_else(bad)?;
    let access = parts.next().ok_or_else(bad)?;
    if parts.next().is_some() || access.is_empty() || access.chars().any(|c| !"rwm".contains(c)) {
        return Err(bad());
    }
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits
            .parse::<u32>()
            .map(|n| Some(i64::from(n)))
            .map_err(|_| bad()),
    };
    rule(true, kind, number(major)?, number(minor)?, access)
}

fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup> {
    let mut builder = LinuxDeviceCgroupBuilder::default()
        .allow(allow)
        .typ(kind)
        .access(access);
    if let Some(major) = major {
        builder = builder.major(major);
    }
    if let Some(minor) = minor {
        builder = builder.minor(minor);
    }
    builder.build().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_processors_become_a_quota() {
        let limits = Limits {
            nano_cpus: Some(1_500_000_000),
            ..Limits::default()
        };
        assert_eq!(quota(&limits).unwrap(), (Some(150_000), Some(100_000)));
    }

    #[test]
    fn device_rules_follow_dockers_grammar() {
        for good in ["c 1:3 rwm", "b *:* r", "a *:* m", "c 10:* rw"] {
            assert!(device_rule(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "c",
            "c 1 rwm",
            "x 1:3 r",
            "c 1:3 x",
            "c 1:3 rwm more",
            "c -1:3 r",
        ] {
            assert!(device_rule(bad).is_err(), "{bad}");
        }
    }
}
