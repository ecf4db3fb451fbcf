//! The process: who it is, what it may, where it begins.

use serde_json::{Map, Value, json};

use super::Dice;

const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_NICE",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
    "CAP_BPF",
];

pub(super) fn process(dice: &mut Dice) -> Value {
    let mut process = Map::new();
    process.insert("user".into(), user(dice));
    let mut put = |dice: &mut Dice, percent, key: &str, make: &dyn Fn(&mut Dice) -> Value| {
        if dice.chance(percent) {
            process.insert(key.into(), make(dice));
        }
    };
    put(dice, 80, "capabilities", &capabilities);
    put(dice, 70, "env", &environment);
    put(dice, 30, "cwd", &|d| {
        d.text(&["/tmp", "/etc", "/new/deeper", "/opt"])
    });
    put(dice, 45, "noNewPrivileges", &|d| json!(d.chance(80)));
    put(dice, 30, "rlimits", &limits);
    put(dice, 25, "oomScoreAdj", &|d| {
        d.pick(&[json!(0), json!(100), json!(1000)])
    });
    put(dice, 12, "terminal", &|_| json!(true));
    put(dice, 10, "scheduler", &scheduler);
    put(dice, 10, "ioPriority", &|d| {
        d.pick(&[
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
            json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
        ])
    });
    if process.get("terminal").is_some() && dice.chance(50) {
        process.insert("consoleSize".into(), json!({"height": 30, "width": 100}));
    }
    Value::Object(process)
}

fn user(dice: &mut Dice) -> Value {
    let ids = [0, 0, 0, 1, 1000, 12_345, 65_534];
    let mut user = Map::new();
    user.insert("uid".into(), json!(dice.pick(&ids)));
    user.insert("gid".into(), json!(dice.pick(&ids)));
    if dice.chance(30) {
        let groups = [json!([5]), json!([5, 1000]), json!([0]), json!([])];
        user.insert("additionalGids".into(), dice.pick(&groups));
    }
    if dice.chance(25) {
        user.insert(
            "umask".into(),
            dice.pick(&[json!(0o77), json!(0), json!(0o27)]),
        );
    }
    Value::Object(user)
}

fn capabilities(dice: &mut Dice) -> Value {
    let bounding = dice.some(CAPABILITIES, 50);
    let permitted = dice.some(&bounding, 70);
    let effective = dice.some(&permitted, 80);
    let mut all = Map::new();
    if dice.chance(40) {
        let inheritable = dice.some(&permitted, 50);
        if dice.chance(50) {
            all.insert("ambient".into(), json!(dice.some(&inheritable, 70)));
        }
        all.insert("inheritable".into(), json!(inheritable));
    }
    all.insert("effective".into(), json!(effective));
    all.insert("permitted".into(), json!(permitted));
    all.insert("bounding".into(), json!(bounding));
    Value::Object(all)
}

fn environment(dice: &mut Dice) -> Value {
    let mut all = vec!["PATH=/bin:/usr/bin"];
    all.extend(dice.some(
        &[
            "HOME=/root",
            "HOME=",
            "A=1",
            "A=2",
            "EMPTY=",
            "WITH=a=b c",
            "TERM=xterm",
            "A=3",
            "LANG=C.UTF-8",
            "LISTEN_PID=1",
        ],
        25,
    ));
    if dice.chance(10) {
        all.clear();
    }
    json!(all)
}

fn limits(dice: &mut Dice) -> Value {
    // Never above what this machine gives: raising takes CAP_SYS_RESOURCE.
    let all = [
        ("RLIMIT_NOFILE", 512, 1024),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_STACK", 8 << 20, 16 << 20),
        ("RLIMIT_FSIZE", 1 << 30, 1 << 31),
        ("RLIMIT_MSGQUEUE", 4096, 8192),
        ("RLIMIT_SIGPENDING", 1000, 2000),
        ("RLIMIT_MEMLOCK", 65_536, 65_536),
        ("RLIMIT_CPU", 100, 200),
        ("RLIMIT_NPROC", 5000, 6000),
        ("RLIMIT_RTPRIO", 0, 0),
        ("RLIMIT_NICE", 0, 0),
        ("RLIMIT_LOCKS", 10, 20),
        ("RLIMIT_DATA", 1 << 32, 1 << 33),
        ("RLIMIT_AS", 1 << 36, 1 << 37),
    ];
    let chosen = dice.some(&all, 20);
    let limit =
        |(kind, soft, hard): &(&str, u64, u64)| json!({"type": kind, "soft": soft, "hard": hard});
    Value::Array(chosen.iter().map(limit).collect())
}

fn scheduler(dice: &mut Dice) -> Value {
    dice.pick(&[
        json!({"policy": "SCHED_OTHER", "nice": 5}),
        json!({"policy": "SCHED_BATCH", "nice": 3}),
        json!({"policy": "SCHED_IDLE"}),
        json!({"policy": "SCHED_OTHER", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
    ])
}
