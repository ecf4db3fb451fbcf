//! Usage from the unified hierarchy.

use super::dir::Dir;
use super::error::Result;
use super::stats::{
    BlockIoEntry, MemoryEntry, Stats, flat_keyed, keyed, list, number_or_max, pressure,
};

/// Fills in what this directory knows; the rest stays as it is.
pub(super) fn collect(dir: &Dir, stats: &mut Stats) -> Result<()> {
    cpu(dir, stats)?;
    if dir.has("memory.current") {
        memory(dir, stats)?;
    }
    if let Some(current) = number(dir, "pids.current")? {
        stats.pids.current = current;
        stats.pids.limit = number(dir, "pids.max")?
            .filter(|&max| max != u64::MAX)
            .unwrap_or(0);
    }
    if let Some(text) = dir.read_if_there("io.stat")? {
        io(&text, stats);
        stats.blkio.psi = dir
            .read_if_there("io.pressure")?
            .as_deref()
            .and_then(pressure);
    }
    if let Some(cpus) = dir.read_if_there("cpuset.cpus.effective")? {
        stats.cpuset.cpus = list(&cpus);
        let mems = dir
            .read_if_there("cpuset.mems.effective")?
            .unwrap_or_default();
        stats.cpuset.mems = list(&mems);
    }
    huge_pages(dir, stats)
}

fn number(dir: &Dir, file: &str) -> Result<Option<u64>> {
    Ok(dir
        .read_if_there(file)?
        .and_then(|text| number_or_max(&text)))
}

fn cpu(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let Some(text) = dir.read_if_there("cpu.stat")? else {
        return Ok(());
    };
    for (key, value) in flat_keyed(&text) {
        // The kernel counts in microseconds here.
        let nanos = value.saturating_mul(1000);
        match key {
            "usage_usec" => stats.cpu.usage.total = nanos,
            "user_usec" => stats.cpu.usage.user = nanos,
            "system_usec" => stats.cpu.usage.kernel = nanos,
            "nr_periods" => stats.cpu.throttling.periods = value,
            "nr_throttled" => stats.cpu.throttling.throttled_periods = value,
            "throttled_usec" => stats.cpu.throttling.throttled_time = nanos,
            _ => {}
        }
    }
    stats.cpu.psi = dir
        .read_if_there("cpu.pressure")?
        .as_deref()
        .and_then(pressure);
    Ok(())
}

fn memory(dir: &Dir, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    let text = dir.read_if_there("memory.stat")?.unwrap_or_default();
    memory.raw = flat_keyed(&text)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    memory.cache = keyed(&text, "file").unwrap_or(0);
    let events = dir.read_if_there("memory.events")?.unwrap_or_default();
    memory.usage = MemoryEntry {
        limit: number(dir, "memory.max")?.unwrap_or(u64::MAX),
        usage: number(dir, "memory.current")?.unwrap_or(0),
        max: number(dir, "memory.peak")?.unwrap_or(0),
        failcnt: keyed(&events, "max").unwrap_or(0),
    };
    // Here swap is apart; the figures of v1 are sums, and readers expect those.
    if let Some(swap) = number(dir, "memory.swap.current")? {
        let limit = number(dir, "memory.swap.max")?.unwrap_or(u64::MAX);
        memory.swap = MemoryEntry {
            limit: memory.usage.limit.saturating_add(limit),
            usage: memory.usage.usage.saturating_add(swap),
            max: 0,
            failcnt: 0,
        };
    }
    memory.psi = dir
        .read_if_there("memory.pressure")?
        .as_deref()
        .and_then(pressure);
    Ok(())
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`
fn io(text: &str, stats: &mut Stats) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut stats.blkio.service_bytes, "Read"),
                "wbytes" => (&mut stats.blkio.service_bytes, "Write"),
                "dbytes" => (&mut stats.blkio.service_bytes, "Discard"),
                "rios" => (&mut stats.blkio.serviced, "Read"),
                "wios" => (&mut stats.blkio.serviced, "Write"),
                "dios" => (&mut stats.blkio.serviced, "Discard"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                list.push(BlockIoEntry {
                    major,
                    minor,
                    op: op.to_owned(),
                    value,
                });
            }
        }
    }
}

/// `major:minor`
pub(super) fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn huge_pages(dir: &Dir, stats: &mut Stats) -> Result<()> {
    for size in page_sizes(dir, ".current")? {
        let usage = number(dir, &format!("hugetlb.{size}.current"))?.unwrap_or(0);
        let events = dir
            .read_if_there(&format!("hugetlb.{size}.events"))?
            .unwrap_or_default();
        let failcnt = keyed(&events, "max").unwrap_or(0);
        let pages = super::stats::HugePages {
            usage,
            max: 0,
            failcnt,
        };
        stats.hugetlb.insert(size, pages);
    }
    Ok(())
}

/// The page sizes a directory has files for: `hugetlb.<size><suffix>`.
pub(super) fn page_sizes(dir: &Dir, suffix: &str) -> Result<Vec<String>> {
    let sizes = dir.files()?.into_iter().filter_map(|name| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
        (!size.contains('.')).then(|| size.to_owned())
    });
    Ok(sizes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_lines() {
        let mut stats = Stats::default();
        io(
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:16 \n",
            &mut stats,
        );
        let entry = |op: &str, value| BlockIoEntry {
            major: 8,
            minor: 0,
            op: op.to_owned(),
            value,
        };
        assert_eq!(
            stats.blkio.service_bytes,
            [entry("Read", 1), entry("Write", 2), entry("Discard", 5)]
        );
        assert_eq!(
            stats.blkio.serviced,
            [entry("Read", 3), entry("Write", 4), entry("Discard", 6)]
        );
    }
}
