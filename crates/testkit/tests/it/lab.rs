//! The lab itself: what it offers, how commands end, how the plug is pulled.

use std::time::Duration;

use testkit::lab::{Lab, LabError};

#[test]
fn the_machine_has_what_the_host_may_lack() {
    let output = Lab::new()
        .env("GREETING", "it's here")
        .run(&[
            "sh",
            "-c",
            r#"
            cat /sys/fs/cgroup/cgroup.subtree_control
            test -c /dev/kvm && echo kvm
            grep -c . /proc/filesystems >/dev/null && mount -t tmpfs x /mnt && echo mounts
            echo "$GREETING" >&2
            pwd
            touch Cargo.toml.lab-probe && rm Cargo.toml.lab-probe && echo writable
            exit 7
        "#,
        ])
        .unwrap();
    assert_eq!(output.code(), 7, "{output}");
    let out = output.out();
    let controllers: Vec<&str> = out.lines().next().unwrap_or_default().split(' ').collect();
    for controller in ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"] {
        assert!(
            controllers.contains(&controller),
            "no {controller} in {out}"
        );
    }
    let place = testkit::workspace().display().to_string();
    for word in ["kvm", "mounts", &place, "writable"] {
        assert!(out.lines().any(|line| line == word), "no {word} in {out}");
    }
    assert_eq!(output.err().trim(), "it's here");
}

#[test]
fn a_killed_machine_keeps_what_was_synced() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    std::fs::File::create(&disk)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    testkit::cmd::Cmd::new("mkfs.ext4")
        .args(["-q", "-F"])
        .arg(&disk)
        .ok();
    let lab = Lab::new().disk(&disk);
    let machine = lab
        .start(&[
            "sh",
            "-c",
            "mount /dev/vda /mnt && echo kept >/mnt/kept && sync && echo lost >/mnt/lost \
            && echo written && sleep 600",
        ])
        .unwrap();
    assert!(
        machine.says("written", Duration::from_secs(120)),
        "{}",
        machine.console()
    );
    machine.kill();
    let output = lab
        .run(&["sh", "-c", "mount /dev/vda /mnt && cat /mnt/kept /mnt/lost"])
        .unwrap();
    assert_eq!(output.out(), "kept\n", "{output}");
}

#[test]
fn a_command_that_never_ends_is_an_error() {
    let error = Lab::new()
        .limit(Duration::from_secs(2))
        .run(&["sleep", "600"])
        .unwrap_err();
    assert!(matches!(error, LabError::Late { .. }), "{error}");
}
