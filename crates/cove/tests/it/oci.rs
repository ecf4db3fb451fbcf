//! `cove oci` as an engine calls it: the real binary, bundles of busybox.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::bundle::{Bundle, cgroups, text};

#[test]
fn a_run_ends_with_the_programs_status_and_leaves_nothing() {
    let bundle = Bundle::new("run", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let output = bundle.on(&["run"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );
    assert!(!bundle.path().join("state").join(&bundle.id).exists());
    assert_eq!(cgroups(&bundle.id), Vec::<PathBuf>::new());

    bundle.edit(|config| config["process"]["args"] = json!(["sh", "-c", "kill -9 $$"]));
    // The first process of a pid namespace is not killed by its own.
    assert_eq!(bundle.on(&["run"]).status.code(), Some(0));

    assert_eq!(bundle.on(&["run", "--keep"]).status.code(), Some(0));
    assert_eq!(bundle.status(), "stopped");
    bundle.ok(&["delete"]);
}

#[test]
fn a_life_in_single_commands() {
    let bundle = Bundle::new("life", &["sleep", "1000"]);
    let pid_file = bundle.path().join("pid");
    let create = [
        "create",
        "--bundle",
        bundle.path().to_str().unwrap(),
        "--pid-file",
    ];
    let mut command = bundle.command(&create);
    command
        .arg(&pid_file)
        .arg(&bundle.id)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    let state: Value = serde_json::from_str(&bundle.ok(&["state"])).unwrap();
    assert_eq!(state["status"], "created");
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(
        state["pid"].to_string(),
        std::fs::read_to_string(&pid_file).unwrap()
    );
    assert_eq!(state["bundle"].as_str().map(Path::new), Some(bundle.path()));
    assert_eq!(
        bundle.on(&["create"]).status.code(),
        Some(1),
        "the id is taken"
    );

    bundle.ok(&["start"]);
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.on(&["delete"]).status.code(), Some(1), "it runs");
    let pids: Vec<i64> = serde_json::from_str(&bundle.ok(&["ps", "--format", "json"])).unwrap();
    assert_eq!(pids, [state["pid"].as_i64().unwrap()]);
    assert!(bundle.ok(&["ps"]).contains("sleep 1000"));
    let list = bundle
        .command(&["list", "--format", "json"])
        .output()
        .unwrap();
    let list: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list[0]["id"], bundle.id.as_str());
    let ids = bundle.command(&["list", "-q"]).output().unwrap();
    assert_eq!(text(&ids.stdout), format!("{}\n", bundle.id));

    bundle.ok(&["pause"]);
    assert_eq!(bundle.status(), "paused");
    assert_eq!(bundle.on(&["pause"]).status.code(), Some(1));
    bundle.ok(&["resume"]);
    assert_eq!(bundle.status(), "running");

    let killed = bundle
        .command(&["kill", &bundle.id, "SIGKILL"])
        .output()
        .unwrap();
    assert!(killed.status.success(), "{killed:?}");
    wait_until(|| bundle.status() == "stopped");
    // containerd knows an ended container by these words.
    let again = bundle.on(&["kill"]);
    assert!(!again.status.success());
    assert!(
        text(&again.stderr).contains("container not running"),
        "{again:?}"
    );
    bundle.ok(&["delete"]);
    assert!(text(&bundle.on(&["state"]).stderr).contains("does not exist"));
    assert!(bundle.on(&["delete", "--force"]).status.success());
    assert_eq!(cgroups(&bundle.id), Vec::<PathBuf>::new());
}

fn wait_until(mut test: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !test() {
        assert!(start.elapsed().as_secs() < 20, "it never came");
        std::thread::yield_now();
    }
}

#[test]
fn another_process() {
    let bundle = Bundle::new("exec", &["sleep", "1000"]);
    bundle.edit(|config| {
        config["process"]["rlimits"] =
            json!([{"type": "RLIMIT_CORE", "soft": 77 << 10, "hard": 77 << 10}]);
    });
    bundle.create();
    bundle.ok(&["start"]);
    let exec = |options: &[&str], words: &[&str]| {
        let mut command = bundle.command(&["exec"]);
        command
            .args(options)
            .arg(&bundle.id)
            .args(words)
            .output()
            .unwrap()
    };
    let output = exec(&[], &["sh", "-c", "echo $X-$PWD; exit 5"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(5), "-/\n".into())
    );
    let output = exec(
        &["--user", "5:6", "-g", "7", "--cwd", "/tmp", "-e", "X=y"],
        &["sh", "-c", "echo $X $PWD; id"],
    );
    let out = text(&output.stdout);
    assert!(out.starts_with("y /tmp\nuid=5 gid=6"), "{output:?}");
    assert!(out.contains('7'), "{out}");
    let cap = exec(&["--cap", "CAP_SYS_TIME"], &["cat", "/proc/self/status"]);
    let bounding = text(&cap.stdout);
    let bounding = bounding
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .unwrap();
    assert_ne!(
        u64::from_str_radix(bounding.trim(), 16).unwrap() & 1 << 25,
        0,
        "{bounding}"
    );

    let nowhere = exec(&["--cgroup", "none"], &["true"]);
    assert!(
        text(&nowhere.stderr).contains("has no cgroup"),
        "{nowhere:?}"
    );
    let missing = exec(&[], &["/nonexistent"]);
    assert_eq!(missing.status.code(), Some(255));
    assert!(
        text(&missing.stderr).contains("no such file or directory"),
        "{missing:?}"
    );

    let process = bundle.path().join("process.json");
    let document = json!({"args": ["sh", "-c", "test $(id -u)$PWD = 0/ && exit $(ulimit -c)"], "cwd": "/", "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin"]});
    std::fs::write(&process, document.to_string()).unwrap();
    // As with runc the file is the whole process, whatever stands beside it.
    let beside = ["--user", "5", "--cwd", "/tmp", "--tty", "--process"];
    let options = [&beside[..], &[process.to_str().unwrap()]].concat();
    let output = exec(&options, &[]);
    // The limit is the container's, in blocks of 512 bytes.
    assert_eq!(output.status.code(), Some(154), "{output:?}");

    let pid_file = bundle.path().join("exec.pid");
    let mut command = bundle.command(&["exec", "-d", "--pid-file"]);
    command
        .arg(&pid_file)
        .arg(&bundle.id)
        .args(["sleep", "1000"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    let pid: i64 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let pids: Vec<i64> = serde_json::from_str(&bundle.ok(&["ps", "--format", "json"])).unwrap();
    assert!(pids.len() == 2 && pids.contains(&pid), "{pids:?} {pid}");

    assert!(
        bundle
            .command(&["kill", "--all", &bundle.id, "9"])
            .status()
            .unwrap()
            .success()
    );
    wait_until(|| bundle.status() == "stopped");
}

#[test]
fn limits_and_usage() {
    let bundle = Bundle::new("limits", &["sleep", "1000"]);
    bundle.edit(|config| config["linux"]["resources"]["pids"] = json!({"limit": 40}));
    bundle.create();
    bundle.ok(&["start"]);
    let pids = || {
        let event: Value = serde_json::from_str(&bundle.ok(&["events", "--stats"])).unwrap();
        assert_eq!(
            (event["type"].as_str(), event["id"].as_str()),
            (Some("stats"), Some(bundle.id.as_str()))
        );
        event["data"]["pids"].clone()
    };
    let before = pids();
    if before.as_object().is_some_and(serde_json::Map::is_empty) {
        // This host does not count processes; update says so.
        return;
    }
    assert_eq!(before, json!({"current": 1, "limit": 40}));
    bundle.ok(&["update", "--pids-limit", "30"]);
    assert_eq!(pids()["limit"], 30);
    let mut command = bundle.command(&["update", "-r", "-"]);
    let mut child = command
        .arg(&bundle.id)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(br#"{"pids":{"limit":20}}"#)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(pids()["limit"], 20);
    assert!(!bundle.on(&["update", "--memory", "much"]).status.success());

    // With an interval, until the container ends.
    let mut command = bundle.command(&["events", "--interval", "10ms"]);
    let mut events = command
        .arg(&bundle.id)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with(r#"{"type":"stats""#), "{line}");
    }
    assert!(
        bundle
            .command(&["kill", &bundle.id, "KILL"])
            .status()
            .unwrap()
            .success()
    );
    assert!(events.wait().unwrap().success());
}

/// The word that came over a pidfd socket, and the process of the descriptor beside it.
fn pidfd_from(listener: &UnixListener) -> (String, Value) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    // It was sent before the runtime ended: nothing to wait for.
    let (stream, _) = listener.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let got = recvmsg(&stream, &mut parts, &mut control, RecvFlags::empty()).unwrap();
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let fd = fd.unwrap();
    let info = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid: i64 = pid.unwrap().trim().parse().unwrap();
    (text(&bytes[..got.bytes]), json!(pid))
}

#[test]
fn pidfds_go_over_a_socket() {
    let bundle = Bundle::new("pidfd", &["sleep", "1000"]);
    let listener = UnixListener::bind(bundle.path().join("pidfd.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let started = |words: &[&str]| {
        let mut command = bundle.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{words:?}");
    };
    started(&["create", "--pidfd-socket", "pidfd.sock", &bundle.id]);
    let state: Value = serde_json::from_str(&bundle.ok(&["state"])).unwrap();
    let init = ("standard".to_owned(), state["pid"].clone());
    assert_eq!(pidfd_from(&listener), init);
    bundle.ok(&["start"]);
    let socket = ["--pidfd-socket=pidfd.sock", "--pid-file=pid"];
    started(&[
        "exec", "-d", socket[0], socket[1], &bundle.id, "sleep", "1000",
    ]);
    let pid = std::fs::read_to_string(bundle.path().join("pid")).unwrap();
    let pid: i64 = pid.parse().unwrap();
    assert_eq!(pidfd_from(&listener), ("setns".to_owned(), json!(pid)));
    bundle.ok(&["delete", "--force"]);
    let missing = bundle.on(&["create", "--pidfd-socket", "none.sock"]);
    assert!(
        text(&missing.stderr).contains("pidfd socket"),
        "{missing:?}"
    );
    assert!(!bundle.on(&["state"]).status.success());
}

#[test]
fn a_limit_that_kernels_ignore_is_named() {
    let bundle = Bundle::new("kernel", &["true"]);
    bundle.create();
    // Whether this host limits memory at all is another question.
    for (words, told) in [
        (["update", "--kernel-memory", "64m"], true),
        (["update", "--kernel-memory", "0"], false),
    ] {
        let output = bundle.on(&words);
        let error = text(&output.stderr);
        assert_eq!(
            error.contains("memory.kernel 67108864 is obsolete"),
            told,
            "{error}"
        );
    }
    bundle.ok(&["delete"]);
    bundle.edit(|config| config["linux"]["resources"]["memory"] = json!({"kernel": 64 << 20}));
    let output = bundle.on(&["run"]);
    assert!(text(&output.stderr).contains("is obsolete"), "{output:?}");
}

#[test]
fn signals_are_handed_on() {
    let script = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.01; done";
    let bundle = Bundle::new("signals", &["sh", "-c", script]);
    let mut run = run(&bundle);
    let mut out = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = run.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(42), None));
}

fn run(bundle: &Bundle) -> Child {
    bundle
        .command(&["run"])
        .arg(&bundle.id)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_terminal_in_the_foreground() {
    let bundle = Bundle::new("tty", &["sh", "-c", "stty size; read x; echo got $x"]);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let mut command = bundle.command(&["run"]);
    let mut run = command
        .arg(&bundle.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(b"line\n").unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("got line\n"), "{shown:?}");
    // Detached, nobody would hold it.
    let refused = bundle.on(&["run", "-d"]);
    assert!(
        text(&refused.stderr).contains("--console-socket"),
        "{refused:?}"
    );
}

#[test]
fn mistakes_are_logged_for_the_engine() {
    let bundle = Bundle::new("log", &["/nonexistent"]);
    let log = bundle.path().join("log.json");
    let globals = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    let mut words = globals.to_vec();
    words.push("run");
    let output = bundle.on(&words);
    assert_eq!(output.status.code(), Some(1));
    let logged = std::fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(logged.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    let message = last["msg"].as_str().unwrap();
    assert!(message.contains("no such file or directory"), "{message}");
    assert_eq!(text(&output.stderr), format!("{message}\n"));
    assert!(!bundle.path().join("state").join(&bundle.id).exists());

    for (words, want) in [
        (&["checkpoint"][..], "not supported"),
        (&["nonsense"], "unknown command"),
        (&["run", "--nonsense"], "--nonsense"),
        (&["--systemd-cgroup", "create"], "systemd"),
        (&["kill", "x", "NOSUCH"], "unknown signal"),
        (&["state", "../escape"], "invalid container id"),
        (&["spec"], "Remove it first"),
    ] {
        let mut command = bundle.command(words);
        if words.last() == Some(&"create") {
            command.arg(&bundle.id);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        assert!(text(&output.stderr).contains(want), "{words:?}: {output:?}");
    }
}

#[test]
fn it_says_what_it_can_do() {
    let bundle = Bundle::new("features", &["true"]);
    let version = bundle.command(&["--version"]).output().unwrap();
    let version = text(&version.stdout);
    assert!(
        version.lines().any(|line| line == "spec: 1.3.0"),
        "{version}"
    );
    let features = bundle.command(&["features"]).output().unwrap();
    let features: oci_spec::runtime::Features = serde_json::from_slice(&features.stdout).unwrap();
    assert_eq!(features.oci_version_max(), "1.3.0");
    let unsafe_ones = features.potentially_unsafe_config_annotations();
    assert_eq!(unsafe_ones.as_deref(), Some(&["run.oci.".to_owned()][..]));
    let linux = features.linux().as_ref().unwrap();
    let devices = linux.net_devices().as_ref().unwrap();
    assert_eq!(*devices.enabled(), Some(true));
    // Under its own name it needs no word before the command.
    let link = bundle.path().join("cove-oci");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cove"), &link).unwrap();
    let output = Command::new(link).arg("--version").output().unwrap();
    assert_eq!(text(&output.stdout), version);
}
