//! Which hook runs when, where, and what its failure means.

use std::fs;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

fn hook(sandbox: &Sandbox, name: &str) -> Value {
    let log = sandbox.dir.path().join("log");
    let line = format!(
        "s=$(cat); printf '%s %s %s\\n' {name} \
         \"$(echo \"$s\" | sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/')\" \
         \"$(readlink /proc/self/ns/uts)\" >> {}",
        log.display()
    );
    json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]}])
}

#[test]
fn order_status_and_namespaces() {
    let mut sandbox = Sandbox::new("readlink /proc/self/ns/uts; cat /log");
    sandbox.mount(json!({"destination": "/log", "type": "tmpfs", "source": "tmpfs"}));
    sandbox.spec["process"]["args"] = json!(["sh", "-c", "cat /inside; exec sleep 1000"]);
    let inside = "cat > /state; readlink /proc/self/ns/uts > /inside";
    sandbox.spec["hooks"] = json!({
        "prestart": hook(&sandbox, "prestart"),
        "createRuntime": hook(&sandbox, "createRuntime"),
        "createContainer": hook(&sandbox, "createContainer"),
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", inside],
            "env": ["PATH=/bin"]}],
        "poststart": hook(&sandbox, "poststart"),
        "poststop": hook(&sandbox, "poststop"),
    });
    sandbox.create();
    let pid = sandbox.state()["pid"].as_i64().unwrap();
    let own = fs::read_link("/proc/self/ns/uts")
        .unwrap()
        .display()
        .to_string();
    let theirs = fs::read_link(format!("/proc/{pid}/ns/uts"))
        .unwrap()
        .display()
        .to_string();
    sandbox.ok("start", &[]);
    sandbox.ok("delete", &["--force"]);
    let log = fs::read_to_string(sandbox.dir.path().join("log")).unwrap();
    assert_eq!(
        log,
        format!(
            "prestart creating {own}\ncreateRuntime creating {own}\n\
             createContainer creating {theirs}\npoststart running {own}\n\
             poststop stopped {own}\n"
        )
    );
    let inside = fs::read_to_string(sandbox.rootfs().join("inside")).unwrap();
    assert_eq!(inside.trim(), theirs);
    let state = fs::read_to_string(sandbox.rootfs().join("state")).unwrap();
    assert!(state.contains(r#""status":"created""#), "{state}");
}

#[test]
fn hooks_of_the_runtime_begin_in_the_bundle() {
    let mut sandbox = Sandbox::new("true");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "pwd -P >>cwd"]}]);
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        sandbox.spec["hooks"][kind] = hook.clone();
    }
    let output = sandbox.command("run", &[]).current_dir("/").output();
    assert!(output.unwrap().status.success());
    let bundle = fs::canonicalize(sandbox.dir.path()).unwrap();
    let log = fs::read_to_string(bundle.join("cwd")).unwrap();
    assert_eq!(log, format!("{}\n", bundle.display()).repeat(4));
}

#[test]
fn what_a_hook_makes_is_not_for_everybody_to_write() {
    let mut sandbox = Sandbox::new("true");
    let log = sandbox.dir.path().join("masks");
    let line = format!("umask >>{}", log.display());
    for kind in ["createRuntime", "createContainer"] {
        sandbox.spec["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]);
    }
    sandbox.run();
    assert_eq!(fs::read_to_string(log).unwrap(), "0022\n0022\n");
}

#[test]
fn a_failing_hook_ends_the_creation_and_leaves_nothing() {
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
    ] {
        let mut sandbox = Sandbox::new("sleep 1000");
        let script = "cat > /dev/null; echo no good >&2; exit 3";
        sandbox.spec["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["PATH=/bin"]}]);
        let (_, error) = sandbox.fails();
        assert!(error.contains(kind) && error.contains("no good"), "{error}");
    }
}

#[test]
fn a_first_process_that_is_killed_before_its_program_has_not_started() {
    let mut sandbox = Sandbox::new("sleep 1000");
    let namespaces = sandbox.spec["linux"]["namespaces"].as_array_mut().unwrap();
    // Its own pid namespace would shield it from the hook.
    namespaces.retain(|one| one["type"] != "pid");
    sandbox.spec["hooks"]["startContainer"] = json!([{"path": "/bin/sh",
        "args": ["sh", "-c", "kill -9 $PPID"], "env": ["PATH=/bin"]}]);
    let (_, error) = sandbox.fails();
    assert!(error.contains("ended during the start"), "{error}");
}
