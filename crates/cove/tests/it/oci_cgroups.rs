//! `cove oci` and cgroups: what tools outside find of a container by them.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::bundle::{Bundle, text};

#[test]
fn a_bare_bundle_is_counted_and_found() {
    let bundle = Bundle::new("bare", &["sleep", "1000"]);
    bundle.edit(|config| {
        config["linux"].as_object_mut().unwrap().remove("resources");
    });
    bundle.create();
    bundle.ok(&["start"]);
    let state: Value = serde_json::from_str(&bundle.ok(&["state"])).unwrap();
    for named in ["pids", "memory", "cpu", "systemd"] {
        let top = Path::new("/sys/fs/cgroup").join(named);
        // Where the unified hierarchy is the only one there is nothing to look for.
        if !top.join("cgroup.sane_behavior").exists() {
            continue;
        }
        let procs = top.join(&bundle.id).join("cgroup.procs");
        let listed = std::fs::read_to_string(&procs).unwrap();
        assert_eq!(listed.trim(), state["pid"].to_string(), "{procs:?}");
    }
    if Path::new("/sys/fs/cgroup/pids/cgroup.sane_behavior").exists() {
        let event: Value = serde_json::from_str(&bundle.ok(&["events", "--stats"])).unwrap();
        assert_eq!(event["data"]["pids"]["current"], 1, "{event}");
        assert_ne!(event["data"]["memory"]["usage"]["usage"], Value::Null);
    }
    bundle.ok(&["delete", "--force"]);
    assert!(crate::bundle::cgroups(&bundle.id).is_empty());
}

#[test]
fn no_limit_of_processes_is_said_in_several_ways() {
    let top = Path::new("/sys/fs/cgroup/pids");
    if !top.join("cgroup.sane_behavior").exists() {
        return;
    }
    for (version, limit, want) in [
        ("1.0.2-dev", json!({"limit": 0}), "max"),
        ("1.2.1", json!({"limit": -1}), "max"),
        ("1.3.0", json!({"limit": 0}), "1"),
        ("1.3.0", json!({}), "max"),
    ] {
        let bundle = Bundle::new("pids", &["sleep", "1000"]);
        bundle.edit(|config| {
            config["ociVersion"] = json!(version);
            config["linux"]["resources"]["pids"] = limit.clone();
        });
        bundle.create();
        let file = top.join(&bundle.id).join("pids.max");
        let max = || std::fs::read_to_string(&file).unwrap().trim().to_owned();
        assert_eq!(max(), want, "{version} {limit}");
        bundle.ok(&["update", "--pids-limit", "20"]);
        assert_eq!(max(), "20");
        bundle.ok(&["update", "--pids-limit", "0"]);
        assert_eq!(max() == "1", version == "1.3.0");
    }
}

#[test]
fn cgroups_that_nobody_manages_are_the_callers() {
    let bundle = Bundle::new("nobody", &["cat", "/proc/self/cgroup"]);
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != "cgroup");
    });
    let run = ["--cgroup-manager", "disabled", "run"];
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(bundle.ok(&run), own);
    bundle.edit(|config| config["linux"]["resources"]["memory"] = json!({"limit": 1 << 26}));
    let refused = bundle.on(&run);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("need a cgroup manager"));
    assert!(
        bundle
            .on(&["--cgroup-manager", "cgroupfs", "run"])
            .status
            .success()
    );
}

#[test]
fn several_are_deleted_by_a_pattern() {
    let bundle = Bundle::new("pattern", &["sleep", "1000"]);
    let create = |id: &str| {
        let mut command = bundle.command(&["create", id]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
    };
    let id = |name: &str| format!("{}-{name}", bundle.id);
    for name in ["a1", "a2", "b1"] {
        create(&id(name));
    }
    let delete = |words: &[&str]| bundle.command(words).output().unwrap();
    let list = || text(&delete(&["list", "-q"]).stdout);
    // One that runs is not deleted without force, and hides no other.
    assert!(delete(&["start", &id("a1")]).status.success());
    let pattern = format!("^{}-a[0-9]$", bundle.id);
    let refused = delete(&["delete", "--regex", &pattern]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains(&id("a1")), "{refused:?}");
    assert_eq!(list(), format!("{}\n{}\n", id("a1"), id("b1")));
    assert!(!delete(&["delete", "--regex", "a("]).status.success());
    for pattern in [&*pattern, "nothing-like-it", "b1"] {
        let output = delete(&["delete", "--force", "--regex", pattern]);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(list(), "");
}

#[test]
fn a_root_that_is_not_there_is_told() {
    let bundle = Bundle::new("root", &["true"]);
    let missing = bundle.path().join("missing");
    let list = |root: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cove"));
        command.args(["oci", "--root"]).arg(root).arg("list");
        command.output().unwrap()
    };
    let output = list(&missing);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr).to_lowercase();
    assert!(error.contains("no such file"), "{error}");
    std::fs::create_dir(&missing).unwrap();
    assert!(list(&missing).status.success());
}
