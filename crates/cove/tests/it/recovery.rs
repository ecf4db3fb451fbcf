//! What the next command makes of what a kill or the end of a boot left.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use testkit::cmd::Cmd;
use testkit::fault::{kill_one, killed_at};
use testkit::leak::{Snapshot, assert_no_leaks, remove_cgroups};
use testkit::rng::Rng;

use crate::support::{IMAGE, cove};

#[test]
fn a_container_of_rm_can_be_restarted_and_ends_with_a_boot() {
    let cove = cove();
    let run = ["run", "-d", "--network", "none", "--name"];
    let image = [IMAGE, "sleep", "1000"];
    cove.ok(&[&run[..], &["gone", "--rm"], &image].concat());
    cove.ok(&[&run[..], &["kept"], &image].concat());
    cove.ok(&["restart", "-t", "0", "gone"]);
    cove.ok(&["exec", "gone", "touch", "/mark"]);
    // What the end of a boot does: processes, cgroups and the runtime directory go.
    let runroot = cove.roots().runroot();
    cove.roots().tear_down();
    let until = Instant::now() + Duration::from_secs(5);
    while !cove.roots().processes().is_empty() && Instant::now() < until {}
    remove_cgroups(&runroot);
    testkit::files::remove_tree(&runroot);
    std::fs::create_dir(&runroot).unwrap();
    assert_eq!(cove.ok(&["ps", "-a", "--format", "{{.Names}}"]), "kept");
    cove.ok(&["start", "kept"]);
    cove.ok(&["exec", "kept", "true"]);
    cove.ok(&["rm", "-f", "kept"]);
}

#[test]
fn a_killed_commit_lets_its_container_go_on_and_leaves_nothing() {
    let cove = cove();
    cove.ok(&["run", "--rm", "--network", "none", IMAGE, "true"]);
    let before = Snapshot::take(cove.roots());
    let run = ["run", "-d", "--network", "none", "--name", "box", IMAGE];
    cove.ok(&[&run[..], &["sleep", "1000"]].concat());
    let commit = cove.cmd(["commit", "box", "never:kept"]);
    let output = killed_at(commit, "fsync,fdatasync,syncfs", 1).run();
    assert!(!output.success(), "{output}");
    let until = Instant::now() + Duration::from_secs(10);
    while cove.ok(&["inspect", "--format", "{{.State.Status}}", "box"]) != "running" {
        assert!(Instant::now() < until, "it is frozen for ever");
    }
    cove.ok(&["exec", "box", "true"]);
    cove.ok(&["commit", "box", "now:kept"]);
    // As soon as a commit that was not killed is done, its container goes on.
    cove.ok(&["exec", "box", "true"]);
    cove.ok(&["rm", "-f", "box"]);
    assert_no_leaks(&before, cove.roots());
}

#[test]
fn a_supervisor_that_is_killed_while_it_freezes_or_thaws_leaves_what_was_told() {
    let cove = cove();
    let run = ["run", "-d", "--network", "none", "--name", "box", IMAGE];
    let id = cove.ok(&[&run[..], &["sleep", "1000"]].concat());
    let kill = || kill_one(cove.roots(), cove.program(), &mut Rng::new(1)).expect("a supervisor");
    let sandbox = cove.roots().runroot().join("sandbox");
    let behind_its_back = |verb: &str| {
        let runtime = Cmd::new(cove.program()).args(["oci", "--root"]);
        runtime.arg(&sandbox).args([verb, &id]).ok();
    };
    let state = || cove.ok(&["inspect", "--format", "{{.State.Status}}", "box"]);
    // Frozen for a commit that was never told so.
    kill();
    behind_its_back("pause");
    cove.ok(&["commit", "box", "now:kept"]);
    cove.ok(&["exec", "box", "true"]);
    // A pause that was told, and an end of it that was not.
    cove.ok(&["pause", "box"]);
    kill();
    behind_its_back("resume");
    assert_eq!(state(), "paused");
    cove.ok(&["unpause", "box"]);
    assert_eq!(state(), "running");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn an_end_that_was_cleaned_up_and_not_told_hides_nothing() {
    let cove = cove();
    let run = ["run", "-d", "--network", "none", "--name"];
    let sleep = [IMAGE, "sleep", "1000"];
    let id = cove.ok(&[&run[..], &["box"], &sleep].concat());
    let kill = || kill_one(cove.roots(), cove.program(), &mut Rng::new(1)).expect("a supervisor");
    kill();
    let known = cove.roots().runroot().join("sandbox").join(&id);
    let aside = cove.roots().runroot().join("aside");
    std::fs::rename(&known, &aside).unwrap();
    // Alive, but nobody can take it over: that is said of it, and of nothing else.
    let list = ["ps", "-a", "--format", "{{.Names}} {{.State}}"];
    assert_eq!(cove.ok(&list), "box running");
    cove.fails(1, &["stop", "box"]);
    let image = cove.ok(&["images", "-q"]);
    let said = cove.fails(1, &["rmi", "-f", &image]);
    assert!(said.contains("being used by running container"), "{said}");
    std::fs::rename(&aside, &known).unwrap();
    // What a supervisor does that is killed before it tells of the end.
    let runtime = Cmd::new(cove.program()).args(["oci", "--root"]);
    let sandbox = known.parent().unwrap();
    runtime.arg(sandbox).args(["delete", "-f", &id]).ok();
    cove.ok(&[&run[..], &["other"], &sleep].concat());
    assert_eq!(cove.ok(&list), "other running\nbox exited");
    cove.ok(&["start", "box"]);
    cove.ok(&["rm", "-f", "box", "other"]);
}

#[test]
fn a_supervisor_that_rmi_waits_for_keeps_nobody_from_the_images() {
    let cove = cove();
    let run = ["run", "-d", "--network", "none", "--name", "box", IMAGE];
    let id = cove.ok(&[&run[..], &["sleep", "1000"]].concat());
    kill_one(cove.roots(), cove.program(), &mut Rng::new(1)).expect("a supervisor");
    // As long as this is held, no supervisor takes the container over.
    let turn = File::open(cove.roots().runroot().join("containers").join(&id)).unwrap();
    flock(&turn, FlockOperation::LockExclusive).unwrap();
    let rmi = cove.cmd(["rmi", "-f", IMAGE]).start();
    let pid = rmi.pid().to_string();
    let until = Instant::now() + Duration::from_secs(20);
    let waits = |lock: &str| lock.contains("->") && lock.split(' ').any(|word| word == pid);
    while !testkit::files::text("/proc/locks".as_ref())
        .unwrap()
        .lines()
        .any(waits)
    {
        assert!(Instant::now() < until, "it does not wait");
    }
    let tag = cove.cmd(["tag", IMAGE, "other:1"]);
    tag.limit(Duration::from_secs(20)).ok();
    drop(turn);
    let output = rmi.wait();
    assert_eq!(output.out(), format!("Untagged: {IMAGE}\n"), "{output}");
    // It runs, so that only the last name goes.
    assert_eq!(cove.ok(&["rmi", "-f", "other:1"]), "Untagged: other:1");
    cove.ok(&["exec", "box", "true"]);
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_killed_run_can_be_removed_or_started() {
    let cove = cove();
    cove.ok(&["run", "--rm", "--network", "none", IMAGE, "true"]);
    let before = Snapshot::take(cove.roots());
    // Before its supervisor, and while it is waited for.
    for (name, calls) in [("one", "memfd_create"), ("two", "sendfile,read")] {
        let run = ["run", "-d", "--network", "none", "--name", name, IMAGE];
        let run = cove.cmd(run.iter().chain(&["sleep", "1000"]));
        for nth in [1, 20, 40, 60] {
            let _killed_or_not = killed_at(run.clone(), calls, nth).run();
            let listed = cove.ok(&["ps", "-a", "--format", "{{.Names}}"]);
            if listed == name {
                cove.ok(&["start", name]);
                cove.ok(&["exec", name, "true"]);
                cove.ok(&["rm", "-f", name]);
            } else {
                assert_eq!(listed, "");
            }
            assert_no_leaks(&before, cove.roots());
        }
    }
}

#[test]
fn a_killed_rename_leaves_one_name() {
    let cove = cove();
    cove.ok(&["create", "--name", "other", IMAGE, "true"]);
    let names = cove.roots().root().join("names");
    let mut seen = [0, 0];
    // The new name, the record, the old name: each step is the last one once.
    for (calls, nth) in ["/^symlink", "/^f.*sync$", "/^rename", "/^unlink"]
        .into_iter()
        .flat_map(|calls| [1, 2, 3].map(|nth| (calls, nth)))
    {
        cove.ok(&["create", "--name", "old", IMAGE, "true"]);
        let rename = cove.cmd(["rename", "old", "new"]);
        let finished = killed_at(rename, calls, nth).run().success();
        let listed = cove.ok(&["ps", "-a", "--format", "{{.Names}}"]);
        let (kept, free) = match listed.as_str() {
            "new\nother" => ("new", "old"),
            "old\nother" => ("old", "new"),
            listed => panic!("{listed}"),
        };
        assert!(!finished || kept == "new");
        seen[usize::from(kept == "new")] += usize::from(!finished);
        cove.ok(&["inspect", kept]);
        assert!(cove.fails(1, &["inspect", free]).contains(free));
        // That command's sweep, too, has left one name to each.
        let links = std::fs::read_dir(&names).unwrap().count();
        assert_eq!(links, 2, "{calls} {nth}");
        cove.ok(&["rename", "other", free]);
        cove.ok(&["rename", free, "other"]);
        cove.ok(&["rm", kept]);
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

#[test]
fn a_container_with_more_levels_than_there_are_descriptors_is_removed() {
    let cove = cove();
    cove.ok(&["run", "--rm", "--network", "none", IMAGE, "true"]);
    let before = Snapshot::take(cove.roots());
    let deep = "i=0; while [ $i -lt 300 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done";
    let run = ["run", "--network", "none", "--name", "deep", IMAGE];
    cove.ok(&[&run[..], &["sh", "-c", deep]].concat());
    let rm = cove.cmd(["rm", "deep"]);
    rm.under("prlimit", &["--nofile=128", "--"]).ok();
    assert_no_leaks(&before, cove.roots());
}
