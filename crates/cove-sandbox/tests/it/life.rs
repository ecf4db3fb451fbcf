//! create, start, state, kill, pause, delete: each from a process of its own.

use std::fs;

use serde_json::json;

use crate::sandbox::{Sandbox, cgroups};

#[test]
fn a_life() {
    let mut sandbox = Sandbox::new("echo started; sleep 1000");
    sandbox.spec["annotations"] = json!({"a.b": "c"});
    let pid_file = sandbox.dir.path().join("pid");
    let out = fs::File::create(sandbox.dir.path().join("out")).unwrap();
    let option = format!("--pid-file={}", pid_file.display());
    let status = sandbox
        .command("create", &[&option])
        .stdout(out)
        .status()
        .unwrap();
    assert!(status.success());
    let state = sandbox.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["annotations"]["a.b"], "c");
    assert_eq!(
        fs::read_to_string(&pid_file).unwrap(),
        state["pid"].to_string()
    );
    assert_eq!(sandbox.output(), "");
    assert!(!cgroups(&sandbox.id).is_empty());
    assert!(sandbox.ok("list", &[]).contains(&sandbox.id));
    let twice = sandbox.call("create", &[]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("exists already"));
    sandbox.ok("start", &[]);
    assert_eq!(sandbox.state()["status"], "running");
    assert!(!sandbox.call("start", &[]).status.success());
    assert!(sandbox.ok("ps", &[]).contains(&state["pid"].to_string()));
    sandbox.ok("pause", &[]);
    assert_eq!(sandbox.state()["status"], "paused");
    sandbox.ok("resume", &[]);
    assert_eq!(sandbox.state()["status"], "running");
    let refused = sandbox.call("delete", &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("running"));
    sandbox.ok("kill", &["9"]);
    sandbox.wait_for("stopped");
    assert!(sandbox.state()["pid"].is_null());
    assert_eq!(sandbox.output(), "started\n");
    sandbox.ok("delete", &[]);
    sandbox.assert_gone();
    assert!(!sandbox.call("state", &[]).status.success());
}

#[test]
fn delete_ends_what_is_created_only_and_by_force_what_runs() {
    let sandbox = Sandbox::new("sleep 1000");
    sandbox.create();
    sandbox.ok("delete", &[]);
    sandbox.assert_gone();
    sandbox.create();
    sandbox.ok("start", &[]);
    sandbox.ok("delete", &["--force"]);
    sandbox.assert_gone();
}

#[test]
fn a_frozen_container_can_be_killed() {
    let sandbox = Sandbox::new("sleep 1000");
    sandbox.create();
    sandbox.ok("start", &[]);
    sandbox.ok("pause", &[]);
    sandbox.ok("kill", &["9"]);
    sandbox.wait_for("stopped");
    sandbox.ok("delete", &[]);
}

#[test]
fn without_a_pid_namespace_all_are_killed() {
    let mut sandbox = Sandbox::new("sleep 1000 & exec sleep 1001");
    let list = sandbox.spec["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != "pid");
    sandbox.create();
    sandbox.ok("start", &[]);
    while sandbox.ok("ps", &[]).matches(',').count() != 1 {
        std::thread::yield_now();
    }
    sandbox.ok("kill", &["9", "--all"]);
    sandbox.wait_for("stopped");
    sandbox.ok("delete", &[]);
    sandbox.assert_gone();
}

#[test]
fn a_stranger_with_the_recorded_pid_is_not_touched() {
    let sandbox = Sandbox::new("sleep 1000");
    sandbox.create();
    sandbox.ok("start", &[]);
    let mut stranger = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let path = sandbox.state_root().join(&sandbox.id).join("state.json");
    let real = fs::read_to_string(&path).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&real).unwrap();
    // As if the init had died and its pid had been given to somebody else.
    // Both may have started in one tick, which no later holder of a pid does:
    // the record is of the tick before.
    let pid = i32::try_from(stranger.id()).unwrap();
    let (started, _) = cove_sys::proc::start_time(pid).unwrap();
    state["pid"] = json!(pid);
    state["startTime"] = json!(started - 1);
    fs::write(&path, state.to_string()).unwrap();
    assert_eq!(sandbox.state()["status"], "stopped");
    assert!(!sandbox.call("kill", &["9"]).status.success());
    assert!(stranger.try_wait().unwrap().is_none());
    fs::write(&path, real).unwrap();
    sandbox.ok("delete", &["--force"]);
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn what_is_paused_before_its_start_goes_on_and_starts() {
    let sandbox = Sandbox::new("echo started");
    sandbox.create();
    sandbox.ok("pause", &[]);
    // Nobody is left hanging by those who asked before.
    for _ in 0..20 {
        assert_eq!(sandbox.state()["status"], "paused");
    }
    let early = sandbox.call("start", &[]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("it is paused"));
    sandbox.ok("resume", &[]);
    assert_eq!(sandbox.state()["status"], "created");
    sandbox.ok("start", &[]);
    sandbox.wait_for("stopped");
    assert_eq!(sandbox.output(), "started\n");
    sandbox.ok("delete", &[]);
}

#[test]
fn a_cgroup_in_which_others_live_is_left_alone() {
    let first = Sandbox::new("sleep 1000");
    first.create();
    let pid = first.state()["pid"].to_string();
    let mut second = Sandbox::new("true");
    second.spec["linux"]["cgroupsPath"] = json!(format!("/{}", first.id));
    second.spec["linux"]["resources"] = json!({"pids": {"limit": 20}});
    let refused = || {
        let (_, error) = second.fails();
        assert!(error.contains("processes live in it"), "{error}");
    };
    refused();
    first.ok("start", &[]);
    refused();
    assert!(first.ok("ps", &[]).contains(&pid));
    first.ok("pause", &[]);
    refused();
    assert_eq!(first.state()["status"], "paused");
    first.ok("delete", &["--force"]);
    second.run();
}

#[test]
fn a_killed_creator_leaves_a_container_that_can_be_started_or_deleted() {
    // SIGKILL at the Nth system call of the creator, for every part of a creation.
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        return;
    }
    for nth in [1, 2, 3, 5] {
        for call in [
            "sendmsg", "recvmsg", "write", "renameat", "openat2", "clone3",
        ] {
            let sandbox = Sandbox::new("true");
            let create = sandbox.command("create", &[]);
            let mut traced = std::process::Command::new("strace");
            traced.args(["-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
            traced.arg(format!("inject={call}:signal=KILL:when={nth}"));
            traced.arg(create.get_program()).args(create.get_args());
            traced
                .current_dir(sandbox.dir.path())
                .stdin(std::process::Stdio::null());
            traced
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            traced.status().unwrap();
            if sandbox.state_root().join(&sandbox.id).exists() {
                sandbox.ok("delete", &["--force"]);
            }
            sandbox.assert_gone();
        }
    }
}
