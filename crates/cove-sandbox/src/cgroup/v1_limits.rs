//! Limits in the terms of cgroup v1.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxThrottleDevice};
use rustix::io::Errno;

use super::burst::early_burst;
use super::devices::{Rule, allows_everything};
use super::dir::{Dir, write_all};
use super::error::{CgroupError, Result};
use super::groups::Groups;

const LIMIT: &str = "memory.limit_in_bytes";
const KERNEL: &str = "memory.kmem.limit_in_bytes";
const SWAP: &str = "memory.memsw.limit_in_bytes";

pub(super) fn memory(dir: &Dir, memory: &LinuxMemory) -> Result<()> {
    let limit = memory.limit().filter(|&limit| limit != 0);
    let swap = match (limit, memory.swap().filter(|&swap| swap != 0)) {
        // Lifting the limit lifts the sum as well, or it could not be lifted.
        (Some(-1), None) if dir.has(SWAP) => Some(-1),
        (_, swap) => swap,
    };
    limit_and_swap(dir, limit, swap)?;
    if let Some(reservation) = memory.reservation().filter(|&value| value != 0) {
        dir.write("memory.soft_limit_in_bytes", &reservation.to_string())?;
    }
    if let Some(kernel) = memory.kernel().filter(|&value| value != 0) {
        const ENOTSUPP: Errno = Errno::from_raw_os_error(524);
        let kernel = kernel.to_string();
        match dir.write_errno(KERNEL, &kernel) {
            // The specification lets it be ignored; kernels since 5.16 do.
            Ok(()) | Err(Errno::NOENT | Errno::OPNOTSUPP | ENOTSUPP) => {}
            Err(source) => return Err(dir.refused(KERNEL, &kernel, source)),
        }
    }
    if let Some(tcp) = memory.kernel_tcp().filter(|&value| value != 0) {
        dir.write("memory.kmem.tcp.limit_in_bytes", &tcp.to_string())?;
    }
    if memory.use_hierarchy() == Some(true) && dir.has("memory.use_hierarchy") {
        dir.write("memory.use_hierarchy", "1")?;
    }
    if memory.disable_oom_killer() == Some(true) {
        dir.write("memory.oom_control", "1")?;
    }
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            return Err(CgroupError::Value {
                limit: "memory.swappiness",
                value: swappiness.to_string(),
                reason: "it is between 0 and 100",
            });
        }
        dir.write("memory.swappiness", &swappiness.to_string())?;
    }
    Ok(())
}

/// The sum of memory and swap is never below the memory alone, so growing
/// starts with the sum and shrinking with the part.
fn limit_and_swap(dir: &Dir, limit: Option<i64>, swap: Option<i64>) -> Result<()> {
    if let Some(swap) = swap.filter(|_| !dir.has(SWAP)) {
        if swap < 0 {
            return limit.map_or(Ok(()), |limit| write_limit(dir, limit));
        }
        return Err(CgroupError::Unsupported {
            limit: "memory.swap",
            reason: "this kernel does not account swap (boot with swapaccount=1)",
        });
    }
    match (limit, swap) {
        (Some(limit), Some(swap)) if swap >= 0 && swap < limit => Err(CgroupError::Value {
            limit: "memory.swap",
            value: swap.to_string(),
            reason: "it counts memory and swap together, so it is at least memory.limit",
        }),
        (Some(limit), Some(swap)) => {
            let now: u64 = dir.read(SWAP)?.trim().parse().unwrap_or(u64::MAX);
            let grows = u64::try_from(swap).is_ok_and(|swap| now < swap) || swap < 0;
            if grows {
                dir.write(SWAP, &swap.to_string())?;
                write_limit(dir, limit)
            } else {
                write_limit(dir, limit)?;
                dir.write(SWAP, &swap.to_string())
            }
        }
        (Some(limit), None) => write_limit(dir, limit),
        (None, Some(swap)) => dir.write(SWAP, &swap.to_string()),
        (None, None) => Ok(()),
    }
}

fn write_limit(dir: &Dir, limit: i64) -> Result<()> {
    let value = limit.to_string();
    match dir.write_errno(LIMIT, &value) {
        Err(Errno::BUSY) => Err(CgroupError::Value {
            limit: "memory.limit",
            value,
            reason: "the container uses more than that and it cannot be reclaimed",
        }),
        Err(source) => Err(dir.refused(LIMIT, &value, source)),
        Ok(()) => Ok(()),
    }
}

pub(super) fn cpu(dir: &Dir, cpu: &LinuxCpu) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0) {
        dir.write("cpu.shares", &shares.to_string())?;
        let kept: u64 = dir.read("cpu.shares")?.trim().parse().unwrap_or(shares);
        // Too few are rounded up silently; too many are a mistake, as runc says.
        if kept < shares {
            return Err(CgroupError::Value {
                limit: "cpu.shares",
                value: shares.to_string(),
                reason: "the kernel allows at most 262144",
            });
        }
    }
    let runtime = cpu.realtime_runtime().filter(|&value| value != 0);
    let period = cpu.realtime_period().filter(|&value| value != 0);
    bandwidth(
        dir,
        ["cpu.rt_period_us", "cpu.rt_runtime_us"],
        period,
        runtime,
    )?;
    // A burst beyond the quota and a period too short for it are refused, in
    // either order of change; what does not go first goes last.
    let missing = "this kernel has no cpu.cfs_burst_us (Linux 5.14)";
    let late_burst = early_burst(dir, cpu, "cpu.cfs_burst_us", missing)?;
    let quota = cpu.quota().filter(|&quota| quota != 0);
    let period = cpu.period().filter(|&period| period != 0);
    bandwidth(
        dir,
        ["cpu.cfs_period_us", "cpu.cfs_quota_us"],
        period,
        quota,
    )?;
    if let Some(burst) = late_burst {
        dir.write("cpu.cfs_burst_us", &burst)?;
    }
    match cpu.idle() {
        None => Ok(()),
        Some(idle) if idle == 0 && !dir.has("cpu.idle") => Ok(()),
        Some(idle) => dir.write("cpu.idle", &idle.to_string()),
    }
}

/// A period and the time that may be used of it. The kernel refuses a period that is too short for the
/// time in force, and one whose share is more than the cgroup above has: then the time goes first.
fn bandwidth(
    dir: &Dir,
    [period_file, time_file]: [&str; 2],
    period: Option<u64>,
    time: Option<i64>,
) -> Result<()> {
    let mut late = None;
    if let Some(period) = period.map(|period| period.to_string()) {
        match dir.write_errno(period_file, &period) {
            Ok(()) => {}
            Err(Errno::INVAL) if time.is_some() => late = Some(period),
            Err(source) => return Err(dir.refused(period_file, &period, source)),
        }
    }
    if let Some(time) = time {
        dir.write(time_file, &time.to_string())?;
    }
    late.map_or(Ok(()), |period| dir.write(period_file, &period))
}

pub(super) fn block_io(dir: &Dir, io: &LinuxBlockIo) -> Result<()> {
    let set = |weight: Option<u16>| weight.filter(|&weight| weight != 0);
    let scheduler = || {
        ["blkio.weight", "blkio.bfq.weight"]
            .into_iter()
            .find(|file| dir.has(file))
            .ok_or(CgroupError::Unsupported {
                limit: "blockIO.weight",
                reason: "no block device here uses a scheduler with weights (bfq)",
            })
    };
    if let Some(weight) = set(io.weight()) {
        dir.write(scheduler()?, &weight.to_string())?;
    }
    if let Some(weight) = set(io.leaf_weight()) {
        leaf_weight(dir, "blkio.leaf_weight", &weight.to_string())?;
    }
    for device in io.weight_device().iter().flatten() {
        let (major, minor) = (device.major(), device.minor());
        if let Some(weight) = set(device.weight()) {
            let file = format!("{}_device", scheduler()?);
            dir.write(&file, &format!("{major}:{minor} {weight}"))?;
        }
        if let Some(weight) = set(device.leaf_weight()) {
            leaf_weight(
                dir,
                "blkio.leaf_weight_device",
                &format!("{major}:{minor} {weight}"),
            )?;
        }
    }
    let throttles: [(&str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        (
            "blkio.throttle.read_bps_device",
            io.throttle_read_bps_device(),
        ),
        (
            "blkio.throttle.write_bps_device",
            io.throttle_write_bps_device(),
        ),
        (
            "blkio.throttle.read_iops_device",
            io.throttle_read_iops_device(),
        ),
        (
            "blkio.throttle.write_iops_device",
            io.throttle_write_iops_device(),
        ),
    ];
    for (file, list) in throttles {
        for device in list.iter().flatten() {
            let (major, minor, rate) = (device.major(), device.minor(), device.rate());
            dir.write(file, &format!("{major}:{minor} {rate}"))?;
        }
    }
    Ok(())
}

fn leaf_weight(dir: &Dir, file: &str, value: &str) -> Result<()> {
    if !dir.has(file) {
        return Err(CgroupError::Unsupported {
            limit: "blockIO.leafWeight",
            reason: "the kernel dropped it together with the CFQ scheduler (Linux 5.0)",
        });
    }
    dir.write(file, value)
}

/// Network class and priorities, which only v1 has.
pub(super) fn network(groups: &Groups, network: &LinuxNetwork) -> Result<()> {
    let home = |controller: &'static str, limit: &'static str| {
        groups
            .named(controller)
            .ok_or(CgroupError::Controller { limit, controller })
    };
    if let Some(class) = network.class_id().filter(|&class| class != 0) {
        home("net_cls", "network.classID")?.write("net_cls.classid", &class.to_string())?;
    }
    for priority in network.priorities().iter().flatten() {
        if priority.name().contains(char::is_whitespace) {
            return Err(CgroupError::Value {
                limit: "network.priorities",
                value: priority.name().clone(),
                reason: "an interface name has no white space",
            });
        }
        let line = format!("{} {}", priority.name(), priority.priority());
        home("net_prio", "network.priorities")?.write("net_prio.ifpriomap", &line)?;
    }
    Ok(())
}

/// Writes a list of device rules, one after the other, as v1 keeps them.
pub(super) fn devices(dir: &Dir, rules: &[Rule]) -> Result<()> {
    // A list starts from nothing, whatever was inherited or set before.
    let inherits = rules.first().is_none_or(|rule| rule.kind.is_some());
    if inherits {
        dir.write("devices.deny", "a")?;
    }
    let mut files = [None, None];
    for rule in rules {
        let file = if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        let open = &mut files[usize::from(rule.allow)];
        let line = if rule.kind.is_none() {
            "a".to_owned()
        } else {
            rule.line()
        };
        // Each is opened once: a list is a dozen rules long.
        let written = match open {
            Some(fd) => write_all(fd, &line),
            None => dir
                .open_to_write(file)
                .and_then(|fd| write_all(open.insert(fd), &line)),
        };
        match written {
            Ok(()) => {}
            // A parent that withholds something cannot give everything.
            Err(Errno::PERM) if allows_everything(rules) && rule.kind.is_none() => {
                return Err(CgroupError::Value {
                    limit: "devices",
                    value: line,
                    reason: "the cgroup above does not allow every device itself",
                });
            }
            Err(source) => return Err(dir.refused(file, &line, source)),
        }
    }
    Ok(())
}
