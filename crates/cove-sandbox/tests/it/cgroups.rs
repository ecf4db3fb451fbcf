//! What a hostile root inside can do by a writable `cgroup` mount, to others and to its own removal.
//! On a host with a unified hierarchy alone most of this has nothing to find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sandbox::{Sandbox, cgroups, under};

/// The mount points of the named hierarchies.
fn hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let named = table.lines().filter(|line| line.contains(" - cgroup "));
    named
        .map(|line| PathBuf::from(line.split(' ').nth(4).unwrap()))
        .collect()
}

/// A cgroup of somebody else in every named hierarchy.
struct Other(Vec<PathBuf>);

impl Other {
    fn new(name: &str) -> Self {
        let name = format!("cove-test-other-{}-{name}", std::process::id());
        let dirs: Vec<PathBuf> = hierarchies().iter().map(|top| top.join(&name)).collect();
        for dir in &dirs {
            fs::create_dir(dir).unwrap();
        }
        Self(dirs)
    }

    fn name(&self) -> Option<&str> {
        self.0.first()?.file_name()?.to_str()
    }

    fn find(&self, hierarchy: &str) -> Option<&PathBuf> {
        let mut dirs = self.0.iter();
        dirs.find(|dir| dir.parent().unwrap().ends_with(hierarchy))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        for dir in &self.0 {
            fs::remove_dir(dir).unwrap();
        }
    }
}

fn writable(script: &str, namespace: bool) -> Sandbox {
    let mut sandbox = Sandbox::new(script);
    if namespace {
        sandbox.namespace(json!({"type": "cgroup"}));
    }
    sandbox.mount(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["rw"]}),
    );
    sandbox
}

#[test]
fn the_groups_of_others_are_out_of_reach() {
    let other = Other::new("reach");
    let Some(name) = other.name() else { return };
    let script = format!(
        "cd /sys/fs/cgroup; ls -d */{name} */release_agent */cgroup.sane_behavior; \
         for h in *; do \
           for f in cpu.shares cgroup.procs tasks notify_on_release; do \
             echo 1 2>/dev/null >$h/{name}/$f && echo wrote $h $f; \
             echo 1 2>/dev/null >$h/../{name}/$f && echo wrote above $h $f; \
           done; \
           mkdir $h/../made && echo made beside $h; \
           mkdir $h/own && mv $h/own $h/../moved && echo moved $h; \
           mv $h/own $h/renamed; \
         done 2>/dev/null; \
         sed -n 's/.*:\\(.*\\)/\\1/p' /proc/self/cgroup | sort -u"
    );
    for namespace in [true, false] {
        let sandbox = writable(&script, namespace);
        let paths = if namespace {
            "/"
        } else {
            &*format!("/{}", sandbox.id)
        };
        let output = sandbox.call("run", &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        // The directory that holds the hierarchies is the container's own tmpfs.
        let own = |line: &&str| line.starts_with("made beside");
        let seen: Vec<&str> = text.lines().filter(|line| !own(line)).collect();
        assert_eq!(seen, [paths], "{output:?}");
        assert!(!Path::new("/sys/fs/cgroup/made").exists());
        sandbox.assert_gone();
    }
    if let Some(cpu) = other.find("cpu") {
        let shares = fs::read_to_string(cpu.join("cpu.shares")).unwrap();
        assert_eq!(shares.trim(), "1024");
    }
}

#[test]
fn a_container_is_in_a_group_of_its_own_everywhere() {
    let sandbox = Sandbox::new("sleep 1000");
    sandbox.create();
    sandbox.ok("start", &[]);
    let pid = sandbox.state()["pid"].to_string();
    for top in hierarchies() {
        let procs = top.join(&sandbox.id).join("cgroup.procs");
        let listed = fs::read_to_string(&procs).unwrap();
        assert_eq!(listed.trim(), pid, "{procs:?}");
    }
    let process = sandbox.dir.path().join("process.json");
    let cat = json!({"cwd": "/", "args": ["cat", "/proc/self/cgroup"], "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}});
    fs::write(&process, cat.to_string()).unwrap();
    let text = sandbox.ok("exec", &[process.to_str().unwrap()]);
    for line in text.lines() {
        assert!(line.ends_with(&format!(":/{}", sandbox.id)), "{line}");
    }
    sandbox.ok("delete", &["--force"]);
    sandbox.assert_gone();
}

/// A hierarchy that is not in sight here exists all the same, with the creator in its root.
#[test]
fn a_hierarchy_that_the_runtime_does_not_see_is_not_shown() {
    let Some(top) = hierarchies().pop() else {
        return;
    };
    let sandbox = writable("ls /sys/fs/cgroup", true);
    let run = sandbox.command("run", &[]);
    let mut shell = Command::new("unshare");
    let script = "umount $0 && exec \"$@\"";
    shell.args(["-m", "sh", "-c", script]).arg(&top);
    let output = under(&mut shell, &run);
    let text = String::from_utf8(output.stdout).unwrap();
    let name = top.file_name().unwrap().to_str().unwrap();
    assert!(!text.is_empty(), "{:?}", output.stderr);
    assert!(!text.lines().any(|line| line == name), "{text}");
}

#[test]
fn groups_made_deeper_than_descriptors_reach_are_removed() {
    let script = "cd /sys/fs/cgroup; [ -d pids ] && cd pids; i=0; \
        while [ $i -lt 200 ]; do mkdir x && cd x || exit 3; i=$((i+1)); done";
    let sandbox = writable(script, true);
    let run = sandbox.command("run", &[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]);
    let output = under(&mut shell, &run);
    assert!(output.status.success(), "{output:?}");
    sandbox.assert_gone();
}

#[test]
fn what_froze_itself_dies_all_the_same() {
    let Some(freezer) = hierarchies()
        .into_iter()
        .find(|top| top.ends_with("freezer"))
    else {
        return;
    };
    let script = "cd /sys/fs/cgroup/freezer; mkdir in; sleep 1000 & echo $! >in/cgroup.procs; \
        echo FROZEN >in/freezer.state; exec sleep 1000";
    let sandbox = writable(script, true);
    sandbox.create();
    sandbox.ok("start", &[]);
    let state = freezer.join(&sandbox.id).join("in/freezer.state");
    wait(|| fs::read_to_string(&state).is_ok_and(|text| text.trim() == "FROZEN"));
    let begun = Instant::now();
    sandbox.ok("delete", &["--force"]);
    assert!(begun.elapsed() < Duration::from_secs(9));
    sandbox.assert_gone();
}

#[test]
fn one_frozen_by_another_is_told_at_once() {
    let other = Other::new("frozen");
    let Some(freezer) = other.find("freezer") else {
        return;
    };
    let state = freezer.join("freezer.state");
    // The first process, and one that keeps the first from ending.
    for which in [0, 1] {
        let sandbox = Sandbox::new("sleep 1000 & exec sleep 1000");
        sandbox.create();
        sandbox.ok("start", &[]);
        let own = freezer.parent().unwrap().join(&sandbox.id);
        let listed = || fs::read_to_string(own.join("cgroup.procs")).unwrap();
        wait(|| listed().lines().count() == 2);
        let listed = listed();
        let pid = listed.lines().nth(which).unwrap();
        fs::write(freezer.join("cgroup.procs"), pid).unwrap();
        fs::write(&state, "FROZEN").unwrap();
        wait(|| fs::read_to_string(&state).unwrap().trim() == "FROZEN");
        let begun = Instant::now();
        let output = sandbox.call("delete", &["--force"]);
        assert!(begun.elapsed() < Duration::from_secs(9));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(freezer.to_str().unwrap()), "{error}");
        assert!(error.contains("thawed"), "{error}");
        fs::write(&state, "THAWED").unwrap();
        sandbox.ok("delete", &["--force"]);
        sandbox.assert_gone();
    }
}

fn wait(mut until: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

#[test]
fn no_hierarchy_is_missed_for_want_of_descriptors() {
    let mut sandbox = Sandbox::new("cat /proc/self/cgroup");
    for number in 0..20 {
        let destination = format!("/mnt/{number}");
        sandbox.mount(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
    }
    let roomy = sandbox.run();
    let (mut ran, mut few_entrances) = (0, 0);
    for most in 10..80 {
        let limit = format!("--nofile={most}");
        let output = under(
            Command::new("prlimit").arg(limit),
            &sandbox.command("run", &[]),
        );
        if output.status.success() {
            ran += 1;
            assert_eq!(String::from_utf8_lossy(&output.stdout), roomy, "{most}");
        } else if String::from_utf8_lossy(&output.stderr).contains("not every entrance") {
            few_entrances += 1;
        }
        // One that fails leaves nothing.
        assert_eq!(cgroups(&sandbox.id), Vec::<PathBuf>::new(), "{most}");
    }
    assert!(ran > 0 && few_entrances > 0, "{ran} {few_entrances}");
}
