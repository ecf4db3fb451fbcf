//! Limits in the terms of cgroup v2.

use std::collections::HashMap;
use std::os::fd::AsFd;

use cove_sys::bpf::{self, Insn};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxThrottleDevice};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::burst::early_burst;
use super::convert::{cpu_weight, io_weight, max, swap_max};
use super::dir::Dir;
use super::error::{CgroupError, Result};
use super::groups::Groups;

pub(super) fn memory(dir: &Dir, memory: &LinuxMemory) -> Result<()> {
    let absent = |limit, reason| Err(CgroupError::Unsupported { limit, reason });
    if memory.swappiness().is_some() {
        return absent("memory.swappiness", "cgroup v2 has no swappiness");
    }
    if memory.disable_oom_killer() == Some(true) {
        return absent(
            "memory.disableOOMKiller",
            "cgroup v2 cannot switch the OOM killer off",
        );
    }
    if memory.kernel_tcp().is_some_and(|limit| limit > 0) {
        return absent(
            "memory.kernelTCP",
            "cgroup v2 counts socket buffers as memory",
        );
    }
    let swap = swap_max(memory.swap(), memory.limit())?;
    let limit = max(memory.limit());
    if memory.check_before_update() == Some(true) {
        for (file, value) in [("memory.current", &limit), ("memory.swap.current", &swap)] {
            check_usage(dir, file, value.as_deref())?;
        }
    }
    if let Some(swap) = &swap {
        match dir.write_errno("memory.swap.max", swap) {
            Ok(()) => {}
            // Without swap none is used, which is what these two ask for.
            Err(Errno::NOENT) if swap == "max" || swap == "0" => {}
            Err(Errno::NOENT) => {
                return absent("memory.swap", "this kernel does not account swap");
            }
            Err(source) => return Err(dir.refused("memory.swap.max", swap, source)),
        }
    }
    if let Some(limit) = &limit {
        dir.write("memory.max", limit)?;
    }
    if let Some(reservation) = max(memory.reservation()) {
        dir.write("memory.low", &reservation)?;
    }
    Ok(())
}

/// The kernel would make room by killing.
fn check_usage(dir: &Dir, file: &str, limit: Option<&str>) -> Result<()> {
    let Some(limit) = limit.and_then(|limit| limit.parse::<u64>().ok()) else {
        return Ok(());
    };
    let usage = dir
        .read_if_there(file)?
        .and_then(|text| text.trim().parse::<u64>().ok());
    if usage.is_some_and(|usage| usage > limit) {
        return Err(CgroupError::Value {
            limit: "memory.limit",
            value: limit.to_string(),
            reason: "the container uses more than that now (checkBeforeUpdate)",
        });
    }
    Ok(())
}

pub(super) fn cpu(dir: &Dir, cpu: &LinuxCpu) -> Result<()> {
    if cpu.realtime_runtime().is_some_and(|value| value != 0)
        || cpu.realtime_period().is_some_and(|value| value != 0)
    {
        return Err(CgroupError::Unsupported {
            limit: "cpu.realtimeRuntime",
            reason: "cgroup v2 has no realtime limits",
        });
    }
    if let Some(idle) = cpu.idle()
        && (idle != 0 || dir.has("cpu.idle"))
    {
        dir.write("cpu.idle", &idle.to_string())?;
    }
    // An idle cgroup has no weight; the kernel refuses one.
    if cpu.idle().is_none_or(|idle| idle == 0)
        && let Some(weight) = cpu.shares().and_then(cpu_weight)
    {
        dir.write("cpu.weight", &weight.to_string())?;
    }
    let missing = "this kernel has no cpu.max.burst (Linux 5.14)";
    let late = early_burst(dir, cpu, "cpu.max.burst", missing)?;
    let quota = max(cpu.quota());
    let period = cpu.period().filter(|&period| period != 0);
    if quota.is_some() || period.is_some() {
        // The file takes the quota alone, but no period without a quota.
        let quota = match quota {
            Some(quota) => quota,
            None => dir
                .read("cpu.max")?
                .split(' ')
                .next()
                .unwrap_or("max")
                .to_owned(),
        };
        let line = period.map_or(quota.clone(), |period| format!("{quota} {period}"));
        dir.write("cpu.max", &line)?;
    }
    late.map_or(Ok(()), |burst| dir.write("cpu.max.burst", &burst))
}

pub(super) fn block_io(dir: &Dir, io: &LinuxBlockIo) -> Result<()> {
    let set = |weight: Option<u16>| weight.filter(|&weight| weight != 0);
    let bfq = dir.has("io.bfq.weight");
    let no_weight = CgroupError::Unsupported {
        limit: "blockIO.weight",
        reason: "no block device here uses weights (bfq, or iocost)",
    };
    if let Some(weight) = set(io.weight()) {
        if bfq {
            dir.write("io.bfq.weight", &weight.to_string())?;
        } else if dir.has("io.weight") {
            dir.write("io.weight", &io_weight(weight).to_string())?;
        } else {
            return Err(no_weight);
        }
    }
    for device in io.weight_device().iter().flatten() {
        let Some(weight) = set(device.weight()) else {
            continue;
        };
        let (major, minor) = (device.major(), device.minor());
        if bfq {
            dir.write("io.bfq.weight", &format!("{major}:{minor} {weight}"))?;
        } else if dir.has("io.weight") {
            dir.write(
                "io.weight",
                &format!("{major}:{minor} {}", io_weight(weight)),
            )?;
        } else {
            return Err(no_weight);
        }
    }
    if set(io.leaf_weight()).is_some()
        || io
            .weight_device()
            .iter()
            .flatten()
            .any(|device| set(device.leaf_weight()).is_some())
    {
        return Err(CgroupError::Unsupported {
            limit: "blockIO.leafWeight",
            reason: "cgroup v2 has no processes beside child cgroups",
        });
    }
    let throttles: [(&str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ];
    for (key, list) in throttles {
        for device in list.iter().flatten() {
            // 0 lifts a limit on v1; here that is a word.
            let rate = match device.rate() {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let (major, minor) = (device.major(), device.minor());
            dir.write("io.max", &format!("{major}:{minor} {key}={rate}"))?;
        }
    }
    Ok(())
}

/// The `unified` map: files by name, written as they are.
pub(super) fn unified(groups: &Groups, map: Option<&HashMap<String, String>>) -> Result<()> {
    let Some(map) = map.filter(|map| !map.is_empty()) else {
        return Ok(());
    };
    let Some(dir) = &groups.unified else {
        return Err(CgroupError::Unsupported {
            limit: "unified",
            reason: "this host has no unified cgroup hierarchy",
        });
    };
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable();
    for (file, value) in entries {
        let refuse = |reason| CgroupError::Value {
            limit: "unified",
            value: file.clone(),
            reason,
        };
        let controller = file.split_once('.').map(|(controller, _)| controller);
        if file.contains('/') || controller.is_none_or(str::is_empty) {
            return Err(refuse("a key is the name of a file, controller.parameter"));
        }
        if [
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.kill",
            "cgroup.freeze",
        ]
        .contains(&file.as_str())
        {
            return Err(refuse("it is no limit"));
        }
        if !dir.has(file) {
            return Err(refuse(
                "the unified hierarchy of this host has no such file",
            ));
        }
        for line in value.lines() {
            dir.write(file, line)?;
        }
    }
    Ok(())
}

/// Attaches a device program, in the place of the one that was there.
pub(super) fn devices(dir: &Dir, program: &[Insn], fresh: bool) -> Result<()> {
    let failed = |step, source| CgroupError::DeviceFilter {
        path: dir.path(""),
        step,
        source,
    };
    let loaded = load(program).map_err(|source| failed("loading the eBPF program", source))?;
    let attached = if fresh {
        Vec::new()
    } else {
        bpf::device_programs(dir.as_fd())
            .map_err(|source| failed("asking what is attached", source))?
    };
    if let [old] = attached.as_slice() {
        match bpf::replace_device_program(dir.as_fd(), loaded.as_fd(), old.as_fd()) {
            Ok(()) => return Ok(()),
            // Before Linux 5.6, or attached in another way: one after the other.
            Err(Errno::INVAL | Errno::NOENT) => {}
            Err(source) => return Err(failed("replacing the program", source)),
        }
    }
    // The new one first: between the two steps both must agree, so that
    // nothing is allowed which either denies.
    bpf::attach_device_program(dir.as_fd(), loaded.as_fd())
        .map_err(|source| failed("attaching the program", source))?;
    for old in attached {
        bpf::detach_device_program(dir.as_fd(), old.as_fd())
            .map_err(|source| failed("detaching the former program", source))?;
    }
    Ok(())
}

/// Kernels before 5.11 charge programs to the user's locked memory, whose
/// default is too small for anybody; it is raised where that is allowed.
fn load(program: &[Insn]) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let first = bpf::load_device_program(program);
    if !matches!(first, Err(Errno::PERM)) {
        return first;
    }
    let before = getrlimit(Resource::Memlock);
    let lifted = Rlimit {
        current: None,
        maximum: None,
    };
    let within = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if setrlimit(Resource::Memlock, lifted)
        .or_else(|_| setrlimit(Resource::Memlock, within))
        .is_err()
    {
        return first;
    }
    let second = bpf::load_device_program(program);
    // What is executed later gets the limit it would have had.
    match setrlimit(Resource::Memlock, before) {
        Ok(()) | Err(_) => second,
    }
}
