//! What every back end owes its callers, run against each kind of host there
//! is: the host as it is, and views of it with fewer hierarchies. On a host
//! with a unified hierarchy alone all views are that one.
#![expect(clippy::disallowed_methods, reason = "processes to put into cgroups")]

use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use rustix::process::{Pid, Signal};

use super::error::CgroupError;
use super::host::Host;
use super::path::CgroupPath;
use super::{Backend, Request, open};

/// The views of this host, by name.
pub(super) fn hosts() -> Vec<(&'static str, Host)> {
    let Ok(host) = Host::detect() else {
        return Vec::new();
    };
    let only = |test: fn(bool) -> bool| Host {
        hierarchies: host
            .hierarchies
            .iter()
            .filter(|m| test(m.is_unified()))
            .cloned()
            .collect(),
    };
    let views = [
        ("as it is", host.clone()),
        ("unified", only(|u| u)),
        ("named", only(|u| !u)),
    ];
    views
        .into_iter()
        .filter(|(_, host)| !host.hierarchies.is_empty())
        .collect()
}

pub(super) fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// Makes a cgroup of this test's own. `None` where this process may not.
pub(super) fn create(
    host: &Host,
    name: &str,
    resources: Option<&LinuxResources>,
) -> Option<Box<dyn Backend>> {
    // A parent of its own: one that is shared stays while anybody is in it.
    let id = format!("cove-test-{}-{name}/x", std::process::id());
    let path = CgroupPath::resolve(
        Some(std::path::Path::new("/").join(id).as_path()),
        "x",
        false,
    );
    let request = Request {
        path: path.unwrap(),
        resources,
        ..Request::default()
    };
    match host.create(&request) {
        Ok(backend) => Some(backend),
        Err(CgroupError::Create { source, .. }) if super::limits::is_denied(source) => None,
        Err(error) => panic!("{name}: {}", chain(&error)),
    }
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| {
        format!("{error}: {}", chain(source))
    })
}

struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed()).unwrap()
    }

    fn state(&self) -> char {
        let path = format!("/proc/{}/stat", self.0.id());
        let text = cove_sys::fs::read_to_string(path.as_ref(), 4096).unwrap();
        text.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Moves a process into every hierarchy, as an administrator would.
fn put(cgroup: &dyn Backend, child: &Child) {
    for hierarchy in cgroup.hierarchies() {
        let path = format!(
            "/proc/self/fd/{}/cgroup.procs",
            hierarchy.directory.as_raw_fd()
        );
        std::fs::write(path, child.id().to_string()).unwrap();
    }
}

/// A shell that has joined the cgroup before its script begins.
fn started_in(cgroup: &dyn Backend, script: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("read x; {script}")])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    put(cgroup, &child);
    drop(child.stdin.take());
    child
}

/// Where it has no directory it would be in its creator's.
#[test]
fn every_hierarchy_is_joined() {
    for (view, host) in hosts() {
        let name = format!("all-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, None) else {
            continue;
        };
        let joined: Vec<_> = cgroup
            .record()
            .groups
            .iter()
            .map(|group| &group.controllers)
            .collect();
        let mounted: Vec<_> = host
            .hierarchies
            .iter()
            .map(|one| &one.controllers)
            .collect();
        assert_eq!(joined, mounted, "{view}");
        cgroup.delete().unwrap();
    }
}

/// A thread counts as a process here: on v1 each may live elsewhere.
#[test]
fn the_entrances_lead_into_every_named_hierarchy() {
    let limits = resources(r#"{"memory":{}}"#);
    for (view, host) in hosts() {
        let name = format!("enter-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, Some(&limits)) else {
            continue;
        };
        let entrances = cgroup.entrances().unwrap();
        let entered = std::thread::spawn(move || {
            entrances
                .iter()
                .for_each(|entrance| entrance.enter().unwrap());
            let own = std::path::Path::new("/proc/thread-self/cgroup");
            cove_sys::fs::read_to_string(own, 1 << 16).unwrap()
        });
        let own = entered.join().unwrap();
        for group in &cgroup.record().groups {
            let path = group.path.display();
            let line = format!(":{}:/{path}", group.controllers.join(","));
            let named = !group.controllers.is_empty();
            assert_eq!(
                own.lines().any(|own| own.ends_with(&line)),
                named,
                "{view} {line}: {own}"
            );
        }
        cgroup.delete().unwrap();
    }
}

#[test]
fn a_life() {
    for (view, host) in hosts() {
        let Some(cgroup) = create(&host, &format!("life-{}", view.replace(' ', "-")), None) else {
            continue;
        };
        assert_eq!(cgroup.pids().unwrap(), [], "{view}");
        let (one, two) = (Sleeper::start(), Sleeper::start());
        put(&*cgroup, &one.0);
        put(&*cgroup, &two.0);
        let mut want = [one.pid(), two.pid()];
        want.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        let mut pids = cgroup.pids().unwrap();
        pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        assert_eq!(pids, want, "{view}");

        // From its record it is the same one.
        let json = serde_json::to_string(cgroup.record()).unwrap();
        let again = open(&serde_json::from_str(&json).unwrap()).unwrap();
        assert_eq!(again.record(), cgroup.record());
        assert_eq!(again.pids().unwrap().len(), 2, "{view}");

        assert!(!again.is_frozen().unwrap());
        again.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap(), "{view}");
        again.thaw().unwrap();
        assert!(!cgroup.is_frozen().unwrap(), "{view}");

        // A living process keeps its cgroup; killing gets even a frozen one.
        cgroup.freeze().unwrap();
        cgroup.signal(Signal::KILL).unwrap();
        let (mut one, mut two) = (one, two);
        assert!(!one.0.wait().unwrap().success());
        assert!(!two.0.wait().unwrap().success());
        cgroup.delete().unwrap();
        again.delete().unwrap();
        let gone = open(again.record()).unwrap();
        assert_eq!(gone.pids().unwrap(), [], "{view}");
        gone.signal(Signal::KILL).unwrap();
        for group in &cgroup.record().groups {
            assert!(!group.mount.join(&group.path).exists(), "{view} {group:?}");
        }
    }
}

#[test]
fn signals_reach_every_process() {
    for (view, host) in hosts() {
        let Some(cgroup) = create(&host, &format!("sig-{}", view.replace(' ', "-")), None) else {
            continue;
        };
        let sleeper = Sleeper::start();
        put(&*cgroup, &sleeper.0);
        cgroup.signal(Signal::STOP).unwrap();
        let start = Instant::now();
        while sleeper.state() != 'T' {
            assert!(start.elapsed() < Duration::from_secs(5), "{view}");
            std::thread::yield_now();
        }
        drop(sleeper);
        cgroup.delete().unwrap();
    }
}

#[test]
fn a_failed_creation_leaves_nothing() {
    for (view, host) in hosts() {
        for json in [
            r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#,
            r#"{"hugepageLimits":[{"pageSize":"../../x","limit":1}]}"#,
            r#"{"rdma":{"no such":{"hcaHandles":1}}}"#,
            r#"{"unified":{"../../memory.max":"1"}}"#,
            r#"{"memory":{"limit":2097152,"swap":1048576}}"#,
        ] {
            let limits = resources(json);
            let path = format!(
                "/cove-test-{}-none/{}",
                std::process::id(),
                view.replace(' ', "-")
            );
            let request = Request {
                path: CgroupPath::resolve(Some(path.as_ref()), "x", false).unwrap(),
                resources: Some(&limits),
                ..Request::default()
            };
            let error = host.create(&request).map(drop).unwrap_err();
            for mounted in &host.hierarchies {
                let parent = mounted.mount.join(&path[1..]);
                assert!(!parent.exists(), "{view} {json}: {}", chain(&error));
                assert!(
                    !parent.parent().unwrap().exists(),
                    "{view} {json}: {}",
                    chain(&error)
                );
            }
        }
    }
}

#[test]
fn the_last_in_a_parent_of_its_own_takes_it_away() {
    for (view, host) in hosts() {
        let parent = format!(
            "cove-test-{}-own-{}",
            std::process::id(),
            view.replace(' ', "-")
        );
        let make = |id: &str| {
            let path = format!("/{parent}/{id}");
            let limits = resources("{}");
            host.create(&Request {
                path: CgroupPath::resolve(Some(path.as_ref()), id, false).unwrap(),
                resources: Some(&limits),
                owned: 2,
                ..Request::default()
            })
        };
        // The second one finds the parent there, and outlives the first.
        let (first, second) = match (make("a"), make("b")) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(CgroupError::Create { source, .. }), _) if super::limits::is_denied(source) => {
                continue;
            }
            (first, second) => panic!("{view}: {first:?} {second:?}"),
        };
        first.delete().unwrap();
        second.delete().unwrap();
        for mounted in &host.hierarchies {
            assert!(!mounted.mount.join(&parent).exists(), "{view} {mounted:?}");
        }
    }
}

#[test]
fn devices_are_refused() {
    for (view, host) in hosts() {
        let limits = resources(
            r#"{"devices":[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":10,"minor":200,"access":"r"}]}"#,
        );
        let name = format!("dev-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, Some(&limits)) else {
            continue;
        };
        let readable = |path: &str| {
            let mut child = started_in(&*cgroup, &format!("exec 3<{path}"));
            child.wait().unwrap().success()
        };
        assert!(readable("/dev/zero"), "{view}");
        assert!(!readable("/dev/kmsg"), "{view}");
        let open = resources(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
        cgroup
            .update(&open)
            .unwrap_or_else(|e| panic!("{view}: {}", chain(&e)));
        assert!(readable("/dev/kmsg"), "{view}");
        cgroup.update(&limits).unwrap();
        assert!(!readable("/dev/kmsg"), "{view}");
        cgroup.delete().unwrap();
    }
}

#[test]
fn a_limit_can_come_later() {
    for (view, host) in hosts() {
        let none = resources("{}");
        let name = format!("late-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, Some(&none)) else {
            continue;
        };
        let sleeper = Sleeper::start();
        put(&*cgroup, &sleeper.0);
        match cgroup.update(&resources(r#"{"pids":{"limit":6},"cpu":{"cpus":"0"}}"#)) {
            Err(CgroupError::Controller { .. }) => {}
            other => {
                other.unwrap_or_else(|e| panic!("{view}: {}", chain(&e)));
                let again = open(cgroup.record()).unwrap();
                let pids = again.stats().unwrap().pids;
                assert_eq!((pids.current, pids.limit), (1, 6), "{view}");
                again.signal(Signal::KILL).unwrap();
            }
        }
        drop(sleeper);
        cgroup.delete().unwrap();
        for group in &cgroup.record().groups {
            let path = group.mount.join(&group.path);
            assert!(!path.exists(), "{view} {group:?}");
            assert!(!path.parent().unwrap().exists(), "{view} {group:?}");
        }
    }
}

#[test]
fn only_an_empty_cgroup_that_runs_is_free() {
    for (view, host) in hosts() {
        let name = format!("free-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, None) else {
            continue;
        };
        let path = std::path::Path::new("/").join(&cgroup.record().groups[0].path);
        let path = CgroupPath::resolve(Some(&path), "x", false).unwrap();
        host.check_free(&path).unwrap();
        let refused = || host.check_free(&path).unwrap_err().to_string();
        // Be they in a cgroup below it.
        let sleeper = Sleeper::start();
        for hierarchy in cgroup.hierarchies() {
            // A cpuset that is new takes no process.
            if hierarchy.controllers.contains("cpuset") {
                continue;
            }
            let below = format!("/proc/self/fd/{}/below", hierarchy.directory.as_raw_fd());
            std::fs::create_dir(&below).unwrap();
            std::fs::write(format!("{below}/cgroup.procs"), sleeper.0.id().to_string()).unwrap();
        }
        assert!(refused().contains("processes"), "{view}");
        cgroup.signal(Signal::KILL).unwrap();
        drop(sleeper);
        let start = Instant::now();
        while host.check_free(&path).is_err() {
            assert!(start.elapsed() < Duration::from_secs(5), "{view}");
            std::thread::yield_now();
        }
        cgroup.freeze().unwrap();
        assert!(refused().contains("frozen"), "{view}");
        cgroup.thaw().unwrap();
        cgroup.delete().unwrap();
        host.check_free(&path).unwrap();
    }
}

#[test]
fn usage_is_counted() {
    for (view, host) in hosts() {
        let counted = resources(r#"{"memory":{},"cpu":{},"pids":{"limit":9},"blockIO":{}}"#);
        let name = format!("use-{}", view.replace(' ', "-"));
        let limited = if host
            .controllers()
            .unwrap()
            .iter()
            .any(|name| name == "pids")
        {
            Some(&counted)
        } else {
            None
        };
        let Some(cgroup) = create(&host, &name, limited) else {
            continue;
        };
        let sleeper = Sleeper::start();
        put(&*cgroup, &sleeper.0);
        let stats = cgroup.stats().unwrap();
        if limited.is_some() {
            assert_eq!((stats.pids.current, stats.pids.limit), (1, 9), "{view}");
            assert!(stats.memory.usage.limit > 1 << 30, "{view}");
        }
        serde_json::to_string(&stats).unwrap();
        drop(sleeper);
        cgroup.delete().unwrap();
    }
}

#[test]
fn an_out_of_memory_kill_is_told() {
    for (view, host) in hosts() {
        if !host
            .controllers()
            .unwrap()
            .iter()
            .any(|name| name == "memory")
        {
            continue;
        }
        let limits = resources(r#"{"memory":{"limit":4194304,"swap":4194304}}"#);
        let name = format!("oom-{}", view.replace(' ', "-"));
        let Some(cgroup) = create(&host, &name, Some(&limits)) else {
            continue;
        };
        let mut watch = cgroup.watch_oom().unwrap().unwrap();
        assert_eq!(watch.kills().unwrap(), 0);
        let hog = "exec dd if=/dev/zero of=/dev/null bs=64M count=1";
        let mut child = started_in(&*cgroup, hog);
        let mut ready = [rustix::event::PollFd::new(
            &watch,
            rustix::event::PollFlags::IN,
        )];
        let patience = rustix::time::Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut ready, Some(&patience)).unwrap(),
            1,
            "{view}"
        );
        assert!(!child.wait().unwrap().success());
        assert_eq!(watch.kills().unwrap(), 1, "{view}");
        cgroup.delete().unwrap();
    }
}

#[test]
fn what_the_host_lacks_is_said() {
    let Some((_, host)) = hosts().into_iter().next() else {
        return;
    };
    for json in [
        r#"{"network":{"classID":5}}"#,
        r#"{"unified":{"misc.max":"1"}}"#,
    ] {
        let names = host.controllers().unwrap();
        if names.iter().any(|name| name == "net_cls" || name == "misc") {
            continue;
        }
        let limits = resources(json);
        let path = CgroupPath::resolve(Some("/cove-test-lack".as_ref()), "x", false).unwrap();
        let request = Request {
            path,
            resources: Some(&limits),
            ..Request::default()
        };
        let error = host.create(&request).map(drop).unwrap_err();
        assert!(
            error.to_string().contains("does not offer"),
            "{}",
            chain(&error)
        );
    }
}

/// All of it where the unified hierarchy has every controller, which the
/// machine at hand need not have.
#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_everything_on_the_unified_hierarchy() {
    let host = Host::detect().unwrap();
    assert!(
        host.hierarchies
            .iter()
            .all(super::mounted::Mounted::is_unified)
    );
    every_hierarchy_is_joined();
    a_life();
    signals_reach_every_process();
    super::contract_limits::limits_are_set_and_changed();
    a_failed_creation_leaves_nothing();
    devices_are_refused();
    a_limit_can_come_later();
    only_an_empty_cgroup_that_runs_is_free();
    usage_is_counted();
    an_out_of_memory_kill_is_told();
    what_the_host_lacks_is_said();
}
