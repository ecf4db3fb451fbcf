//! What only Linux has: namespaces, devices, limits, paths hidden, filters.

use serde_json::{Map, Value, json};

use super::{BASE, Dice, Ground};

/// Which namespaces a trial has.
#[derive(Debug)]
pub(super) struct Spaces(Vec<(&'static str, Space)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    New,
    Joined,
}

impl Spaces {
    pub(super) fn choose(dice: &mut Dice) -> Self {
        let mut all = Vec::new();
        let user = dice.chance(25);
        if user {
            let how = if dice.chance(75) {
                Space::New
            } else {
                Space::Joined
            };
            all.push(("user", how));
        }
        for (name, percent) in [
            ("pid", 85),
            ("network", 75),
            ("ipc", 80),
            ("uts", 80),
            ("cgroup", 40),
            ("time", 8),
        ] {
            // Of a user namespace's own: without them little may be mounted.
            if user && ["pid", "network", "ipc"].contains(&name) || dice.chance(percent) {
                let joins = dice.chance(12) && name != "time" && name != "cgroup";
                all.push((name, if joins { Space::Joined } else { Space::New }));
            }
        }
        Self(all)
    }

    pub(super) fn is_new(&self, name: &str) -> bool {
        self.0.contains(&(
            match name {
                "uts" => "uts",
                "ipc" => "ipc",
                "network" => "network",
                "user" => "user",
                "time" => "time",
                _ => return false,
            },
            Space::New,
        ))
    }

    pub(super) fn has_user(&self) -> bool {
        self.0.iter().any(|(name, _)| *name == "user")
    }
}

pub(super) fn linux(dice: &mut Dice, ground: &Ground, spaces: &Spaces) -> Value {
    let mut linux = Map::new();
    linux.insert("namespaces".into(), namespaces(ground, spaces));
    if spaces.is_new("user") {
        for key in ["uidMappings", "gidMappings"] {
            let whole = json!([{"containerID": 0, "hostID": BASE, "size": 65_536}]);
            let split = json!([
                {"containerID": 0, "hostID": BASE, "size": 1},
                {"containerID": 1, "hostID": BASE + 1, "size": 70_000}
            ]);
            linux.insert(key.into(), dice.pick(&[whole.clone(), whole, split]));
        }
    }
    if spaces.is_new("time") {
        let offsets =
            json!({"monotonic": {"secs": 1000, "nanosecs": 5}, "boottime": {"secs": 2000}});
        linux.insert("timeOffsets".into(), offsets);
    }
    let mut put = |dice: &mut Dice, percent, key: &str, make: &dyn Fn(&mut Dice) -> Value| {
        if dice.chance(percent) {
            linux.insert(key.into(), make(dice));
        }
    };
    put(dice, 30, "sysctl", &|d| sysctls(d, spaces));
    put(dice, 30, "devices", &devices);
    put(dice, 40, "resources", &resources);
    put(dice, 60, "cgroupsPath", &|d| {
        let at = &ground.cgroup;
        d.pick(&[
            json!(format!("/{at}/@ID")),
            json!(format!("/{at}/deep/@ID")),
        ])
    });
    put(dice, 50, "maskedPaths", &|d| {
        json!(d.some(
            &[
                "/proc/acpi",
                "/proc/kcore",
                "/proc/keys",
                "/proc/timer_list",
                "/proc/scsi",
                "/sys/firmware",
                "/etc/secret",
                "/etc/secrets",
                "/nonexistent",
                "/proc/keys"
            ],
            50,
        ))
    });
    put(dice, 50, "readonlyPaths", &|d| {
        json!(d.some(
            &[
                "/proc/bus",
                "/proc/sys",
                "/proc/sysrq-trigger",
                "/etc",
                "/nonexistent",
                "/data",
                "/proc/sys"
            ],
            50,
        ))
    });
    put(dice, 20, "rootfsPropagation", &|d| {
        d.text(&[
            "private",
            "rprivate",
            "slave",
            "rslave",
            "shared",
            "rshared",
            "unbindable",
        ])
    });
    put(dice, 35, "seccomp", &seccomp);
    put(
        dice,
        8,
        "personality",
        &|d| json!({"domain": d.pick(&["LINUX", "LINUX32"])}),
    );
    Value::Object(linux)
}

fn namespaces(ground: &Ground, spaces: &Spaces) -> Value {
    let joins_user = spaces.0.contains(&("user", Space::Joined));
    let one = |(name, how): &(&str, Space)| {
        let mut space = json!({"type": name});
        if *how == Space::Joined {
            let from = if joins_user {
                &ground.joined_user
            } else {
                &ground.joined
            };
            let link = if *name == "network" { "net" } else { name };
            space["path"] = json!(format!("{from}/{link}"));
        }
        space
    };
    Value::Array(spaces.0.iter().map(one).collect())
}

fn sysctls(dice: &mut Dice, spaces: &Spaces) -> Value {
    let mut all = Map::new();
    let mut put = |dice: &mut Dice, space: &str, name: &str, value: &str| {
        if spaces.is_new(space) && dice.chance(50) {
            all.insert(name.into(), json!(value));
        }
    };
    put(dice, "network", "net.ipv4.ip_forward", "1");
    put(dice, "network", "net.core.somaxconn", "100");
    put(dice, "network", "net.ipv4.ping_group_range", "0 0");
    put(dice, "ipc", "kernel.shmmax", "1000000");
    put(dice, "ipc", "kernel.sem", "10 20 30 40");
    put(dice, "ipc", "fs.mqueue.msg_max", "20");
    Value::Object(all)
}

fn devices(dice: &mut Dice) -> Value {
    let all = [
        json!({"path": "/dev/foo", "type": "c", "major": 1, "minor": 5}),
        json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}),
        json!({"path": "/dev/owned", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 1000}),
        json!({"path": "/dev/sub/node", "type": "u", "major": 1, "minor": 8}),
        json!({"path": "/dev/loopback", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600}),
        json!({"path": "/dev/queue", "type": "p", "fileMode": 0o622}),
        json!({"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}),
        json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}),
        json!({"path": "/dev/tty", "type": "c", "major": 5, "minor": 0, "fileMode": 0o620, "gid": 5}),
        json!({"path": "/opt/node", "type": "c", "major": 1, "minor": 7}),
    ];
    Value::Array(dice.some(&all, 20))
}

fn resources(dice: &mut Dice) -> Value {
    let mut all = Map::new();
    let mut put = |dice: &mut Dice, percent, key: &str, values: &[Value]| {
        if dice.chance(percent) {
            all.insert(key.into(), dice.pick(values));
        }
    };
    put(
        dice,
        40,
        "memory",
        &[
            json!({"limit": 268_435_456}),
            json!({"limit": 268_435_456, "reservation": 134_217_728}),
            json!({"limit": -1}),
            json!({"reservation": 134_217_728}),
        ],
    );
    put(
        dice,
        40,
        "cpu",
        &[
            json!({"shares": 512}),
            json!({"quota": 50_000, "period": 100_000}),
            json!({"cpus": "0"}),
            json!({"cpus": "0-1", "mems": "0"}),
            json!({"shares": 2, "quota": -1}),
            json!({"period": 50_000}),
            json!({"shares": 0, "quota": 0, "period": 0}),
        ],
    );
    put(
        dice,
        35,
        "pids",
        &[
            json!({"limit": 100}),
            json!({"limit": -1}),
            json!({"limit": 0}),
        ],
    );
    put(
        dice,
        40,
        "devices",
        &[
            json!([{"allow": false, "access": "rwm"}]),
            json!([{"allow": true, "access": "rwm"}]),
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
            ]),
            json!([{"allow": false, "type": "c", "major": 1, "minor": 5, "access": "r"}]),
        ],
    );
    Value::Object(all)
}

fn seccomp(dice: &mut Dice) -> Value {
    let mut rules = vec![
        json!({"names": ["symlinkat", "symlink"], "action": "SCMP_ACT_ERRNO"}),
        json!({"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}),
        json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
               "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]}),
        json!({"names": ["setpriority"], "action": "SCMP_ACT_ERRNO",
               "args": [{"index": 2, "value": 10, "op": "SCMP_CMP_GE"}]}),
        json!({"names": ["setgroups"], "action": "SCMP_ACT_LOG"}),
        json!({"names": ["no_such_call", "fchownat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}),
    ];
    rules = dice.some(&rules, 40);
    let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    if dice.chance(40) {
        profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    }
    if dice.chance(15) {
        profile["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG"]);
    }
    profile
}
