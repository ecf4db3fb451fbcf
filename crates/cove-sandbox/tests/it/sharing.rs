//! Containers whose specifications name the same cgroup.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::sandbox::{Sandbox, cgroups, rt};

#[test]
fn of_several_made_at_once_one_gets_it() {
    let path = format!("cove-test-{}-once", std::process::id());
    let sandboxes: Vec<Sandbox> = (0..6)
        .map(|_| {
            let mut sandbox = Sandbox::new("sleep 1000");
            sandbox.spec["linux"]["cgroupsPath"] = json!(format!("/{path}"));
            // The others' limits do not reach the one.
            sandbox.spec["linux"]["resources"] = json!({"pids": {"limit": 50}});
            sandbox
        })
        .collect();
    for _ in 0..5 {
        let creators: Vec<_> = sandboxes
            .iter()
            .map(|sandbox| {
                let error = fs::File::create(sandbox.dir.path().join("error")).unwrap();
                let mut create = sandbox.command("create", &[]);
                create.stdout(Stdio::null()).stderr(error).spawn().unwrap()
            })
            .collect();
        let mut made = Vec::new();
        for (sandbox, mut creator) in sandboxes.iter().zip(creators) {
            if creator.wait().unwrap().success() {
                made.push(sandbox);
            } else {
                let error = fs::read_to_string(sandbox.dir.path().join("error")).unwrap();
                assert!(error.contains("is not this container's"), "{error}");
            }
        }
        assert_eq!(made.len(), 1);
        made[0].ok("start", &[]);
        let pid = made[0].state()["pid"].to_string();
        assert_eq!(made[0].ok("ps", &[]).trim(), format!("[{pid}]"));
        made[0].ok("delete", &["--force"]);
        assert!(cgroups(&path).is_empty());
    }
}

#[test]
fn one_that_has_ended_leaves_it_to_the_next() {
    let first = Sandbox::new("true");
    first.create();
    first.ok("start", &[]);
    first.wait_for("stopped");
    let mut second = Sandbox::new("sleep 1000");
    second.spec["linux"]["cgroupsPath"] = json!(format!("/{}", first.id));
    second.write();
    // Both under one root, as an engine has them.
    let on_second = |operation: &str, more: &[&str]| {
        let mut command = Command::new(rt());
        let output = command
            .args([operation, &second.id])
            .args(more)
            .arg(format!("--root={}", first.state_root().display()))
            .arg(format!("--bundle={}", second.dir.path().display()))
            .stdin(Stdio::null())
            .stdout(fs::File::create(first.dir.path().join("second")).unwrap())
            .status();
        assert!(output.unwrap().success(), "{operation}");
    };
    on_second("create", &[]);
    on_second("start", &[]);
    assert!(!first.call("kill", &["9", "--all"]).status.success());
    first.ok("delete", &[]);
    on_second("state", &[]);
    let state = fs::read_to_string(first.dir.path().join("second")).unwrap();
    assert!(state.contains(r#""status":"running""#), "{state}");
    on_second("delete", &["--force"]);
    assert!(cgroups(&first.id).is_empty());
}
