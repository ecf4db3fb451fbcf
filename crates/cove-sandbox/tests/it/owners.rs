//! Namespaces of different owners in one container: a user namespace, new or joined, beside others
//! that belong to the host or to another container.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const KINDS: [(&str, &str); 4] = [
    ("network", "net"),
    ("uts", "uts"),
    ("ipc", "ipc"),
    ("pid", "pid"),
];

/// A container that runs, and whose namespaces others join.
fn running(change: impl FnOnce(&mut Sandbox)) -> (Sandbox, String) {
    let mut sandbox = Sandbox::new("sleep 1000");
    change(&mut sandbox);
    sandbox.create();
    sandbox.ok("start", &[]);
    let pid = sandbox.state()["pid"].to_string();
    (sandbox, pid)
}

fn map(sandbox: &mut Sandbox) {
    sandbox.namespace(json!({"type": "user"}));
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    sandbox.spec["linux"]["uidMappings"] = maps.clone();
    sandbox.spec["linux"]["gidMappings"] = maps;
}

fn join(sandbox: &mut Sandbox, kind: &str, file: &str, pid: &str) {
    sandbox.spec["hostname"] = Value::Null;
    sandbox.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
}

/// A procfs of a pid namespace of somebody else's cannot be mounted; it can be handed in.
fn procfs_of_host(sandbox: &mut Sandbox) {
    let mounts = sandbox.spec["mounts"].as_array_mut().unwrap();
    mounts[0] = json!({"destination": "/proc", "type": "bind", "source": "/proc",
        "options": ["rbind"]});
}

fn link(pid: &str, file: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
    link.display().to_string()
}

fn process(sandbox: &Sandbox, script: &str) -> PathBuf {
    let path = sandbox.dir.path().join("process.json");
    let process = json!({"cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}});
    fs::write(&path, process.to_string()).unwrap();
    path
}

const LOOK: &str = "for n in net uts ipc pid; do readlink /proc/self/ns/$n; done; \
    id -u; cat /proc/self/uid_map | tr -s ' '";

#[test]
fn a_new_user_namespace_beside_those_of_the_host() {
    let (host, pid) = running(|_| {});
    // Each alone, and all together.
    for count in 1..=5 {
        let mut sandbox = Sandbox::new(LOOK);
        map(&mut sandbox);
        let kinds = if count == 5 {
            &KINDS[..]
        } else {
            &KINDS[count - 1..count]
        };
        for (kind, file) in kinds {
            join(&mut sandbox, kind, file, &pid);
        }
        if kinds.iter().any(|(kind, _)| *kind == "pid") {
            procfs_of_host(&mut sandbox);
        }
        let text = sandbox.run();
        let lines: Vec<&str> = text.lines().collect();
        for ((_, file), line) in KINDS.iter().zip(&lines) {
            let joined = kinds.iter().any(|(_, one)| one == file);
            assert_eq!(*line == link(&pid, file), joined, "{file}: {text}");
            assert_ne!(*line, link("self", file));
        }
        assert_eq!(lines[4..], ["0", " 0 100000 65536"]);
        sandbox.assert_gone();
    }
    host.ok("delete", &["--force"]);
}

#[test]
fn another_process_in_such_a_container() {
    let (host, pid) = running(|_| {});
    let (sandbox, inner) = running(|sandbox| {
        map(sandbox);
        join(sandbox, "network", "net", &pid);
    });
    assert_eq!(link(&inner, "net"), link(&pid, "net"));
    let path = process(&sandbox, LOOK);
    let text = sandbox.ok("exec", &[path.to_str().unwrap()]);
    let lines: Vec<&str> = text.lines().collect();
    for ((_, file), line) in KINDS.iter().zip(&lines) {
        assert_eq!(*line, link(&inner, file), "{text}");
    }
    assert_eq!(lines[4..], ["0", " 0 100000 65536"]);
    sandbox.ok("delete", &["--force"]);
    host.ok("delete", &["--force"]);
}

/// As Podman mounts it in a pod: issue 396 of crun.
#[test]
fn the_message_queues_of_another_owner() {
    let (host, outer) = running(|_| {});
    let (pod, pid) = running(map);
    let queues = json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
        "options": ["nosuid", "noexec", "nodev"]});
    let script = "stat -fc %T /dev/mqueue; ls /dev/mqueue";
    let mut new = Sandbox::new(script);
    map(&mut new);
    let mut joined = Sandbox::new(script);
    join(&mut joined, "user", "user", &pid);
    for sandbox in [&mut new, &mut joined] {
        join(sandbox, "ipc", "ipc", &outer);
        sandbox.mount(queues.clone());
        sandbox.run();
    }
    let mut theirs = Sandbox::new(script);
    join(&mut theirs, "user", "user", &pid);
    join(&mut theirs, "ipc", "ipc", &pid);
    theirs.mount(queues);
    theirs.run();
    pod.ok("delete", &["--force"]);
    host.ok("delete", &["--force"]);
}

/// As in a pod whose network was made before, by a plug-in.
#[test]
fn a_joined_user_namespace_beside_those_of_others() {
    let (host, outer) = running(|_| {});
    let (pod, pid) = running(map);
    for (net, uts, own_pid) in [(&outer, &pid, &pid), (&pid, &outer, &outer)] {
        let mut sandbox = Sandbox::new(LOOK);
        join(&mut sandbox, "user", "user", &pid);
        join(&mut sandbox, "network", "net", net);
        join(&mut sandbox, "uts", "uts", uts);
        join(&mut sandbox, "pid", "pid", own_pid);
        if *own_pid == outer {
            procfs_of_host(&mut sandbox);
        }
        let text = sandbox.run();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], link(net, "net"));
        assert_eq!(lines[1], link(uts, "uts"));
        assert_eq!(lines[3], link(own_pid, "pid"));
        assert_eq!(lines[4..], ["0", " 0 100000 65536"]);
    }
    // The caller's own is not entered again, which the kernel would refuse.
    let mut sandbox = Sandbox::new(LOOK);
    join(&mut sandbox, "user", "user", "self");
    join(&mut sandbox, "network", "net", &outer);
    assert!(sandbox.run().starts_with(&link(&outer, "net")));
    pod.ok("delete", &["--force"]);
    host.ok("delete", &["--force"]);
}

#[test]
fn time_offsets_beside_a_user_namespace() {
    let offsets = |sandbox: &mut Sandbox| {
        sandbox.namespace(json!({"type": "time"}));
        sandbox.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000}});
    };
    let uptime = "cut -d. -f1 /proc/uptime";
    let seconds = |text: &str| text.trim().parse::<u64>().unwrap();
    let mut sandbox = Sandbox::new(uptime);
    map(&mut sandbox);
    offsets(&mut sandbox);
    assert!(seconds(&sandbox.run()) > 1_000_000);

    let (pod, pid) = running(|sandbox| {
        map(sandbox);
        offsets(sandbox);
    });
    let path = process(&pod, uptime);
    let text = pod.ok("exec", &[path.to_str().unwrap()]);
    assert!(seconds(&text) > 1_000_000);
    // New in a user namespace that is joined; and one that is joined as well.
    let mut sandbox = Sandbox::new(uptime);
    join(&mut sandbox, "user", "user", &pid);
    offsets(&mut sandbox);
    assert!(seconds(&sandbox.run()) > 1_000_000);
    let mut sandbox = Sandbox::new(uptime);
    join(&mut sandbox, "user", "user", &pid);
    join(&mut sandbox, "time", "time", &pid);
    assert!(seconds(&sandbox.run()) > 1_000_000);
    pod.ok("delete", &["--force"]);
}

/// The owner that the container sees of a file of uid and gid 5.
fn owner(sandbox: &mut Sandbox, option: &str) -> String {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "").unwrap();
    std::os::unix::fs::chown(source.path().join("f"), Some(5), Some(5)).unwrap();
    sandbox.mount(
        json!({"destination": "/mnt", "type": "bind", "source": source.path(),
        "options": ["bind", option]}),
    );
    let text = sandbox.run();
    sandbox.spec["mounts"].as_array_mut().unwrap().pop();
    text.trim().to_owned()
}

#[test]
fn an_idmapped_mount_takes_the_mappings_of_its_user_namespace() {
    let look = "stat -c %u:%g /mnt/f";
    let (pod, pid) = running(map);
    for option in ["idmap", "ridmap"] {
        let mut new = Sandbox::new(look);
        map(&mut new);
        assert_eq!(owner(&mut new, option), "5:5");
        let mut joined = Sandbox::new(look);
        join(&mut joined, "user", "user", &pid);
        assert_eq!(owner(&mut joined, option), "5:5");
        assert_eq!(owner(&mut joined, "ro"), "65534:65534");
    }
    pod.ok("delete", &["--force"]);
}

#[test]
fn an_idmapped_mount_says_its_mappings_as_crun_reads_them() {
    let mut sandbox = Sandbox::new("stat -c %u:%g /mnt/f");
    let of = |sandbox: &mut Sandbox, option: &str| owner(sandbox, option);
    assert_eq!(
        of(&mut sandbox, "idmap=uids=0-1000-10;gids=0-2000-3#5-7-1"),
        "1005:7"
    );
    map(&mut sandbox);
    assert_eq!(
        of(&mut sandbox, "idmap=uids=@0-30-10;gids=@0-40-10"),
        "35:45"
    );
    sandbox.mount(
        json!({"destination": "/mnt", "type": "bind", "source": "/tmp",
        "options": ["bind", "idmap=uids=0-1-1"]}),
    );
    assert!(sandbox.fails().1.contains("idmap=uids=0-1-1"));
}

/// The kernel there does not enter a time namespace when a program is executed.
#[test]
#[ignore = "needs the lab: cargo xtask lab-tests"]
fn lab_time_offsets_where_the_kernel_does_not_enter_for_us() {
    crate::namespaces::time_offsets_are_in_force_for_the_program();
    time_offsets_beside_a_user_namespace();
    crate::affinity::the_callers_affinity_is_not_inherited();
}
