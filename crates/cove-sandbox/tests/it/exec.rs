//! A second process in a running container.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::sandbox::{Sandbox, under};

pub(crate) fn process(sandbox: &Sandbox, script: &str) -> serde_json::Value {
    let mut process = sandbox.spec["process"].clone();
    process["args"] = json!(["sh", "-c", script]);
    process
}

pub(crate) fn exec(sandbox: &Sandbox, process: &serde_json::Value) -> std::process::Output {
    let path = sandbox.dir.path().join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    sandbox.call("exec", &[path.to_str().unwrap()])
}

#[test]
fn it_is_where_the_container_is() {
    let mut sandbox = Sandbox::new("sleep 1000");
    sandbox
        .namespace(json!({"type": "cgroup"}))
        .namespace(json!({"type": "time"}));
    sandbox.create();
    sandbox.ok("start", &[]);
    let pid = sandbox.state()["pid"].as_i64().unwrap();
    let script = "for n in mnt net uts ipc pid cgroup time user; do readlink /proc/self/ns/$n; done; \
        grep -E 'CapBnd|NoNewPrivs' /proc/self/status; ps | grep -c 'sleep 1000'; \
        ls /proc/self/fd | wc -l; cat /proc/self/cgroup; exit 5";
    let output = exec(&sandbox, &process(&sandbox, script));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let mut lines = text.lines();
    for kind in ["mnt", "net", "uts", "ipc", "pid", "cgroup", "time", "user"] {
        let expected = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(lines.next().unwrap(), expected.display().to_string());
    }
    assert_eq!(lines.next(), Some("CapBnd:\t00000000002000e1"));
    assert_eq!(lines.next(), Some("NoNewPrivs:\t1"));
    assert!(lines.next().unwrap().parse::<u32>().unwrap() >= 1);
    // Three streams and the directory that is being listed.
    assert_eq!(lines.next(), Some("4"));
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(lines.count(), cgroup.lines().count());
    sandbox.ok("delete", &["--force"]);
}

#[test]
fn in_a_user_namespace_with_a_terminal() {
    let mut sandbox = Sandbox::new("sleep 1000");
    sandbox.namespace(json!({"type": "user"}));
    sandbox.spec["linux"]["uidMappings"] =
        json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    sandbox.spec["linux"]["gidMappings"] = sandbox.spec["linux"]["uidMappings"].clone();
    sandbox.create();
    sandbox.ok("start", &[]);
    let mut process = process(&sandbox, "id -u; test -t 0 && echo tty");
    process["terminal"] = json!(true);
    process["user"] = json!({"uid": 3, "gid": 4});
    let output = exec(&sandbox, &process);
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert_eq!(text, "3\ntty\n", "{output:?}");
    sandbox.ok("delete", &["--force"]);
}

#[test]
fn it_has_the_execution_domain_of_the_container() {
    let mut sandbox = Sandbox::new("sleep 1000");
    sandbox.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    sandbox.create();
    sandbox.ok("start", &[]);
    let output = exec(&sandbox, &process(&sandbox, "uname -m"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "i686\n");
    sandbox.ok("delete", &["--force"]);
}

/// What the next connection to a seccomp agent says, and whether it brings a descriptor.
#[track_caller]
fn heard(agent: &UnixListener) -> (serde_json::Value, bool) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    // Everything was sent before the runtime ended: nothing to wait for.
    let (stream, _) = agent.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let got = recvmsg(&stream, &mut parts, &mut control, RecvFlags::empty()).unwrap();
    let fd = control
        .drain()
        .any(|message| matches!(message, RecvAncillaryMessage::ScmRights(_)));
    (serde_json::from_slice(&bytes[..got.bytes]).unwrap(), fd)
}

#[test]
fn its_seccomp_listener_goes_to_the_agent() {
    for user in [false, true] {
        let mut sandbox = Sandbox::new("sleep 1000");
        if user {
            sandbox.namespace(json!({"type": "user"}));
            sandbox.spec["linux"]["uidMappings"] =
                json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
            sandbox.spec["linux"]["gidMappings"] = sandbox.spec["linux"]["uidMappings"].clone();
        }
        let path = sandbox.dir.path().join("agent.sock");
        let agent = UnixListener::bind(&path).unwrap();
        agent.set_nonblocking(true).unwrap();
        sandbox.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path, "listenerMetadata": "mine",
            "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"}]});
        sandbox.create();
        sandbox.ok("start", &[]);
        let init = sandbox.state()["pid"].clone();
        let (first, fd) = heard(&agent);
        assert_eq!((&first["pid"], fd), (&init, true));
        let file = sandbox.dir.path().join("process.json");
        fs::write(&file, process(&sandbox, "true").to_string()).unwrap();
        let pid = sandbox.dir.path().join("pid");
        let pid_file = format!("--pid-file={}", pid.display());
        sandbox.ok("exec", &[file.to_str().unwrap(), &pid_file]);
        let (second, fd) = heard(&agent);
        let pid: i64 = fs::read_to_string(&pid).unwrap().parse().unwrap();
        assert_eq!((&second["pid"], fd), (&json!(pid), true));
        assert_eq!(second["state"]["pid"], init);
        assert_eq!(second["state"]["status"], "running");
        assert_eq!(second["metadata"], "mine");
        sandbox.ok("delete", &["--force"]);
    }
}

#[test]
fn it_is_pinned_before_it_enters_and_after() {
    let sandbox = Sandbox::new("sleep 1000");
    sandbox.create();
    sandbox.ok("start", &[]);
    let shown = |affinity: serde_json::Value| {
        let mut process = process(&sandbox, "grep Cpus_allowed_list /proc/self/status");
        process["execCPUAffinity"] = affinity;
        let file = sandbox.dir.path().join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let trace = sandbox.dir.path().join("trace");
        let exec = sandbox.command("exec", &[file.to_str().unwrap()]);
        let mut traced = std::process::Command::new("strace");
        traced.args(["-f", "-e", "trace=clone3,sched_setaffinity", "-o"]);
        traced.arg(&trace);
        let output = under(&mut traced, &exec);
        let trace = fs::read_to_string(trace).unwrap();
        let calls = trace.lines().filter_map(|line| {
            let call = line.split_once(' ')?.1.trim_start();
            let call = call.split_once('(')?.0;
            (!call.starts_with('<')).then(|| call.to_owned())
        });
        (output.stdout, calls.collect::<Vec<_>>())
    };
    let cpu = |list: &str| format!("Cpus_allowed_list:\t{list}\n").into_bytes();
    let (output, calls) = shown(json!({"initial": "0"}));
    assert_eq!(output, cpu("0"));
    assert_eq!(calls[..2], ["sched_setaffinity", "clone3"], "{calls:?}");
    let (output, calls) = shown(json!({"final": "0"}));
    assert_eq!(output, cpu("0"));
    assert_eq!(calls, ["clone3", "sched_setaffinity"]);
    sandbox.ok("delete", &["--force"]);
}

#[test]
fn failures_have_docker_s_codes() {
    let sandbox = Sandbox::new("sleep 1000");
    fs::write(sandbox.rootfs().join("etc/plain"), "x").unwrap();
    fs::write(sandbox.rootfs().join("etc/noexec"), "x").unwrap();
    sandbox.create();
    let not_yet = exec(&sandbox, &process(&sandbox, "true"));
    assert!(
        not_yet.status.success(),
        "exec in a created container: {not_yet:?}"
    );
    sandbox.ok("start", &[]);
    for (args, code, words) in [
        (
            json!(["nothing"]),
            127,
            "exec: \"nothing\": executable file not found in $PATH",
        ),
        (
            json!(["/etc/none"]),
            127,
            "exec: \"/etc/none\": stat /etc/none: no such file or directory",
        ),
        (
            json!(["/etc/plain"]),
            126,
            "exec: \"/etc/plain\": permission denied",
        ),
        (json!(["/etc"]), 126, "exec: \"/etc\": is a directory"),
    ] {
        let mut process = process(&sandbox, "");
        process["args"] = args;
        let output = exec(&sandbox, &process);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.trim()), (Some(code), words));
    }
    sandbox.ok("delete", &["--force"]);
}
