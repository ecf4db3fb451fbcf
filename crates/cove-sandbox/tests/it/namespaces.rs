//! Every namespace: new, joined by path, of the wrong type.

use serde_json::json;

use crate::sandbox::{Sandbox, under};

fn own(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}"))
        .unwrap()
        .display()
        .to_string()
}

const ALL: [(&str, &str); 7] = [
    ("mount", "mnt"),
    ("network", "net"),
    ("uts", "uts"),
    ("ipc", "ipc"),
    ("pid", "pid"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

#[test]
fn each_is_new_when_listed_and_the_callers_when_not() {
    let script = "for n in mnt net uts ipc pid cgroup time; do readlink /proc/self/ns/$n; done";
    let mut sandbox = Sandbox::new(script);
    for (kind, _) in ALL {
        sandbox.namespace(json!({"type": kind}));
    }
    for (line, (_, file)) in sandbox.run().lines().zip(ALL) {
        assert_ne!(line, own(file));
        assert!(line.starts_with(file), "{line}");
    }
    let mut sandbox = Sandbox::new(script);
    sandbox.spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
    sandbox.spec["hostname"] = json!(null);
    for (line, (kind, file)) in sandbox.run().lines().zip(ALL) {
        assert_eq!(line == own(file), kind != "mount", "{kind}");
    }
}

#[test]
fn a_container_joins_those_of_another() {
    let first = Sandbox::new("sleep 1000");
    first.create();
    first.ok("start", &[]);
    let pid = first.state()["pid"].as_i64().unwrap();
    for (kind, file) in [
        ("network", "net"),
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("pid", "pid"),
    ] {
        let path = format!("/proc/{pid}/ns/{file}");
        let expected = std::fs::read_link(&path).unwrap().display().to_string();
        let mut second = Sandbox::new(&format!("readlink /proc/self/ns/{file}"));
        second.spec["hostname"] = json!(null);
        second.namespace(json!({"type": kind, "path": path}));
        assert_eq!(second.run().trim(), expected);
        let wrong = if kind == "uts" { "ipc" } else { "uts" };
        second.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{wrong}")}));
        assert!(second.fails().1.contains("another type"));
    }
    first.ok("delete", &["--force"]);
}

#[test]
fn user_namespace_maps_ids() {
    let mut sandbox =
        Sandbox::new("id -u; cat /proc/self/uid_map; touch /tmp/made; ls -ln /dev/null");
    std::os::unix::fs::chown(sandbox.rootfs().join("tmp"), Some(100_000), Some(100_000)).unwrap();
    sandbox.namespace(json!({"type": "user"}));
    sandbox.spec["linux"]["uidMappings"] =
        json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    sandbox.spec["linux"]["gidMappings"] = sandbox.spec["linux"]["uidMappings"].clone();
    let text = sandbox.run();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["0"]);
    assert_eq!(lines[1], ["0", "100000", "65536"]);
    assert_eq!(&lines[2][4..6], ["1,", "3"], "the host's node, bound");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        std::fs::metadata(sandbox.rootfs().join("tmp/made"))
            .unwrap()
            .uid(),
        100_000
    );
}

#[test]
pub(crate) fn time_offsets_are_in_force_for_the_program() {
    let mut sandbox = Sandbox::new("cut -d. -f1 /proc/uptime");
    sandbox.namespace(json!({"type": "time"}));
    sandbox.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}});
    assert!(sandbox.run().trim().parse::<u64>().unwrap() > 1_000_000);
}

#[test]
fn names_sysctls_and_loopback() {
    let mut sandbox = Sandbox::new(
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward \
         /proc/sys/kernel/shmmni; ip addr show lo | grep -c UP",
    );
    sandbox.spec["domainname"] = json!("dom");
    sandbox.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"});
    assert_eq!(sandbox.run(), "box\ndom\n1\n77\n1\n");
    // Each kind of name, some that lead out of their namespace's directory among them.
    let now = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    for name in ["kernel.panic", "net.//.kernel.panic", "net/../kernel/panic"] {
        sandbox.spec["linux"]["sysctl"] = json!({name: now.trim()});
        assert!(sandbox.fails().1.contains("not separate"), "{name}");
    }
}

#[test]
fn what_is_changed_in_the_callers_own_namespace_would_be_the_hosts() {
    let mut sandbox = Sandbox::new("true");
    sandbox.namespace(json!({"type": "network", "path": "/proc/self/ns/net"}));
    let now = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    sandbox.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": now.trim()});
    assert!(sandbox.fails().1.contains("the host's"));
    sandbox.spec["linux"]["sysctl"] = json!(null);
    sandbox.run();
    sandbox.namespace(json!({"type": "uts", "path": "/proc/self/ns/uts"}));
    sandbox.spec["hostname"] = json!(own_name());
    sandbox.run();
    sandbox.spec["hostname"] = json!("another");
    // Were it accepted, this host's name would stay.
    let run = sandbox.command("run", &[]);
    let output = under(std::process::Command::new("unshare").arg("--uts"), &run);
    assert!(String::from_utf8_lossy(&output.stderr).contains("need a uts namespace"));
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted() {
    let mut sandbox = Sandbox::new("true");
    sandbox.spec["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "uts"}]);
    let (_, said) = sandbox.fails();
    assert!(
        said.contains("needs a mount namespace of its own"),
        "{said}"
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let bundle = sandbox.dir.path().to_str().unwrap();
    assert!(!mounts.contains(bundle), "{mounts}");
}

#[test]
fn an_empty_name_is_none() {
    let mut sandbox = Sandbox::new("hostname; cat /proc/sys/kernel/domainname");
    sandbox.spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    sandbox.spec["hostname"] = json!("");
    sandbox.spec["domainname"] = json!("");
    let run = sandbox.command("run", &[]);
    let names = "hostname kept; echo dom > /proc/sys/kernel/domainname; exec \"$@\"";
    let mut shell = std::process::Command::new("unshare");
    shell.args(["-u", "sh", "-c", names, "sh"]);
    let output = under(&mut shell, &run);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "kept\ndom\n", "{output:?}");
}

fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().to_owned()
}

#[test]
fn a_network_device_moves_in_with_its_address() {
    // In a network namespace of the shell's own, so that the host's devices are left alone.
    let mut sandbox = Sandbox::new("ip -o addr show inside; ip link show inside | grep -c ',UP'");
    sandbox.spec["linux"]["netDevices"] = json!({"outside0": {"name": "inside"}});
    let run = sandbox.command("run", &[]);
    let script = "ip link add outside0 type veth peer name other0 && ip addr add 10.9.8.7/24 dev outside0 && \
        exec \"$@\"";
    let mut shell = std::process::Command::new("unshare");
    shell.args(["-n", "sh", "-c", script, "sh"]);
    let output = under(&mut shell, &run);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("10.9.8.7/24") && text.ends_with("1\n"),
        "{output:?}"
    );
}
