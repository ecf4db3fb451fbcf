//! What was asked for, as `inspect` shows it and the container has it.

use serde_json::{Value, json};

use crate::support::{IMAGE, cove};

#[test]
fn a_mount_in_memory_is_shown_as_it_was_asked_for() {
    let cove = cove();
    cove.ok(&[
        "create",
        "--name",
        "box",
        "--mount",
        "type=tmpfs,dst=/sized,tmpfs-size=1m,tmpfs-mode=700",
        "--mount",
        "type=tmpfs,dst=/plain,readonly",
        "--tmpfs",
        "/short:size=1m",
        "--tmpfs",
        "/short:size=2m",
        IMAGE,
        "grep",
        "-c",
        " /short tmpfs .*size=2048k",
        "/proc/mounts",
    ]);
    let document: Value = serde_json::from_str(&cove.ok(&["inspect", "box"])).unwrap();
    let (host, points) = (&document[0]["HostConfig"], &document[0]["Mounts"]);
    assert_eq!(
        host["Mounts"],
        json!([
            {"Type": "tmpfs", "Target": "/sized", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}},
            {"Type": "tmpfs", "Target": "/plain", "ReadOnly": true},
        ])
    );
    assert_eq!(host["Tmpfs"], json!({"/short": "size=2m"}));
    let point = |target: &str, writable: bool| {
        json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": target,
            "Mode": "",
            "RW": writable,
            "Propagation": "",
        })
    };
    assert_eq!(
        *points,
        json!([point("/sized", true), point("/plain", false)])
    );
    // Scripts that look with grep see Docker's order.
    let first = cove.ok(&["inspect", "-f", "{{json .HostConfig.Mounts}}", "box"]);
    assert!(
        first.starts_with(r#"[{"Type":"tmpfs","Target":"/sized","TmpfsOptions":"#),
        "{first}"
    );
    // Said twice, the last one counts, and there is one.
    assert_eq!(cove.ok(&["start", "-a", "box"]), "1");
}

#[test]
fn a_memory_limit_shows_the_swap_that_goes_with_it() {
    let cove = cove();
    let shown = || {
        cove.ok(&[
            "inspect",
            "-f",
            "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}",
            "box",
        ])
    };
    let sizes = |memory: u64, both: u64| format!("{} {}", memory << 20, both << 20);
    cove.ok(&["create", "-m", "32m", "--name", "box", IMAGE, "true"]);
    assert_eq!(shown(), sizes(32, 64));
    // What was given to both together stays, unless it is said again.
    cove.ok(&["update", "-m", "48m", "box"]);
    assert_eq!(shown(), sizes(48, 64));
    let id = cove.ok(&["inspect", "-f", "{{.Id}}", "box"]);
    let output = cove.cmd(["update", "-m", "65m", "box"]).run();
    assert_eq!(output.code(), 1, "{output}");
    assert_eq!(
        output.err().trim(),
        format!(
            "Error: Cannot update container {id}: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    );
    cove.ok(&["update", "-m", "65m", "--memory-swap", "130m", "box"]);
    assert_eq!(shown(), sizes(65, 130));
}

#[test]
fn an_update_that_cannot_be_names_the_container() {
    let cove = cove();
    cove.ok(&["create", "--rm", "--name", "box", IMAGE, "true"]);
    let id = cove.ok(&["inspect", "-f", "{{.Id}}", "box"]);
    let output = cove.cmd(["update", "--restart", "always", "box"]).run();
    assert_eq!(
        output.err().trim(),
        format!(
            "Error: Cannot update container {id}: Restart policy cannot be updated because AutoRemove is enabled for the container"
        )
    );
}

#[test]
fn without_ipc_there_is_no_shared_memory() {
    let cove = cove();
    let script = "test ! -e /dev/shm && readlink /proc/self/ns/ipc";
    let run = ["run", "--rm", "--ipc", "none", IMAGE, "sh", "-c", script];
    let theirs = cove.ok(&run);
    let ours = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    assert!(theirs.starts_with("ipc:[") && theirs != ours.to_str().unwrap());
    cove.ok(&[
        "run", "-d", "--name", "box", "--ipc", "none", IMAGE, "sleep", "1000",
    ]);
    let mode = cove.ok(&["inspect", "-f", "{{.HostConfig.IpcMode}}", "box"]);
    assert_eq!(mode, "none");
    let join = ["run", "--rm", "--ipc", "container:box", IMAGE, "true"];
    let output = cove.cmd(join).run();
    assert!(
        !output.success() && output.err().contains("non-shareable IPC"),
        "{output}"
    );
}
