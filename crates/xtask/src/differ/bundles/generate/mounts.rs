//! Mounts: those that engines write, with parts left out, and others of every
//! kind and option.

use serde_json::{Value, json};

use super::linux::Spaces;
use super::{Dice, Ground};

pub(super) fn mounts(dice: &mut Dice, ground: &Ground, spaces: &Spaces) -> Value {
    let mut all = Vec::new();
    let mut put = |dice: &mut Dice, percent, mount: Value| {
        if dice.chance(percent) {
            all.push(mount);
        }
    };
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let flags = ["nosuid", "noexec", "nodev"];
    put(dice, 40, mount("/proc", "proc", &flags));
    put(
        dice,
        80,
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
    );
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    put(dice, 70, mount("/dev/pts", "devpts", &pts));
    put(
        dice,
        60,
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=1m"],
        ),
    );
    if spaces.is_new("ipc") || !spaces.has_user() {
        put(dice, 55, mount("/dev/mqueue", "mqueue", &flags));
    }
    if spaces.is_new("network") || !spaces.has_user() {
        put(
            dice,
            55,
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        );
        let writes = dice.pick(&["ro", "ro", "rw"]);
        let options = ["nosuid", "noexec", "nodev", "relatime", writes];
        put(dice, 40, mount("/sys/fs/cgroup", "cgroup", &options));
    }
    for _ in 0..dice.pick(&[0, 0, 1, 1, 2, 4]) {
        let more = another(dice, ground);
        all.push(more);
    }
    Value::Array(all)
}

/// One mount more, of the kinds that people add.
fn another(dice: &mut Dice, ground: &Ground) -> Value {
    let destination = dice.pick(&[
        "/data",
        "/opt",
        "/new/deeper",
        "/mnt",
        "/etc",
        "/tmp",
        "/run",
        "relative/path",
        "/data/sub",
    ]);
    match dice.pick(&[0, 0, 0, 0, 1, 1, 2]) {
        0 => bind(dice, ground, destination),
        1 => {
            let mut options = dice.some(
                &[
                    "nosuid",
                    "noexec",
                    "nodev",
                    "ro",
                    "noatime",
                    "size=64k",
                    "uid=5",
                    "gid=6",
                    "nr_inodes=100",
                    "tmpcopyup",
                    "nodiratime",
                    "sync",
                    "rprivate",
                    "mode=700",
                ],
                15,
            );
            options.dedup();
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
        }
        _ => {
            // A source in the container's own tree: it shows what is there by then.
            let source = format!("{}/bundle/rootfs/data", ground.world);
            let options = ["rbind"];
            json!({"destination": "/final", "type": "bind", "source": source, "options": options})
        }
    }
}

fn bind(dice: &mut Dice, ground: &Ground, destination: &str) -> Value {
    let recursive = dice.chance(60);
    let mut options = vec![if recursive { "rbind" } else { "bind" }];
    // Of words that contradict each other, one.
    for words in [
        ["ro", "rro", "rw"],
        ["nosuid", "rnosuid", "suid"],
        ["noexec", "rnoexec", "exec"],
        ["nodev", "rnodev", "dev"],
        ["noatime", "rnoatime", "relatime"],
    ] {
        if dice.chance(15) {
            options.push(dice.pick(&words));
        }
    }
    if dice.chance(25) {
        options.push(dice.pick(&[
            "private",
            "rprivate",
            "shared",
            "rshared",
            "slave",
            "rslave",
            "unbindable",
        ]));
    }
    let (source, destination) = match dice.pick(&[0, 0, 0, 1, 1, 2, 3]) {
        0 => ("tree", destination.to_owned()),
        1 => (
            "file",
            format!("{}/file", dice.pick(&["/etc", "/data", "/new"])),
        ),
        2 => ("link", destination.to_owned()),
        _ => (
            "tree/node",
            dice.pick(&["/dev/given", "/etc/node"]).to_owned(),
        ),
    };
    let kind = dice.pick(&["bind", "none", ""]);
    let source = format!("{}/source/{source}", ground.world);
    let mut mount = json!({"destination": destination, "source": source, "options": options});
    if !kind.is_empty() {
        mount["type"] = json!(kind);
    }
    mount
}
