//! Limits that cannot be: said in Docker's words when they are asked for, not
//! by the kernel when the container starts.

use std::collections::BTreeSet;
use std::path::Path;

use cove_model::instance::Limits;

use crate::HostAbilities;
use crate::error::{Error, Result};

/// The least memory a container can be limited to, as with Docker.
const MIN_MEMORY: u64 = 6 << 20;
/// What the kernel takes as a weight of processors.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// A set is a short text; a list of all processors of a large machine too.
const MAX_SET: u64 = 64 << 10;

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    processors: u64,
    /// As the kernel lists them.
    cpus: String,
    nodes: String,
    /// `None` where there is nothing that it would have to keep.
    abilities: Option<HostAbilities>,
}

impl Host {
    /// This one. What no limit asks for is not looked up.
    pub(super) fn of(limits: &Limits) -> Self {
        let set = |wanted: &Option<String>, files: &[&str]| {
            let found = files.iter().filter(|_| wanted.is_some()).find_map(|file| {
                let text = cove_sys::fs::read_to_string(Path::new(file), MAX_SET).ok()?;
                Some(text.trim().to_owned()).filter(|text| !text.is_empty())
            });
            found.unwrap_or_default()
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            abilities: (*limits != Limits::default()).then(HostAbilities::look),
            processors: u64::try_from(processors).unwrap_or(u64::MAX),
            cpus: set(
                &limits.cpuset_cpus,
                &[
                    "/sys/fs/cgroup/cpuset.cpus.effective",
                    "/sys/fs/cgroup/cpuset/cpuset.cpus",
                    "/sys/devices/system/cpu/online",
                ],
            ),
            nodes: set(
                &limits.cpuset_mems,
                &[
                    "/sys/fs/cgroup/cpuset.mems.effective",
                    "/sys/fs/cgroup/cpuset/cpuset.mems",
                    "/sys/devices/system/node/online",
                ],
            ),
        }
    }
}

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

/// Limits that are too small, contradict each other or ask for more than the host has are
/// refused.
pub(super) fn check(limits: &Limits, host: &Host) -> Result<()> {
    memory(limits)?;
    processors(limits, host)?;
    set("cpus", "CPUs", limits.cpuset_cpus.as_deref(), &host.cpus)?;
    set(
        "mems",
        "memory nodes",
        limits.cpuset_mems.as_deref(),
        &host.nodes,
    )
}

/// Leaves out the limits that the host cannot keep, and says in Docker's words which. A share
/// of the processors is not left out but refused, as with Docker.
pub(super) fn keepable(limits: &mut Limits, host: &Host) -> Result<Vec<String>> {
    let Some(able) = &host.abilities else {
        return Ok(Vec::new());
    };
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    if limits.memory.is_some() && !able.memory {
        warn(
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
        );
        limits.memory = None;
        limits.memory_swap = None;
    }
    if limits.memory.is_some() && limits.memory_swap != Some(-1) && !able.swap {
        warn(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
        );
        limits.memory_swap = Some(-1);
    }
    if limits.memory_swappiness.is_some() && !able.swappiness {
        warn(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
        );
        limits.memory_swappiness = None;
    }
    if limits.memory_reservation.is_some() && !able.memory_reservation {
        warn(
            "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
        );
        limits.memory_reservation = None;
    }
    if limits.oom_kill_disable && !able.oom_kill_disable {
        warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
        limits.oom_kill_disable = false;
    }
    if limits.oom_kill_disable && limits.memory.is_none() {
        warn(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
        );
    }
    if let Some(processes) = limits.pids.filter(|_| !able.pids) {
        if processes > 0 {
            warn(
                "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
            );
        }
        limits.pids = None;
    }
    if limits.nano_cpus.is_some() && !(able.cpu_quota && able.cpu_period) {
        return invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        );
    }
    if limits.cpu_shares.is_some() && !able.cpu_shares {
        warn(
            "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
        );
        limits.cpu_shares = None;
    }
    if (limits.cpu_period.is_some() || limits.cpu_quota.is_some())
        && !(able.cpu_quota && able.cpu_period)
    {
        warn("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
        limits.cpu_period = None;
        limits.cpu_quota = None;
    }
    if (limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some()) && !able.cpuset {
        warn("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
        limits.cpuset_cpus = None;
        limits.cpuset_mems = None;
    }
    if limits.blkio_weight.is_some() && !able.blkio_weight {
        warn(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        );
        limits.blkio_weight = None;
    }
    Ok(warnings)
}

fn memory(limits: &Limits) -> Result<()> {
    let too_small =
        |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes != 0 && bytes < MIN_MEMORY);
    if too_small(limits.memory) {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if let (Some(memory), Some(swap)) = (limits.memory, limits.memory_swap)
        && swap >= 0
        && u64::try_from(swap).is_ok_and(|swap| swap < memory)
    {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if limits.memory.is_none() && limits.memory_swap.is_some_and(|swap| swap > 0) {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if too_small(limits.memory_reservation) {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if let (Some(memory), Some(reservation)) = (limits.memory, limits.memory_reservation)
        && memory < reservation
    {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn processors(limits: &Limits, host: &Host) -> Result<()> {
    if let Some(nanos) = limits.nano_cpus {
        if limits.cpu_period.is_some() {
            return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
        }
        if limits.cpu_quota.is_some() {
            return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        }
        let most = host.processors.saturating_mul(1_000_000_000);
        if !(10_000_000..=most).contains(&nanos) {
            let count = host.processors;
            return invalid(format!(
                "Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            ));
        }
    }
    if let Some(shares) = limits.cpu_shares {
        if shares < *SHARES.start() {
            return invalid(format!(
                "the minimum allowed cpu-shares is {}",
                SHARES.start()
            ));
        }
        if shares > *SHARES.end() {
            return invalid(format!(
                "the maximum allowed cpu-shares is {}",
                SHARES.end()
            ));
        }
    }
    if limits
        .cpu_period
        .is_some_and(|period| !(1000..=1_000_000).contains(&period))
    {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if limits
        .cpu_quota
        .is_some_and(|quota| (1..1000).contains(&quota))
    {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    Ok(())
}

/// A set that a user wants, of what there is.
fn set(flag: &str, what: &str, wanted: Option<&str>, available: &str) -> Result<()> {
    let Some(wanted) = wanted.filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let Some(numbers) = numbers(wanted) else {
        return invalid(format!(
            "Invalid value {wanted} for cpuset {flag}: invalid format: {wanted}"
        ));
    };
    // A host that does not say what it has is asked when the container starts.
    let there = |list: BTreeSet<u32>| numbers.is_subset(&list);
    if self::numbers(available).is_none_or(there) {
        return Ok(());
    }
    invalid(format!(
        "Requested {what} are not available - requested {wanted}, available: {available}"
    ))
}

/// The numbers of a list as `0-2,4`; `None`: it is none. As with Docker, a number has a
/// bound, so that no list fills the memory.
fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    const MOST: u32 = 8192;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|n| digits && *n <= MOST)
    };
    let mut found = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            processors: 2,
            cpus: "0-1".to_owned(),
            nodes: "0".to_owned(),
            abilities: Some(HostAbilities::default()),
        }
    }

    #[test]
    fn what_the_host_cannot_keep_is_left_out_and_told() {
        let asked = Limits {
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            memory_swappiness: Some(10),
            oom_kill_disable: true,
            cpu_shares: Some(10),
            cpu_quota: Some(5000),
            cpuset_cpus: Some("0".to_owned()),
            pids: Some(9),
            blkio_weight: Some(300),
            ..Limits::default()
        };
        let mut kept = asked.clone();
        let warnings = keepable(&mut kept, &host()).unwrap();
        assert_eq!(kept, Limits::default());
        assert_eq!(warnings.len(), 9, "{warnings:?}");

        let able = HostAbilities {
            memory: true,
            memory_reservation: true,
            swappiness: true,
            oom_kill_disable: true,
            cpu_quota: true,
            cpu_period: true,
            cpu_shares: true,
            cpuset: true,
            pids: true,
            blkio_weight: true,
            ..HostAbilities::default()
        };
        let host = |abilities| Host {
            abilities: Some(abilities),
            ..host()
        };
        let mut kept = asked.clone();
        assert_eq!(
            keepable(&mut kept, &host(able)).unwrap(),
            [
                "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
            ]
        );
        assert_eq!(kept.memory_swap, Some(-1));

        let all = host(HostAbilities { swap: true, ..able });
        let mut kept = asked.clone();
        assert_eq!(keepable(&mut kept, &all).unwrap(), [""; 0]);
        assert_eq!(kept, asked);
        let mut unkillable = Limits {
            oom_kill_disable: true,
            ..Limits::default()
        };
        assert_eq!(keepable(&mut unkillable, &all).unwrap().len(), 1);
        assert!(unkillable.oom_kill_disable);

        let mut share = Limits {
            nano_cpus: Some(1_000_000_000),
            ..Limits::default()
        };
        assert!(keepable(&mut share, &self::host()).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused_in_dockers_words() {
        let set = |cpus: &str, mems: &str| {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Limits {
                cpuset_cpus: text(cpus),
                cpuset_mems: text(mems),
                ..Limits::default()
            }
        };
        let memory = |memory, memory_swap, memory_reservation| Limits {
            memory,
            memory_swap,
            memory_reservation,
            ..Limits::default()
        };
        let cpu = |nano_cpus, cpu_quota, cpu_period, cpu_shares| Limits {
            nano_cpus,
            cpu_quota,
            cpu_period,
            cpu_shares,
            ..Limits::default()
        };
        const M: u64 = 1 << 20;
        for (limits, message) in [
            (
                set("99", ""),
                "Requested CPUs are not available - requested 99, available: 0-1",
            ),
            (
                set("0-99", ""),
                "Requested CPUs are not available - requested 0-99, available: 0-1",
            ),
            (
                set("abc", ""),
                "Invalid value abc for cpuset cpus: invalid format: abc",
            ),
            (
                set("1-0", ""),
                "Invalid value 1-0 for cpuset cpus: invalid format: 1-0",
            ),
            (
                set("0,", ""),
                "Invalid value 0, for cpuset cpus: invalid format: 0,",
            ),
            (
                set("+1", ""),
                "Invalid value +1 for cpuset cpus: invalid format: +1",
            ),
            (
                set("0-4294967295", ""),
                "Invalid value 0-4294967295 for cpuset cpus: invalid format: 0-4294967295",
            ),
            (
                set("", "9"),
                "Requested memory nodes are not available - requested 9, available: 0",
            ),
            (
                set("", "x"),
                "Invalid value x for cpuset mems: invalid format: x",
            ),
            (
                memory(Some(5 * M), None, None),
                "Minimum memory limit allowed is 6MB",
            ),
            (
                memory(None, None, Some(5 * M)),
                "Minimum memory reservation allowed is 6MB",
            ),
            (
                memory(Some(64 * M), Some(32 << 20), None),
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                memory(None, Some(32 << 20), None),
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                memory(Some(32 * M), None, Some(64 * M)),
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (
                cpu(Some(3_000_000_000), None, None, None),
                "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (
                cpu(Some(1_000_000), None, None, None),
                "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (
                cpu(Some(1_000_000_000), Some(5000), None, None),
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (
                cpu(Some(1_000_000_000), None, Some(5000), None),
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (
                cpu(None, None, Some(10), None),
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (
                cpu(None, Some(10), None, None),
                "CPU cfs quota can not be less than 1ms (i.e. 1000)",
            ),
            (
                cpu(None, None, None, Some(1)),
                "the minimum allowed cpu-shares is 2",
            ),
            (
                cpu(None, None, None, Some(1 << 20)),
                "the maximum allowed cpu-shares is 262144",
            ),
        ] {
            let error = check(&limits, &host()).unwrap_err().to_string();
            assert_eq!(error, message);
        }
        for limits in [
            Limits::default(),
            set("0,1", "0"),
            set("0-1", ""),
            memory(Some(64 * M), Some(-1), Some(64 * M)),
            cpu(None, Some(-1), Some(1000), Some(2)),
            cpu(Some(2_000_000_000), None, None, None),
        ] {
            assert!(check(&limits, &host()).is_ok(), "{limits:?}");
        }
    }
}
