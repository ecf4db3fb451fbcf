//! Usage from named hierarchies.

use super::dir::Dir;
use super::error::Result;
use super::groups::Groups;
use super::stats::{BlockIoEntry, HugePages, MemoryEntry, Stats, flat_keyed, keyed, list};
use super::v2_stats::{device, page_sizes};

/// Fills in what the container's v1 directories know.
pub(super) fn collect(groups: &Groups, stats: &mut Stats) -> Result<()> {
    if let Some(dir) = groups.named("cpuacct") {
        cpu_usage(dir, stats)?;
    }
    if let Some(dir) = groups.named("cpu") {
        let text = dir.read_if_there("cpu.stat")?.unwrap_or_default();
        let throttling = &mut stats.cpu.throttling;
        throttling.periods = keyed(&text, "nr_periods").unwrap_or(0);
        throttling.throttled_periods = keyed(&text, "nr_throttled").unwrap_or(0);
        throttling.throttled_time = keyed(&text, "throttled_time").unwrap_or(0);
    }
    if let Some(dir) = groups.named("cpuset") {
        cpuset(dir, stats)?;
    }
    if let Some(dir) = groups.named("memory") {
        memory(dir, stats)?;
    }
    if let Some(dir) = groups.named("pids") {
        stats.pids.current = number(dir, "pids.current")?;
        stats.pids.limit = number(dir, "pids.max")?;
    }
    if let Some(dir) = groups.named("blkio") {
        block_io(dir, stats)?;
    }
    if let Some(dir) = groups.named("hugetlb") {
        for size in page_sizes(dir, ".usage_in_bytes")? {
            let pages = HugePages {
                usage: number(dir, &format!("hugetlb.{size}.usage_in_bytes"))?,
                max: number(dir, &format!("hugetlb.{size}.max_usage_in_bytes"))?,
                failcnt: number(dir, &format!("hugetlb.{size}.failcnt"))?,
            };
            stats.hugetlb.insert(size, pages);
        }
    }
    Ok(())
}

/// A single number; 0 where there is none (`max`, no file).
fn number(dir: &Dir, file: &str) -> Result<u64> {
    Ok(dir
        .read_if_there(file)?
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0))
}

fn numbers(dir: &Dir, file: &str) -> Result<Vec<u64>> {
    let text = dir.read_if_there(file)?.unwrap_or_default();
    Ok(text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}

fn cpu_usage(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = number(dir, "cpuacct.usage")?;
    usage.percpu = numbers(dir, "cpuacct.usage_percpu")?;
    usage.kernel = number(dir, "cpuacct.usage_sys")?;
    usage.user = number(dir, "cpuacct.usage_user")?;
    // A head line, then `cpu user system` for each processor.
    let all = dir.read_if_there("cpuacct.usage_all")?.unwrap_or_default();
    for line in all.lines().skip(1) {
        let mut words = line
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse().unwrap_or(0));
        usage.percpu_user.push(words.next().unwrap_or(0));
        usage.percpu_kernel.push(words.next().unwrap_or(0));
    }
    Ok(())
}

fn cpuset(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let text = |file| dir.read_if_there(file).map(Option::unwrap_or_default);
    let cpuset = &mut stats.cpuset;
    cpuset.cpus = list(&text("cpuset.effective_cpus")?);
    cpuset.mems = list(&text("cpuset.effective_mems")?);
    cpuset.cpu_exclusive = number(dir, "cpuset.cpu_exclusive")?;
    cpuset.mem_exclusive = number(dir, "cpuset.mem_exclusive")?;
    cpuset.mem_hardwall = number(dir, "cpuset.mem_hardwall")?;
    cpuset.memory_migrate = number(dir, "cpuset.memory_migrate")?;
    cpuset.memory_spread_page = number(dir, "cpuset.memory_spread_page")?;
    cpuset.memory_spread_slab = number(dir, "cpuset.memory_spread_slab")?;
    cpuset.memory_pressure = number(dir, "cpuset.memory_pressure")?;
    cpuset.sched_load_balance = number(dir, "cpuset.sched_load_balance")?;
    cpuset.sched_relax_domain_level = text("cpuset.sched_relax_domain_level")?
        .trim()
        .parse()
        .unwrap_or(-1);
    Ok(())
}

fn memory(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let entry = |prefix: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(dir, &format!("{prefix}.limit_in_bytes"))?,
            usage: number(dir, &format!("{prefix}.usage_in_bytes"))?,
            max: number(dir, &format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: number(dir, &format!("{prefix}.failcnt"))?,
        })
    };
    let memory = &mut stats.memory;
    memory.usage = entry("memory")?;
    memory.swap = entry("memory.memsw")?;
    memory.kernel = entry("memory.kmem")?;
    memory.kernel_tcp = entry("memory.kmem.tcp")?;
    let text = dir.read_if_there("memory.stat")?.unwrap_or_default();
    memory.raw = flat_keyed(&text)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    memory.cache = keyed(&text, "cache").unwrap_or(0);
    Ok(())
}

fn block_io(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let blkio = &mut stats.blkio;
    // With the BFQ scheduler there is more to tell than the throttler counts.
    let (bytes, served) = if dir.has("blkio.bfq.io_serviced_recursive")
        && !entries(dir, "blkio.bfq.io_serviced_recursive")?.is_empty()
    {
        (
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.bfq.io_serviced_recursive",
        )
    } else {
        (
            "blkio.throttle.io_service_bytes_recursive",
            "blkio.throttle.io_serviced_recursive",
        )
    };
    blkio.service_bytes = entries(dir, bytes)?;
    blkio.serviced = entries(dir, served)?;
    blkio.queued = entries(dir, "blkio.bfq.io_queued_recursive")?;
    blkio.service_time = entries(dir, "blkio.bfq.io_service_time_recursive")?;
    blkio.wait_time = entries(dir, "blkio.bfq.io_wait_time_recursive")?;
    blkio.merged = entries(dir, "blkio.bfq.io_merged_recursive")?;
    blkio.time = entries(dir, "blkio.bfq.time_recursive")?;
    blkio.sectors = entries(dir, "blkio.bfq.sectors_recursive")?;
    Ok(())
}

/// `8:0 Read 4096`, `8:0 7`, and a `Total` line of all devices, which is left out.
fn entries(dir: &Dir, file: &str) -> Result<Vec<BlockIoEntry>> {
    let text = dir.read_if_there(file)?.unwrap_or_default();
    let parsed = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (major, minor) = device(words.first()?)?;
        let (op, value) = match words.as_slice() {
            [_, op, value] => (*op, value),
            [_, value] => ("", value),
            _ => return None,
        };
        Some(BlockIoEntry {
            major,
            minor,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    });
    Ok(parsed.collect())
}
