//! A creation that fails anywhere leaves no trace.

use std::fs;

use serde_json::json;

use crate::sandbox::Sandbox;

/// A change that makes a creation fail.
type Spoil = fn(&mut Sandbox);

#[test]
fn nothing_is_left_by_any_failing_step() {
    let cases: [(&str, Spoil, &str); 12] = [
        (
            "root",
            |s| s.spec["root"]["path"] = json!("none"),
            "root filesystem",
        ),
        (
            "source",
            |s| {
                s.mount(
                    json!({"destination": "/mnt", "type": "bind", "source": "/none",
                    "options": ["bind"]}),
                );
            },
            "bind source",
        ),
        (
            "type",
            |s| {
                s.mount(json!({"destination": "/mnt", "type": "nofs", "source": "x"}));
            },
            "mount nofs",
        ),
        (
            "option",
            |s| {
                s.mount(json!({"destination": "/mnt", "type": "tmpfs", "options": ["nonsense"]}));
            },
            "nonsense",
        ),
        (
            "sysctl",
            |s| s.spec["linux"]["sysctl"] = json!({"net.none.x": "1"}),
            "sysctl",
        ),
        (
            "cwd",
            |s| s.spec["process"]["cwd"] = json!("/bin/busybox"),
            "cwd",
        ),
        (
            "program",
            |s| s.spec["process"]["args"] = json!(["nothing"]),
            "not found in $PATH",
        ),
        (
            "device",
            |s| {
                fs::write(s.rootfs().join("etc/dev"), "").unwrap();
                s.spec["linux"]["devices"] =
                    json!([{"path": "/etc/dev", "type": "c", "major": 1, "minor": 3}]);
            },
            "something else",
        ),
        (
            "namespace",
            |s| {
                s.namespace(json!({"type": "network", "path": "/none"}));
            },
            "open namespace",
        ),
        (
            "cgroup",
            |s| s.spec["linux"]["cgroupsPath"] = json!("/"),
            "cgroup",
        ),
        (
            "version",
            |s| s.spec["ociVersion"] = json!("9.0"),
            "ociVersion",
        ),
        (
            "resctrl",
            |s| s.spec["linux"]["intelRdt"] = json!({"closID": "x"}),
            "intelRdt",
        ),
    ];
    for (name, spoil, words) in cases {
        let mut sandbox = Sandbox::new("true");
        spoil(&mut sandbox);
        let (_, error) = sandbox.fails();
        assert!(error.contains(words), "{name}: {error}");
        assert!(
            !processes().contains(&sandbox.id),
            "{name}: a process is left"
        );
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !table.contains(sandbox.dir.path().to_str().unwrap()),
            "{name}: a mount is left"
        );
    }
}

/// The command lines of all processes.
fn processes() -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        all.push_str(&fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default());
    }
    all
}
