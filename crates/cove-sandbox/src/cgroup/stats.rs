//! Usage figures in the shape of `runc events --stats`, which containerd,
//! dockerd and cAdvisor read.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything a container has used so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Where it may run.
    pub cpuset: CpuSet,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: BlockIo,
    /// Huge pages by page size (`2MB`).
    pub hugetlb: BTreeMap<String, HugePages>,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Time used.
    pub usage: CpuUsage,
    /// Time withheld by a quota.
    pub throttling: Throttling,
    /// Pressure stall information, on v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Nanoseconds of processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor, on v1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, by processor, on v1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In user mode, by processor, on v1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// What a processor quota did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Throttling {
    /// Periods that began.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Periods in which the quota ran out.
    #[serde(rename = "throttledPeriods", skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds spent waiting for the next period.
    #[serde(rename = "throttledTime", skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Pressure stall information of one resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some task waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub some: Option<PressureLine>,
    /// Every task waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<PressureLine>,
}

/// Shares of time lost, in percent, and the sum in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PressureLine {
    /// Over ten seconds.
    pub avg10: f64,
    /// Over a minute.
    pub avg60: f64,
    /// Over five minutes.
    pub avg300: f64,
    /// Microseconds since the cgroup was made.
    pub total: u64,
}

/// Where a container may run; the effective sets of the `cpuset` controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuSet {
    /// Processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// 1 when the processors are this cgroup's alone, on v1.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// 1 when the nodes are this cgroup's alone, on v1.
    pub mem_exclusive: u64,
    /// 1 when kernel allocations keep to the nodes too, on v1.
    pub mem_hardwall: u64,
    /// 1 when pages follow a change of nodes, on v1.
    pub memory_migrate: u64,
    /// 1 when page cache is spread over the nodes, on v1.
    pub memory_spread_page: u64,
    /// 1 when kernel caches are spread over the nodes, on v1.
    pub memory_spread_slab: u64,
    /// The rate of reclaim, on v1.
    pub memory_pressure: u64,
    /// 1 when load is balanced over the processors, on v1.
    pub sched_load_balance: u64,
    /// How far a waking task looks for an idle processor, on v1.
    pub sched_relax_domain_level: i64,
}

/// One counted amount, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// The limit; `u64::MAX` or the v1 maximum where there is none.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most ever in use.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory without swap.
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    /// Kernel memory, on v1.
    pub kernel: MemoryEntry,
    /// Socket buffers, on v1.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Pressure stall information, on v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pids {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// At most; 0 where there is no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Figures by block device and operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlockIo {
    /// Bytes.
    #[serde(
        rename = "ioServiceBytesRecursive",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_bytes: Vec<BlockIoEntry>,
    /// Operations.
    #[serde(rename = "ioServicedRecursive", skip_serializing_if = "Vec::is_empty")]
    pub serviced: Vec<BlockIoEntry>,
    /// Waiting, on v1 with BFQ.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<BlockIoEntry>,
    /// Nanoseconds of service, on v1 with BFQ.
    #[serde(
        rename = "ioServiceTimeRecursive",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub service_time: Vec<BlockIoEntry>,
    /// Nanoseconds of waiting, on v1 with BFQ.
    #[serde(rename = "ioWaitTimeRecursive", skip_serializing_if = "Vec::is_empty")]
    pub wait_time: Vec<BlockIoEntry>,
    /// Merged requests, on v1 with BFQ.
    #[serde(rename = "ioMergedRecursive", skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<BlockIoEntry>,
    /// Milliseconds of device time, on v1 with BFQ.
    #[serde(rename = "ioTimeRecursive", skip_serializing_if = "Vec::is_empty")]
    pub time: Vec<BlockIoEntry>,
    /// Sectors, on v1 with BFQ.
    #[serde(rename = "sectorsRecursive", skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<BlockIoEntry>,
    /// Pressure stall information, on v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One figure of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlockIoEntry {
    /// Device number, major.
    pub major: u64,
    /// Device number, minor.
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard` or `Total`; may be empty.
    pub op: String,
    /// The figure.
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HugePages {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most ever in use, on v1.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Lines of `name number`, as in `memory.stat`; others are passed over.
pub(super) fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name, value.trim().parse().ok()?))
    })
}

/// The number of one `name number` line.
pub(super) fn keyed(text: &str, name: &str) -> Option<u64> {
    flat_keyed(text)
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A number, or `max` for no limit at all.
pub(super) fn number_or_max(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// A list such as `0-3,7`.
pub(super) fn list(text: &str) -> Vec<u16> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// A pressure file. `None` when it holds nothing of the kind.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let mut found = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        let mut parsed = PressureLine::default();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => parsed.avg10 = value.parse().ok()?,
                "avg60" => parsed.avg60 = value.parse().ok()?,
                "avg300" => parsed.avg300 = value.parse().ok()?,
                "total" => parsed.total = value.parse().ok()?,
                _ => {}
            }
        }
        match kind {
            "some" => found.some = Some(parsed),
            "full" => found.full = Some(parsed),
            _ => {}
        }
    }
    (found.some.is_some() || found.full.is_some()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_numbers() {
        for (text, want) in [
            ("", vec![]),
            ("0", vec![0]),
            ("0-2,5\n", vec![0, 1, 2, 5]),
            ("x,1", vec![1]),
        ] {
            assert_eq!(list(text), want, "{text:?}");
        }
        assert_eq!(number_or_max("max\n"), Some(u64::MAX));
        assert_eq!(keyed("a 1\nab 2\n", "ab"), Some(2));
        assert_eq!(keyed("a 1\n", "b"), None);
    }

    #[test]
    fn pressure_lines() {
        let text = "some avg10=0.10 avg60=1.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let parsed = pressure(text).unwrap();
        assert_eq!(parsed.some.as_ref().unwrap().total, 77);
        assert_eq!(parsed.full.unwrap().total, 5);
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn the_shape_is_runcs() {
        let stats = Stats {
            pids: Pids {
                current: 3,
                limit: 9,
            },
            ..Stats::default()
        };
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["pids"], serde_json::json!({"current": 3, "limit": 9}));
        assert_eq!(
            json["cpu"]["usage"],
            serde_json::json!({"kernel": 0, "user": 0})
        );
        assert_eq!(
            json["memory"]["kernelTCP"],
            serde_json::json!({"limit": 0, "failcnt": 0})
        );
        assert!(json["blkio"].as_object().unwrap().is_empty());
    }
}
