//! What the process becomes before it executes: limits, scheduling, identity, capabilities.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use cove_sys::caps::{self, CapSets};
use oci_spec::runtime::{
    Linux, LinuxPersonalityDomain, MemoryPolicyFlagType, MemoryPolicyModeType,
};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::fail::{During, Step, reason, refuse};
use super::streams;
use crate::error::InitFault;
use crate::plan::{ProcessPlan, capability_names};
use crate::protocol::{Channel, Failure, Report};

/// Sends a warning to the creator; without one there is nobody to warn.
pub(crate) fn warn(channel: &Channel, text: impl Into<String>) {
    drop(channel.report(&Report::Warning(text.into())));
}

/// Limits of the process. What would need a capability the runtime lacks is clamped with a warning.
/// The number of descriptors is only raised here and takes its value in [`descriptor_limit`], since
/// the init still needs some.
pub(crate) fn limits(process: &ProcessPlan<'_>, channel: &Channel) -> Step {
    for &(resource, soft, hard) in &process.rlimits {
        if resource == Resource::Nofile {
            let now = getrlimit(resource);
            if now.maximum.is_none_or(|maximum| maximum >= hard) {
                continue;
            }
            // Whether that is allowed is told when it counts.
            let (current, maximum) = (value(soft), value(hard));
            setrlimit(resource, Rlimit { current, maximum }).unwrap_or(());
            continue;
        }
        limit(resource, soft, hard, channel)?;
    }
    Ok(())
}

/// The last limit, once no descriptor is opened any more.
pub(crate) fn descriptor_limit(process: &ProcessPlan<'_>, channel: &Channel) -> Step {
    let found = process
        .rlimits
        .iter()
        .find(|(resource, ..)| *resource == Resource::Nofile);
    match found {
        Some(&(resource, soft, hard)) => limit(resource, soft, hard, channel),
        None => Ok(()),
    }
}

/// The kernel's RLIM_INFINITY is "no limit" here.
fn value(number: u64) -> Option<u64> {
    (number != u64::MAX).then_some(number)
}

fn limit(resource: Resource, soft: u64, hard: u64, channel: &Channel) -> Step {
    let wanted = Rlimit {
        current: value(soft),
        maximum: value(hard),
    };
    match setrlimit(resource, wanted) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let (soft, hard) = (soft.min(most), hard.min(most));
            warn(
                channel,
                format!("rlimit {resource:?} cannot be raised above {most}: clamped"),
            );
            let clamped = Rlimit {
                current: value(soft),
                maximum: value(hard),
            };
            setrlimit(resource, clamped).during(|| format!("set rlimit {resource:?}"))
        }
        Err(error) => Err(error).during(|| format!("set rlimit {resource:?}")),
    }
}

/// Scheduling, I/O priority, memory policy and execution domain.
pub(crate) fn scheduling(process: &ProcessPlan<'_>, linux: Option<&Linux>) -> Step {
    if let Some(attr) = &process.scheduler {
        cove_sys::sched::set_scheduler(attr).during(|| "set the scheduler")?;
    }
    if let Some((class, level)) = process.io_priority {
        cove_sys::sched::set_io_priority(class, level).during(|| "set the I/O priority")?;
    }
    let Some(linux) = linux else { return Ok(()) };
    if let Some(policy) = linux.memory_policy() {
        let mut mode = match policy.mode() {
            MemoryPolicyModeType::MpolDefault => 0,
            MemoryPolicyModeType::MpolPreferred => 1,
            MemoryPolicyModeType::MpolBind => 2,
            MemoryPolicyModeType::MpolInterleave => 3,
            MemoryPolicyModeType::MpolLocal => 4,
            MemoryPolicyModeType::MpolPreferredMany => 5,
            MemoryPolicyModeType::MpolWeightedInterleave => 6,
        };
        for flag in policy.flags().iter().flatten() {
            mode |= match flag {
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            };
        }
        let nodes = policy.nodes().as_deref().unwrap_or_default();
        let nodes = crate::plan::numbers(nodes)
            .map_err(|error| io::Error::other(error.to_string()))
            .during(|| "set the memory policy")?;
        cove_sys::sched::set_memory_policy(mode, &nodes).during(|| "set the memory policy")?;
    }
    if let Some(personality) = linux.personality() {
        if personality
            .flags()
            .as_ref()
            .is_some_and(|flags| !flags.is_empty())
        {
            return refuse(InitFault::Unsupported, "personality flags are not defined");
        }
        let domain = match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        };
        cove_sys::sched::set_personality(domain).during(|| "set the personality")?;
    }
    Ok(())
}

/// Closes every descriptor but the standard streams, the inherited ones and `keep`: what the caller
/// leaked is gone before a working directory is chosen or a program runs (CVE-2024-21626).
#[expect(
    unsafe_code,
    reason = "closes by number what nothing in this process uses any more"
)]
pub(crate) fn close_others(inherited: u32, keep: &[RawFd]) -> Step {
    let mut keep: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(*fd).ok())
        .collect();
    keep.sort_unstable();
    let mut first = 3 + inherited;
    for &fd in &keep {
        if fd > first {
            // SAFETY: the init has forgotten every other descriptor it owned (see `init::run`).
            unsafe { cove_sys::fds::close_between(first, fd - 1) }
                .during(|| "close inherited descriptors")?;
        }
        first = first.max(fd + 1);
    }
    // SAFETY: as above.
    unsafe { cove_sys::fds::close_between(first, u32::MAX) }
        .during(|| "close inherited descriptors")
}

/// Goes to the working directory, making sure that it lies in the container.
pub(crate) fn working_directory(cwd: &Path) -> Result<(), Failure> {
    let text = || {
        format!(
            "chdir to cwd ({:?}) set in config.json failed",
            cwd.display()
        )
    };
    rustix::process::chdir(cwd).during(text)?;
    // The kernel marks what the root does not reach, but only in this call.
    let now = rustix::process::getcwd(Vec::new());
    let inside = now
        .as_ref()
        .is_ok_and(|path| path.as_bytes().starts_with(b"/"));
    if !inside {
        let text = format!("cwd {:?} lies outside of the container", cwd.display());
        return refuse(InitFault::Hostile, text);
    }
    Ok(())
}

/// Groups, ids and capabilities, in the order that never leaves more than asked for.
/// `extra` capabilities stay permitted beside those asked for. Answers with the capabilities that it
/// has then: what this runtime itself does not have is no reason not to start.
pub(crate) fn identity(
    process: &ProcessPlan<'_>,
    in_userns: bool,
    extra: u64,
    channel: &Channel,
) -> Step<CapSets> {
    let wanted = &process.caps;
    let bounding = caps::limit_bounding(wanted.bounding);
    let bounding = bounding.during(|| "limit the capability bounding set")?;
    let keep = process.uid != 0;
    if keep {
        caps::keep_across_setuid(true).during(|| "keep capabilities")?;
    }
    let groups: Vec<Gid> = process
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    if !process.keep_groups {
        match set_thread_groups(&groups) {
            // A user namespace made without privilege denies setgroups; nobody asked for any.
            Err(Errno::PERM) if groups.is_empty() && in_userns => {}
            other => other.during(|| "set supplementary groups")?,
        }
    }
    let uid = Uid::from_raw(process.uid);
    streams::give(uid)?;
    let gid = Gid::from_raw(process.gid);
    set_thread_res_gid(gid, gid, gid).during(|| format!("set gid {}", process.gid))?;
    set_thread_res_uid(uid, uid, uid).during(|| format!("set uid {}", process.uid))?;
    if keep {
        caps::keep_across_setuid(false).during(|| "keep capabilities")?;
    }
    let mut sets = CapSets {
        bounding,
        ..*wanted
    };
    let with = |sets: &CapSets, extra: u64| {
        caps::set(&CapSets {
            permitted: sets.permitted | extra,
            ..*sets
        })
    };
    match with(&sets, extra) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let (permitted, inheritable) = caps::own().during(|| "read the own capabilities")?;
            sets.effective &= permitted;
            sets.permitted &= permitted;
            sets.inheritable &= inheritable & bounding;
            with(&sets, extra & permitted).during(|| "set capabilities")?;
        }
        other => other.during(|| "set capabilities")?,
    }
    let missing = (wanted.bounding & !sets.bounding)
        | (wanted.effective & !sets.effective)
        | (wanted.permitted & !sets.permitted)
        | (wanted.inheritable & !sets.inheritable);
    if missing != 0 {
        let names = capability_names(missing);
        warn(
            channel,
            format!("capabilities that cannot be had here: {names}"),
        );
    }
    // Of those that are missing altogether enough has been said.
    sets.ambient &= !missing;
    raise_ambient(&mut sets, channel);
    Ok(sets)
}

/// Raising an ambient capability that cannot be is a warning, as with every other runtime.
fn raise_ambient(sets: &mut CapSets, channel: &Channel) {
    let possible = sets.ambient & sets.inheritable & sets.permitted;
    let (lost, why) = match caps::set_ambient(possible) {
        Ok(()) => (
            sets.ambient & !possible,
            "not inheritable and permitted".to_owned(),
        ),
        Err(error) => (sets.ambient, reason(&error)),
    };
    if lost != 0 {
        let names = capability_names(lost);
        warn(channel, format!("ambient capabilities {names}: {why}"));
    }
    sets.ambient = possible;
}

pub(crate) fn raw(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}
