//! Limits of a specification, and the directories they go to. On a hybrid
//! host a controller may sit in a v1 hierarchy or in the unified one; each
//! limit is written in the terms of where it is.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxRdma, LinuxResources};
use rustix::io::Errno;

use super::dir::{Dir, Notes};
use super::error::{CgroupError, Result};
use super::former::Former;
use super::groups::{Groups, Home};
use super::{convert, device_program, devices, v1_limits, v2_limits};

/// A controller a limit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// The field of the specification.
    pub(super) limit: &'static str,
    /// The v1 name.
    pub(super) v1: &'static str,
    /// The v2 name; empty where v2 has no controller for it.
    pub(super) v2: &'static str,
}

const fn need(limit: &'static str, v1: &'static str, v2: &'static str) -> Need {
    Need { limit, v1, v2 }
}

/// What has a value and so must take effect. Device rules are apart: v2 needs
/// no controller for them.
pub(super) fn needed(resources: &LinuxResources) -> Vec<Need> {
    let mut needs = Vec::new();
    let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let positive = |value: Option<u64>| value.is_some_and(|value| value != 0);
    if let Some(memory) = resources.memory()
        && (set(memory.limit())
            || set(memory.reservation())
            || set(memory.swap())
            || set(memory.kernel_tcp())
            || memory.swappiness().is_some()
            || memory.disable_oom_killer() == Some(true))
    {
        needs.push(need("memory", "memory", "memory"));
    }
    if let Some(cpu) = resources.cpu() {
        if positive(cpu.shares())
            || set(cpu.quota())
            || positive(cpu.period())
            || positive(cpu.burst())
            || cpu.idle().is_some_and(|idle| idle != 0)
            || set(cpu.realtime_runtime())
            || positive(cpu.realtime_period())
        {
            needs.push(need("cpu", "cpu", "cpu"));
        }
        let named = |list: &Option<String>| list.as_deref().is_some_and(|list| !list.is_empty());
        if named(cpu.cpus()) || named(cpu.mems()) {
            needs.push(need("cpu.cpus or cpu.mems", "cpuset", "cpuset"));
        }
    }
    if resources.pids().is_some_and(|pids| pids.limit() > 0) {
        needs.push(need("pids.limit", "pids", "pids"));
    }
    if let Some(io) = resources.block_io() {
        let throttled = [
            io.throttle_read_bps_device(),
            io.throttle_write_bps_device(),
            io.throttle_read_iops_device(),
            io.throttle_write_iops_device(),
        ];
        if io.weight().is_some_and(|weight| weight != 0)
            || io.leaf_weight().is_some_and(|weight| weight != 0)
            || listed(io.weight_device())
            || throttled.into_iter().any(listed)
        {
            needs.push(need("blockIO", "blkio", "io"));
        }
    }
    if listed(resources.hugepage_limits()) {
        needs.push(need("hugepageLimits", "hugetlb", "hugetlb"));
    }
    if resources.rdma().as_ref().is_some_and(|map| !map.is_empty()) {
        needs.push(need("rdma", "rdma", "rdma"));
    }
    if let Some(network) = resources.network() {
        if network.class_id().is_some_and(|id| id != 0) {
            needs.push(need("network.classID", "net_cls", ""));
        }
        if listed(network.priorities()) {
            needs.push(need("network.priorities", "net_prio", ""));
        }
    }
    for key in resources.unified().iter().flat_map(HashMap::keys) {
        // `cgroup.*` belongs to every cgroup; the rest names its controller.
        let known = [
            "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc", "dmem",
        ];
        let prefix = key.split('.').next().unwrap_or_default();
        if let Some(name) = known.iter().find(|name| **name == prefix) {
            needs.push(need("unified", "", name));
        }
    }
    needs
}

fn listed<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// Sets every limit that has a value.
pub(super) fn apply(groups: &Groups, resources: &LinuxResources) -> Result<()> {
    if let Some(memory) = resources.memory() {
        match groups.home("memory", "memory.max") {
            Some(Home::V1(dir)) => v1_limits::memory(dir, memory)?,
            Some(Home::V2(dir)) => v2_limits::memory(dir, memory)?,
            None => missing(resources, "memory")?,
        }
    }
    if let Some(cpu) = resources.cpu() {
        match groups.home("cpu", "cpu.max") {
            Some(Home::V1(dir)) => v1_limits::cpu(dir, cpu)?,
            Some(Home::V2(dir)) => v2_limits::cpu(dir, cpu)?,
            None => missing(resources, "cpu")?,
        }
        match groups.home("cpuset", "cpuset.cpus") {
            Some(Home::V1(dir) | Home::V2(dir)) => cpuset(dir, cpu.cpus(), cpu.mems())?,
            None => missing(resources, "cpuset")?,
        }
    }
    if let Some(pids) = resources.pids() {
        match (
            groups.home("pids", "pids.max"),
            convert::max(Some(pids.limit())),
        ) {
            (Some(Home::V1(dir) | Home::V2(dir)), Some(limit)) => dir.write("pids.max", &limit)?,
            (Some(_), None) => {}
            (None, _) => missing(resources, "pids")?,
        }
    }
    if let Some(io) = resources.block_io() {
        match groups.home("blkio", "io.max") {
            Some(Home::V1(dir)) => v1_limits::block_io(dir, io)?,
            Some(Home::V2(dir)) => v2_limits::block_io(dir, io)?,
            None => missing(resources, "blkio")?,
        }
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        huge_pages(groups, limit)?;
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        rdma(groups, device, limit)?;
    }
    if let Some(network) = resources.network() {
        v1_limits::network(groups, network)?;
    }
    v2_limits::unified(groups, resources.unified().as_ref())
}

/// Sets limits that have a value in the place of those in force, or none of them.
pub(super) fn change(groups: &Groups, resources: &LinuxResources) -> Result<Former> {
    let notes = Notes::default();
    let noting = Groups {
        named: groups
            .named
            .iter()
            .map(|(controllers, dir)| (controllers.clone(), dir.clone().with_notes(&notes)))
            .collect(),
        unified: groups.unified.clone().map(|dir| dir.with_notes(&notes)),
    };
    let changed = apply(&noting, resources).and_then(|()| {
        if resources.devices().as_ref().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let rules = devices::parse(&devices::device_rules(resources))?;
        apply_devices(groups, &rules, false)
    });
    let former = Former::of(&notes);
    match changed {
        Ok(()) => Ok(former),
        Err(error) => {
            // The first error counts: what the kernel had it takes again.
            drop(former.restore());
            Err(error)
        }
    }
}

/// Fails when a limit with a value lacks its controller.
fn missing(resources: &LinuxResources, v1: &str) -> Result<()> {
    match needed(resources).iter().find(|need| need.v1 == v1) {
        Some(need) => Err(CgroupError::Controller {
            limit: need.limit,
            controller: if need.v2.is_empty() { need.v1 } else { need.v2 },
        }),
        None => Ok(()),
    }
}

fn cpuset(dir: &Dir, cpus: &Option<String>, mems: &Option<String>) -> Result<()> {
    for (file, list) in [("cpuset.cpus", cpus), ("cpuset.mems", mems)] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            dir.write(file, list)?;
        }
    }
    Ok(())
}

fn huge_pages(groups: &Groups, limit: &LinuxHugepageLimit) -> Result<()> {
    let size = limit.page_size();
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &size[digits.len()..];
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || !["KB", "MB", "GB"].contains(&unit) {
        return Err(CgroupError::Value {
            limit: "hugepageLimits.pageSize",
            value: size.clone(),
            reason: "it is a number with KB, MB or GB",
        });
    }
    let (dir, suffix) = match groups.home("hugetlb", &format!("hugetlb.{size}.max")) {
        Some(Home::V1(dir)) => (dir, "limit_in_bytes"),
        Some(Home::V2(dir)) => (dir, "max"),
        None => {
            // Here or nowhere: a size the host lacks has no file either.
            let none = groups.named("hugetlb").is_none()
                && !groups
                    .unified
                    .as_ref()
                    .is_some_and(|dir| controllers(dir).contains("hugetlb"));
            return Err(if none {
                CgroupError::Controller {
                    limit: "hugepageLimits",
                    controller: "hugetlb",
                }
            } else {
                no_such_page(size)
            });
        }
    };
    // On v1 -1 is no limit, on v2 it is `max`; 0 is a limit here.
    let value = match (limit.limit(), suffix) {
        (value, "max") if value < 0 => "max".to_owned(),
        (value, _) => value.to_string(),
    };
    let file = format!("hugetlb.{size}.{suffix}");
    if !dir.has(&file) {
        return Err(no_such_page(size));
    }
    dir.write(&file, &value)?;
    // Reservations fail early where the kernel counts them (5.7).
    let reserved = format!("hugetlb.{size}.rsvd.{suffix}");
    if dir.has(&reserved) {
        dir.write(&reserved, &value)
    } else {
        Ok(())
    }
}

fn no_such_page(size: &str) -> CgroupError {
    CgroupError::Value {
        limit: "hugepageLimits.pageSize",
        value: size.to_owned(),
        reason: "this machine has no huge pages of that size",
    }
}

fn controllers(dir: &Dir) -> String {
    dir.read_if_there("cgroup.controllers")
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn rdma(groups: &Groups, device: &str, limit: &LinuxRdma) -> Result<()> {
    let Some(Home::V1(dir) | Home::V2(dir)) = groups.home("rdma", "rdma.max") else {
        return Err(CgroupError::Controller {
            limit: "rdma",
            controller: "rdma",
        });
    };
    if device.contains(char::is_whitespace) {
        return Err(CgroupError::Value {
            limit: "rdma",
            value: device.to_owned(),
            reason: "a device name has no white space",
        });
    }
    let mut line = device.to_owned();
    for (key, value) in [
        ("hca_handle", limit.hca_handles()),
        ("hca_object", limit.hca_objects()),
    ] {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    dir.write("rdma.max", &line)
}

/// Puts device rules in force, in the place of those before. `fresh` says
/// that there are none yet.
pub(super) fn apply_devices(groups: &Groups, rules: &[devices::Rule], fresh: bool) -> Result<()> {
    if let Some(dir) = groups.named("devices") {
        return v1_limits::devices(dir, rules);
    }
    if fresh && devices::allows_everything(rules) {
        return Ok(());
    }
    let Some(dir) = &groups.unified else {
        return if devices::allows_everything(rules) {
            Ok(())
        } else {
            Err(CgroupError::Controller {
                limit: "devices",
                controller: "devices",
            })
        };
    };
    v2_limits::devices(dir, &device_program::generate(rules), fresh)
}

/// Whether an error means that this user may not.
pub(super) fn is_denied(source: Errno) -> bool {
    matches!(source, Errno::ACCESS | Errno::PERM | Errno::ROFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_need_controllers() {
        for (json, want) in [
            (
                r#"{"memory":{},"cpu":{"shares":0},"pids":{"limit":0},"blockIO":{}}"#,
                vec![],
            ),
            (r#"{"memory":{"limit":-1}}"#, vec!["memory"]),
            (r#"{"pids":{"limit":-1}}"#, vec![]),
            (r#"{"cpu":{"cpus":"0","shares":2}}"#, vec!["cpu", "cpuset"]),
            (r#"{"network":{"classID":5}}"#, vec!["net_cls"]),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
                vec!["hugetlb"],
            ),
        ] {
            let resources: LinuxResources = serde_json::from_str(json).unwrap();
            let names: Vec<_> = needed(&resources).iter().map(|need| need.v1).collect();
            assert_eq!(names, want, "{json}");
        }
    }
}
