//! Limits as every back end sets and changes them; see [`super::contract`].

use super::GroupRecord;
use super::contract::{chain, create, hosts, resources};
use super::error::CgroupError;

#[test]
pub(super) fn limits_are_set_and_changed() {
    // Files by the controller's home; the first that is there is looked at.
    let cases = [
        (r#"{"pids":{"limit":7}}"#, vec![("pids.max", "7")]),
        (r#"{"pids":{"limit":-1}}"#, vec![("pids.max", "max")]),
        (
            r#"{"memory":{"limit":67108864,"swap":67108864}}"#,
            vec![
                ("memory.limit_in_bytes", "67108864"),
                ("memory.max", "67108864"),
            ],
        ),
        (
            r#"{"memory":{"limit":134217728,"swap":-1}}"#,
            vec![
                ("memory.limit_in_bytes", "134217728"),
                ("memory.max", "134217728"),
            ],
        ),
        (
            r#"{"cpu":{"shares":512,"quota":20000,"period":50000}}"#,
            vec![("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000")],
        ),
        (
            r#"{"cpu":{"burst":9000,"quota":10000}}"#,
            vec![("cpu.cfs_burst_us", "9000"), ("cpu.max.burst", "9000")],
        ),
        (
            r#"{"cpu":{"cpus":"0","mems":"0"}}"#,
            vec![("cpuset.cpus", "0")],
        ),
    ];
    for (view, host) in hosts() {
        let all = resources(
            r#"{"memory":{},"cpu":{"cpus":"","mems":""},"pids":{"limit":0},"blockIO":{}}"#,
        );
        let name = format!("lim-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, Some(&all)) else {
            continue;
        };
        for (json, files) in &cases {
            match cgroup.update(&resources(json)) {
                // This view lacks the controller, and says so.
                Err(CgroupError::Controller { .. }) => continue,
                Err(error) => panic!("{view} {json}: {}", chain(&error)),
                Ok(_) => {}
            }
            let mut seen = 0;
            for group in &cgroup.record().groups {
                let dir = group.mount.join(&group.path);
                for (file, want) in files {
                    if let Ok(got) = cove_sys::fs::read_to_string(&dir.join(file), 4096) {
                        assert_eq!(got.trim(), *want, "{view} {file}");
                        seen += 1;
                    }
                }
            }
            // Lifting a limit that cannot be there is nothing to do.
            assert!(seen > 0 || json.contains("-1"), "{view} {json}");
        }
        let refused = cgroup.update(&resources(r#"{"memory":{"limit":2097152,"swap":1048576}}"#));
        assert!(refused.is_err(), "{view}");
        cgroup.delete().unwrap();
    }
}

#[test]
fn an_update_that_is_refused_or_taken_back_changes_nothing() {
    let first = r#"{"memory":{"limit":67108864,"swap":134217728},
        "cpu":{"shares":512,"quota":20000,"period":50000,"cpus":"0"},"pids":{"limit":7}}"#;
    let other = r#"{"memory":{"limit":268435456,"swap":536870912},
        "cpu":{"shares":700,"quota":70000,"period":90000,"cpus":"0"},"pids":{"limit":9}}"#;
    for (view, host) in hosts() {
        let name = format!("back-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, Some(&resources("{}"))) else {
            continue;
        };
        match cgroup.update(&resources(first)) {
            // This view lacks a controller, and says so.
            Err(CgroupError::Controller { .. }) => {
                cgroup.delete().unwrap();
                continue;
            }
            Err(error) => panic!("{view}: {}", chain(&error)),
            Ok(_) => {}
        }
        let held = || {
            let mut held = Vec::new();
            for group in &cgroup.record().groups {
                let dir = group.mount.join(&group.path);
                for file in [
                    "memory.limit_in_bytes",
                    "memory.memsw.limit_in_bytes",
                    "memory.oom_control",
                    "memory.max",
                    "memory.swap.max",
                    "cpu.shares",
                    "cpu.cfs_quota_us",
                    "cpu.cfs_period_us",
                    "cpu.weight",
                    "cpu.max",
                    "cpuset.cpus",
                    "pids.max",
                ] {
                    let text = cove_sys::fs::read_to_string(&dir.join(file), 4096);
                    held.extend(text.ok().map(|text| (dir.join(file), text)));
                }
            }
            held
        };
        let before = held();
        let former = cgroup.update(&resources(other)).unwrap();
        assert_ne!(held(), before, "{view}");
        former.restore().unwrap();
        assert_eq!(held(), before, "{view}");
        // What is refused comes last: by then the others are in force.
        let mut refused = resources(other);
        let page = r#"[{"pageSize":"3MB","limit":1}]"#;
        refused.set_hugepage_limits(Some(serde_json::from_str(page).unwrap()));
        assert!(cgroup.update(&refused).is_err(), "{view}");
        assert_eq!(held(), before, "{view}");
        cgroup.delete().unwrap();
    }
}

/// Each pair, from the one before, is refused in one of the two orders.
#[test]
fn a_period_and_its_time_change_together() {
    for (view, host) in hosts() {
        let name = format!("pair-{}", view.replace(' ', "-"));
        let none = resources("{}");
        let Some(cgroup) = create(&host, &name, Some(&none)) else {
            continue;
        };
        let mut groups = cgroup.record().groups.iter();
        let of_cpu = |group: &&GroupRecord| group.controllers.iter().any(|one| one == "cpu");
        let Some(dir) = groups
            .find(of_cpu)
            .map(|group| group.mount.join(&group.path))
        else {
            cgroup.delete().unwrap();
            continue;
        };
        let read = |file: &str| {
            let text = cove_sys::fs::read_to_string(&dir.join(file), 4096);
            text.unwrap().trim().to_owned()
        };
        let update = |json: String| {
            let update = cgroup.update(&resources(&json));
            update.unwrap_or_else(|error| panic!("{view} {json}: {}", chain(&error)));
        };
        let pairs = [
            (10_000, 100_000),
            (3_000, 5_000),
            (90_000, 1_000_000),
            (4_000, 50_000),
        ];
        for (time, period) in pairs {
            update(format!(r#"{{"cpu":{{"quota":{time},"period":{period}}}}}"#));
            assert_eq!(read("cpu.cfs_quota_us"), time.to_string());
            assert_eq!(read("cpu.cfs_period_us"), period.to_string());
        }
        // The group above has to have some for it.
        let above = dir.parent().unwrap();
        let pairs = [
            (10_000, 100_000),
            (400, 5_000),
            (90_000, 1_000_000),
            (400, 8_000),
        ];
        if std::fs::write(above.join("cpu.rt_runtime_us"), "100000").is_ok() {
            for (time, period) in pairs {
                update(format!(
                    r#"{{"cpu":{{"realtimeRuntime":{time},"realtimePeriod":{period}}}}}"#
                ));
                assert_eq!(read("cpu.rt_runtime_us"), time.to_string());
                assert_eq!(read("cpu.rt_period_us"), period.to_string());
            }
        }
        cgroup.delete().unwrap();
    }
}
