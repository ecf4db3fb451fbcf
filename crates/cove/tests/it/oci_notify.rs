//! `NOTIFY_SOCKET`: what a service manager hears of a container, and what the container sees of it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bundle::{Bundle, text};

const LONG: Duration = Duration::from_secs(20);

fn bundle(name: &str) -> (Bundle, UnixDatagram) {
    let bundle = Bundle::new(name, &["sleep", "1000"]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    let manager = UnixDatagram::bind(bundle.path().join("manager")).unwrap();
    manager.set_read_timeout(Some(LONG)).unwrap();
    (bundle, manager)
}

/// The pid of the container once it runs, and its socket as it sees it.
fn running(bundle: &Bundle) -> (i64, PathBuf) {
    let start = Instant::now();
    loop {
        let output = bundle.on(&["state"]);
        let state: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        let state = state.filter(|state| state["status"] == "running");
        if let Some(pid) = state.and_then(|state| state["pid"].as_i64()) {
            let path = format!("/proc/{pid}/root/run/notify/notify.sock");
            return (pid, path.into());
        }
        assert!(start.elapsed() < LONG, "{output:?}");
        std::thread::yield_now();
    }
}

fn heard(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = manager.recv(&mut bytes).unwrap();
    text(&bytes[..length])
}

#[test]
fn a_manager_hears_that_a_container_is_ready_and_nothing_else() {
    let manager_path = |bundle: &Bundle| bundle.path().join("manager");
    for words in [&["run"][..], &["run", "-d"], &["start"]] {
        let (bundle, manager) = bundle("notify");
        let command = |words: &[&str]| {
            let mut command = bundle.command(words);
            command
                .arg(&bundle.id)
                .env("NOTIFY_SOCKET", manager_path(&bundle));
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if words == ["start"] {
            assert!(command(&["create"]).status().unwrap().success());
        }
        let mut client = command(words).spawn().unwrap();
        let (pid, socket) = running(&bundle);
        let inside = UnixDatagram::unbound().unwrap();
        for said in [
            "STATUS=hello\n",
            "MAINPID=1\nREADY=0",
            "STATUS=x\nREADY=1\nMAINPID=1\n",
        ] {
            inside.send_to(said.as_bytes(), &socket).unwrap();
        }
        assert_eq!(heard(&manager), "READY=1\n");
        assert_eq!(heard(&manager), format!("MAINPID={pid}\n"));
        assert_eq!(heard(&manager), "BARRIER=1");
        if words == ["run"] {
            assert!(client.try_wait().unwrap().is_none());
            // Nobody hears the second one.
            let start = Instant::now();
            while inside.send_to(b"READY=1", &socket).is_ok() {
                assert!(start.elapsed() < LONG);
            }
        } else {
            assert!(client.wait().unwrap().success(), "{words:?}");
        }
        bundle.ok(&["delete", "--force"]);
        drop(client.wait());
        assert!(!bundle.path().join("state").join(&bundle.id).exists());
    }
}

#[test]
fn one_that_ends_is_waited_for_no_longer() {
    let (bundle, manager) = bundle("notify-end");
    bundle.edit(|config| config["process"]["args"] = json!(["true"]));
    let mut run = bundle.command(&["run", "-d", &bundle.id]);
    run.env("NOTIFY_SOCKET", bundle.path().join("manager"));
    let status = run.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 16]).is_err());
}

#[test]
fn the_container_sees_a_socket_that_it_cannot_change() {
    let (bundle, _manager) = bundle("notify-in");
    let script = "test -S $NOTIFY_SOCKET && echo $NOTIFY_SOCKET && ls /run/notify; \
        cd /run/notify; for i in 'chmod 7 .' 'chmod 7 notify.sock' 'touch x' \
        'rm notify.sock' 'mv notify.sock y' 'chown 5 .' 'touch notify.sock'; \
        do busybox $i 2>/dev/null && echo could $i; done; exit 0";
    bundle.edit(|config| {
        config["process"]["args"] = json!(["sh", "-c", script]);
        let all = json!(["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE"]);
        config["process"]["capabilities"] = json!({"bounding": all, "effective": all,
            "permitted": all});
    });
    let mut run = bundle.command(&["run", &bundle.id]);
    let run = run.env("NOTIFY_SOCKET", bundle.path().join("manager"));
    let output = run.output().unwrap();
    let out = "/run/notify/notify.sock\nnotify.sock\n";
    assert_eq!(text(&output.stdout), out, "{output:?}");
    // Without a manager there is nothing.
    bundle.edit(|config| config["process"]["args"] = json!(["ls", "/run/notify/"]));
    let mut run = bundle.command(&["run", &bundle.id]);
    let output = run.env_remove("NOTIFY_SOCKET").output().unwrap();
    assert_eq!(text(&output.stdout), "", "{output:?}");
}
