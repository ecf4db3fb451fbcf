//! Records that are damaged, or that a newer program wrote, among others.

use std::path::PathBuf;

use testkit::cove::Cove;
use testkit::leak::{Snapshot, assert_no_leaks};

use crate::support::{IMAGE, cove, lines};

/// The record of a container.
fn record(cove: &Cove, id: &str) -> PathBuf {
    let containers = cove.roots().root().join("containers");
    containers.join(id).join("record.json")
}

#[test]
fn a_damaged_record_hides_no_other_and_its_container_can_be_removed() {
    let cove = cove();
    let image = ["--network", "none", IMAGE, "sleep", "1000"];
    cove.ok(&[&["run", "--rm"], &image[..3], &["true"]].concat());
    let before = Snapshot::take(cove.roots());
    cove.ok(&[&["create", "--name", "one"], &image[..]].concat());
    let down = cove.ok(&[&["create", "--name", "down"], &image[..]].concat());
    let runs = cove.ok(&[&["run", "-d", "--name", "runs"], &image[..]].concat());
    for id in [&down, &runs] {
        std::fs::write(record(&cove, id), "{\"broken").unwrap();
    }
    let listed = cove.cmd(["ps", "-a", "--format", "{{.Names}}"]).ok();
    assert_eq!(listed.out(), "one\n");
    let said = listed.err();
    assert_eq!(lines(&said).len(), 2, "{said}");
    for id in [&down, &runs] {
        assert!(
            said.contains(&format!("{id}/record.json is damaged")),
            "{said}"
        );
    }
    for name in ["down", &down[..12]] {
        for verb in [&["inspect"][..], &["start"], &["rm"]] {
            let refused = cove.cmd([verb, &[name]].concat()).run();
            assert!(!refused.success(), "{refused}");
            assert!(refused.err().contains("is damaged"), "{refused}");
        }
    }
    // Of which layers it needs nothing is known, so none goes.
    let pruned = cove.cmd(["image", "prune", "-af"]).run();
    assert!(pruned.err().contains("is damaged"), "{pruned}");
    assert_eq!(
        cove.ok(&["rm", "-f", "down", "runs", "one"]),
        "down\nruns\none"
    );
    assert_no_leaks(&before, cove.roots());
    cove.ok(&[&["run", "--rm", "--name", "runs"], &image[..3], &["true"]].concat());
}

#[test]
fn a_newer_record_is_left_alone_and_its_older_supervisor_goes_on() {
    let cove = cove();
    let run = [
        "run",
        "-d",
        "--network",
        "none",
        "--restart",
        "always",
        "--name",
    ];
    let id = cove.ok(&[&run[..], &["newer", IMAGE, "sleep", "1000"]].concat());
    let path = record(&cove, &id);
    let known: serde_json::Value =
        serde_json::from_reader(std::fs::File::open(&path).unwrap()).unwrap();
    let newer = serde_json::json!({"version": 99, "id": id, "name": "newer", "spec": "other"});
    std::fs::write(&path, newer.to_string()).unwrap();
    let listed = cove.cmd(["ps", "-a", "--format", "{{.Names}}"]).ok();
    assert_eq!(listed.out(), "");
    assert!(listed.err().contains("is of version 99"), "{listed}");
    for words in [&["rm", "-f", "newer"][..], &["rename", "newer", "other"]] {
        let refused = cove.cmd(words).run();
        assert!(!refused.success(), "{refused}");
        assert!(refused.err().contains("is of version 99"), "{refused}");
    }
    // Its program ends, and its supervisor, which knows no such version, starts it again.
    let socket = cove.roots().runroot().join("containers").join(&id);
    let first = status(&socket);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid(&first)).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let now = status(&socket);
        if now["state"] == "running" && pid(&now) != pid(&first) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{now}");
    }
    std::fs::write(&path, known.to_string()).unwrap();
    assert_eq!(cove.ok(&["ps", "--format", "{{.Names}}"]), "newer");
    cove.ok(&["rm", "-f", "newer"]);
}

/// What the supervisor publishes.
fn status(runtime: &std::path::Path) -> serde_json::Value {
    let file = std::fs::File::open(runtime.join("status.json")).unwrap();
    serde_json::from_reader(file).unwrap()
}

fn pid(status: &serde_json::Value) -> i32 {
    i32::try_from(status["init"]["pid"].as_i64().unwrap_or_default()).unwrap()
}
