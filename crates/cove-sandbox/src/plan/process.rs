//! `process`: identity, limits and program, turned into numbers and C strings.

use std::ffi::CString;
use std::path::Path;

use cove_sys::caps::CapSets;
use cove_sys::sched::SchedAttr;
use oci_spec::runtime::{
    IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy, PosixRlimitType, Process, Scheduler,
};
use rustix::process::{Resource, getrlimit};

use super::{capabilities, env, invalid};
use crate::error::Result;
use crate::lsm;

/// What the init becomes.
#[derive(Debug)]
pub(crate) struct ProcessPlan<'a> {
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: &'a Path,
    pub uid: u32,
    pub gid: u32,
    pub groups: &'a [u32],
    /// The caller's supplementary groups stay instead.
    pub keep_groups: bool,
    pub umask: u32,
    /// Without a list there are none.
    pub caps: CapSets,
    pub rlimits: Vec<(Resource, u64, u64)>,
    pub no_new_privileges: bool,
    pub terminal: bool,
    /// Rows and columns.
    pub console_size: Option<(u16, u16)>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<SchedAttr>,
    /// Class and level.
    pub io_priority: Option<(u16, u16)>,
    /// The attributes of the security modules and what is written to them.
    pub labels: Vec<lsm::Label>,
    /// CPUs before and after joining the container's cgroup, for exec.
    pub affinity: (Option<Vec<u32>>, Option<Vec<u32>>),
}

impl<'a> ProcessPlan<'a> {
    pub(crate) fn new(process: &'a Process, warnings: &mut Vec<String>) -> Result<Self> {
        let args = process.args().as_deref().unwrap_or_default();
        if args.is_empty() {
            return Err(invalid("process.args is empty"));
        }
        if !process.cwd().is_absolute() {
            return Err(invalid(format!(
                "process.cwd {:?} is not absolute",
                process.cwd()
            )));
        }
        let user = process.user();
        let terminal = process.terminal().unwrap_or(false);
        let size = process.console_size().filter(|_| terminal);
        let clamp = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        let affinity = process.exec_cpu_affinity().as_ref();
        let cpus = |list: Option<&String>| list.map(|text| numbers(text)).transpose();
        Ok(Self {
            args: strings(args, "process.args")?,
            env: env::checked(process.env().as_deref().unwrap_or_default())?,
            cwd: process.cwd(),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().as_deref().unwrap_or_default(),
            keep_groups: false,
            umask: user.umask().unwrap_or(0o022),
            caps: capabilities::sets(process, warnings),
            rlimits: rlimits(process)?,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            terminal,
            console_size: size.map(|size| (clamp(size.height()), clamp(size.width()))),
            oom_score_adj: process.oom_score_adj(),
            scheduler: process.scheduler().as_ref().map(scheduler).transpose()?,
            io_priority: match process.io_priority() {
                Some(priority) => Some(io_priority(priority.class(), priority.priority())?),
                None => None,
            },
            labels: lsm::labels(process)?,
            affinity: (
                cpus(affinity.and_then(|a| a.initial().as_ref()))?,
                cpus(affinity.and_then(|a| a.cpu_affinity_final().as_ref()))?,
            ),
        })
    }
}

/// The highest hard limit that this process may give another one.
#[must_use]
pub fn highest_limit(kind: PosixRlimitType) -> u64 {
    const SYS_RESOURCE: u64 = 1 << 24;
    let resource = resource(kind);
    let may_raise = cove_sys::caps::own().is_ok_and(|(permitted, _)| permitted & SYS_RESOURCE != 0);
    if !may_raise {
        return getrlimit(resource).maximum.unwrap_or(u64::MAX);
    }
    if resource != Resource::Nofile {
        return u64::MAX;
    }
    // More descriptors than that nobody may have.
    let most = cove_sys::fs::read_to_string(Path::new("/proc/sys/fs/nr_open"), 64);
    let most = most.ok().and_then(|text| text.trim().parse().ok());
    most.unwrap_or(u64::MAX)
}

impl ProcessPlan<'_> {
    /// Limits that the specification does not name become those of process `pid`, where the
    /// caller's are others.
    pub(crate) fn take_limits_of(&mut self, pid: i32) {
        for resource in RESOURCES {
            if self.rlimits.iter().any(|(named, ..)| *named == resource) {
                continue;
            }
            let own = getrlimit(resource);
            let own = (
                own.current.unwrap_or(u64::MAX),
                own.maximum.unwrap_or(u64::MAX),
            );
            // Of a process that has just ended there is nothing to take.
            if let Ok(theirs) = cove_sys::proc::limit(pid, resource as u32)
                && theirs != own
            {
                self.rlimits.push((resource, theirs.0, theirs.1));
            }
        }
    }
}

const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

fn strings(list: &[String], what: &str) -> Result<Vec<CString>> {
    list.iter()
        .map(|text| {
            CString::new(text.as_bytes()).map_err(|_| invalid(format!("{what} holds a NUL byte")))
        })
        .collect()
}

/// Numbers of a list such as `0-3,7`.
pub(crate) fn numbers(list: &str) -> Result<Vec<u32>> {
    let bad = || invalid(format!("{list:?} is no list of numbers such as 0-3,7"));
    let mut all = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.trim().parse().map_err(|_| bad())?;
        let last: u32 = last.trim().parse().map_err(|_| bad())?;
        if first > last || last > 8192 {
            return Err(bad());
        }
        all.extend(first..=last);
    }
    Ok(all)
}

fn rlimits(process: &Process) -> Result<Vec<(Resource, u64, u64)>> {
    let mut all: Vec<(Resource, u64, u64)> = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        let resource = resource(limit.typ());
        if all.iter().any(|(seen, ..)| *seen == resource) {
            return Err(invalid(format!("rlimit {} is listed twice", limit.typ())));
        }
        if limit.soft() > limit.hard() {
            return Err(invalid(format!(
                "rlimit {}: soft is above hard",
                limit.typ()
            )));
        }
        all.push((resource, limit.soft(), limit.hard()));
    }
    Ok(all)
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

fn scheduler(spec: &Scheduler) -> Result<SchedAttr> {
    let policy = match spec.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let mut flags = 0;
    for flag in spec.flags().iter().flatten() {
        flags |= match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
            LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
        };
    }
    let nice = spec.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(invalid(format!(
            "scheduler.nice {nice} is outside -20 to 19"
        )));
    }
    let priority = spec.priority().unwrap_or(0);
    let real_time = matches!(policy, 1 | 2);
    let Some(priority) = u32::try_from(priority)
        .ok()
        .filter(|p| real_time || *p == 0)
    else {
        return Err(invalid(format!(
            "scheduler.priority {priority} does not fit the policy"
        )));
    };
    let deadline = [spec.runtime(), spec.deadline(), spec.period()];
    if policy != 6
        && deadline
            .iter()
            .any(|value| value.is_some_and(|value| value != 0))
    {
        return Err(invalid(
            "scheduler runtime, deadline and period are for SCHED_DEADLINE",
        ));
    }
    let [runtime, deadline, period] = deadline.map(|value| value.unwrap_or(0));
    Ok(SchedAttr {
        size: 0,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
    })
}

fn io_priority(class: IOPriorityClass, priority: i64) -> Result<(u16, u16)> {
    let level = u16::try_from(priority).ok().filter(|level| *level < 8);
    let level = level.ok_or_else(|| invalid(format!("ioPriority {priority} is outside 0 to 7")))?;
    Ok(match class {
        IOPriorityClass::IoprioClassRt => (1, level),
        IOPriorityClass::IoprioClassBe => (2, level),
        IOPriorityClass::IoprioClassIdle => (3, level),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0-2,7").unwrap(), [0, 1, 2, 7]);
        assert!(numbers("").unwrap().is_empty());
        for bad in ["2-1", "a", "-", "0-99999999"] {
            assert!(numbers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_and_schedulers_that_contradict_themselves_are_refused() {
        let process = |extra: &str| -> Process {
            serde_json::from_str(&format!(
                r#"{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}},{extra}}}"#
            ))
            .unwrap()
        };
        for (extra, fine) in [
            (
                r#""rlimits":[{"type":"RLIMIT_CORE","soft":1,"hard":2}]"#,
                true,
            ),
            (
                r#""rlimits":[{"type":"RLIMIT_CORE","soft":3,"hard":2}]"#,
                false,
            ),
            (
                r#""rlimits":[{"type":"RLIMIT_CPU","soft":1,"hard":2},
                    {"type":"RLIMIT_CPU","soft":1,"hard":2}]"#,
                false,
            ),
            (r#""scheduler":{"policy":"SCHED_FIFO","priority":9}"#, true),
            (
                r#""scheduler":{"policy":"SCHED_OTHER","priority":9}"#,
                false,
            ),
            (r#""scheduler":{"policy":"SCHED_OTHER","nice":20}"#, false),
            (r#""scheduler":{"policy":"SCHED_BATCH","runtime":1}"#, false),
            (
                r#""ioPriority":{"class":"IOPRIO_CLASS_BE","priority":7}"#,
                true,
            ),
            (
                r#""ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}"#,
                false,
            ),
            (r#""cwd2":1"#, true),
        ] {
            let process = process(extra);
            let plan = ProcessPlan::new(&process, &mut Vec::new());
            assert_eq!(plan.is_ok(), fine, "{extra}");
        }
    }
}
