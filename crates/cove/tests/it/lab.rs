//! Limits on a host with cgroup v2 and all its controllers, which this machine
//! need not be: what a container may use is in the kernel's own files.

use std::path::PathBuf;

use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

/// The cgroup of a container that runs.
fn cgroup(cove: &Cove, name: &str) -> PathBuf {
    let pid = cove.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let text = testkit::files::text(format!("/proc/{pid}/cgroup").as_ref()).unwrap();
    let path = text.trim_end().strip_prefix("0::/").unwrap();
    let cgroup = PathBuf::from("/sys/fs/cgroup").join(path);
    assert!(cgroup.join("cgroup.kill").exists(), "{cgroup:?}");
    cgroup
}

/// What a file of the cgroup says.
fn said(cgroup: &std::path::Path, file: &str) -> String {
    let text = testkit::files::text(&cgroup.join(file));
    text.unwrap_or_default().trim_end().to_owned()
}

#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_limits_are_what_the_kernel_says() {
    let cove = cove();
    cove.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "20",
        IMAGE,
        "sleep",
        "1000",
    ]);
    let cgroup = cgroup(&cove, "box");
    assert_eq!(said(&cgroup, "memory.max"), "67108864");
    assert_eq!(said(&cgroup, "cpu.max"), "50000 100000");
    assert_eq!(said(&cgroup, "pids.max"), "20");
    cove.ok(&[
        "update",
        "-m",
        "128m",
        "--memory-swap",
        "256m",
        "--cpus",
        "1.5",
        "--pids-limit",
        "30",
        "box",
    ]);
    assert_eq!(said(&cgroup, "memory.max"), "134217728");
    assert_eq!(said(&cgroup, "cpu.max"), "150000 100000");
    assert_eq!(said(&cgroup, "pids.max"), "30");
    // The next run has them, too.
    cove.ok(&["restart", "-t", "0", "box"]);
    assert_eq!(said(&cgroup, "memory.max"), "134217728");
    assert_eq!(said(&cgroup, "pids.max"), "30");
    // Thirty are too few for forty.
    let many = "for i in $(seq 40); do sleep 1000 & done 2>&1; true";
    let text = cove.cmd(["exec", "box", "sh", "-c", many]).run();
    assert!(text.to_string().contains("fork"), "{text}");
    let pids: u32 = said(&cgroup, "pids.current").parse().unwrap();
    assert!((20..=30).contains(&pids), "{pids}");
    // All of them at once, and the directory goes with the container.
    cove.ok(&["rm", "-f", "box"]);
    assert!(!cgroup.exists());
}

#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_a_container_out_of_memory_is_told_so() {
    let cove = cove();
    cove.exits(
        137,
        &[
            "run",
            "--name",
            "hog",
            "-m",
            "16m",
            IMAGE,
            "tail",
            "/dev/zero",
        ],
    );
    let state = "{{.State.OOMKilled}} {{.State.ExitCode}}";
    assert_eq!(cove.ok(&["inspect", "-f", state, "hog"]), "true 137");
    // Another's kill looks the same but for that.
    cove.ok(&["run", "-d", "--name", "shot", IMAGE, "sleep", "1000"]);
    cove.ok(&["kill", "shot"]);
    assert_eq!(cove.ok(&["wait", "shot"]), "137");
    assert_eq!(cove.ok(&["inspect", "-f", state, "shot"]), "false 137");
}

#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_a_pause_is_the_freezer() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let cgroup = cgroup(&cove, "box");
    cove.ok(&["pause", "box"]);
    assert_eq!(said(&cgroup, "cgroup.freeze"), "1");
    assert!(said(&cgroup, "cgroup.events").contains("frozen 1"));
    cove.ok(&["unpause", "box"]);
    assert_eq!(said(&cgroup, "cgroup.freeze"), "0");
    assert_eq!(cove.ok(&["exec", "box", "echo", "on"]), "on");
    // A frozen container is killed without being thawed first.
    cove.ok(&["pause", "box"]);
    cove.ok(&["rm", "-f", "box"]);
    assert!(!cgroup.exists());
}

#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_devices_are_filtered_by_a_program() {
    let cove = cove();
    // Who may make nodes may make any; opening one is what counts.
    let script = "mknod /t c 10 200 && (: > /t) && echo open; : > /dev/null && echo null";
    let run = |more: &[&str]| {
        let rest = [IMAGE, "sh", "-c", script];
        cove.cmd([&["run", "--rm", "--cap-add", "MKNOD"], more, &rest].concat())
            .run()
    };
    let filtered = run(&[]);
    assert_eq!(filtered.out(), "null\n", "{filtered}");
    assert!(
        filtered
            .err()
            .contains("create /t: Operation not permitted"),
        "{filtered}"
    );
    let allowed = run(&["--device-cgroup-rule", "c 10:200 rwm"]);
    assert_eq!(allowed.out(), "open\nnull\n", "{allowed}");
}

#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_another_process_goes_where_the_first_has_gone() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let cgroup = cgroup(&cove, "box");
    // As a systemd or a dockerd inside would do.
    let inner = cgroup.join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("cgroup.procs"), said(&cgroup, "cgroup.procs")).unwrap();
    std::fs::write(cgroup.join("cgroup.subtree_control"), "+pids").unwrap();
    let shown = cove.ok(&["exec", "box", "cat", "/proc/self/cgroup"]);
    assert_eq!(shown, "0::/inner");
    cove.ok(&["rm", "-f", "box"]);
    assert!(!cgroup.exists());
}
