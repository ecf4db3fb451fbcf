//! On which processors a program runs: all there are or those of its cpuset, whatever its caller is
//! bound to.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, under};

const LOOK: &str = "grep Cpus_allowed_list /proc/self/status | cut -f2";

/// All processors of this machine, as the kernel lists them.
fn all() -> String {
    let text = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    text.trim().to_owned()
}

/// Runs the command bound to the first processor.
fn bound(command: &Command) -> String {
    let mut taskset = Command::new("taskset");
    let output = under(taskset.args(["-c", "0"]), command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
pub(crate) fn the_callers_affinity_is_not_inherited() {
    let sandbox = Sandbox::new(LOOK);
    assert_eq!(bound(&sandbox.command("run", &[])), all());
    let mut sandbox = Sandbox::new(LOOK);
    sandbox.spec["linux"]["resources"] = json!({"cpu": {"cpus": "0"}});
    // The cpuset holds against a caller that may run everywhere, too.
    assert_eq!(sandbox.run().trim(), "0");
}

#[test]
fn another_process_runs_where_the_container_does() {
    let sandbox = Sandbox::new("sleep 1000");
    sandbox.create();
    sandbox.ok("start", &[]);
    let exec = |affinity: Value| {
        let path = sandbox.dir.path().join("process.json");
        let mut process = json!({"cwd": "/", "args": ["sh", "-c", LOOK], "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0}});
        process["execCPUAffinity"] = affinity;
        fs::write(&path, process.to_string()).unwrap();
        bound(&sandbox.command("exec", &[path.to_str().unwrap()]))
    };
    assert_eq!(exec(Value::Null), all());
    assert_eq!(exec(json!({"initial": "0", "final": all()})), all());
    assert_eq!(exec(json!({"final": "0"})), "0");
    // Without a final one it is up to the kernel: the process stays where it began, or its cpuset
    // moves it.
    assert_eq!(exec(json!({"initial": all()})), all());
    sandbox.ok("delete", &["--force"]);
}
