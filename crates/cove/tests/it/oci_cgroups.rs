//! `cove oci` and cgroups: what tools outside find of a container by them.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::path::Path;

use serde_json::Value;

use crate::bundle::Bundle;

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
