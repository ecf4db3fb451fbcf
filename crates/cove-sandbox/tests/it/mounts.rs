//! Mount options as they show in the container's mount table.

use std::fs;

use serde_json::json;

use crate::sandbox::{Sandbox, under};

/// The line of `/mnt/x` in `/proc/self/mountinfo`.
#[track_caller]
fn line(mut sandbox: Sandbox, mount: serde_json::Value) -> String {
    sandbox.mount(mount);
    sandbox.run()
}

const SHOW: &str = "grep ' /mnt/x' /proc/self/mountinfo";

#[test]
fn flags_of_binds_and_new_filesystems() {
    let source = tempfile::tempdir().unwrap();
    for (options, wanted) in [
        ("bind", " rw,"),
        ("bind,ro", " ro,"),
        ("rbind,rro", " ro,"),
        ("bind,nosuid,nodev,noexec", "nosuid,nodev,noexec"),
        ("bind,noatime", "noatime"),
        ("bind,nodiratime,relatime", "nodiratime"),
        ("bind,nosymfollow", "nosymfollow"),
        ("bind,rnosuid", "nosuid"),
        ("bind,shared", "shared:"),
        ("bind,rslave,shared", "shared:"),
        ("bind,unbindable", "unbindable"),
    ] {
        let options: Vec<_> = options.split(',').collect();
        let text = line(
            Sandbox::new(SHOW),
            json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
                "options": options}),
        );
        assert!(text.contains(wanted), "{options:?}: {text}");
    }
    for (fstype, options, wanted) in [
        ("tmpfs", "size=1m,mode=700", "size=1024k,mode=700"),
        ("tmpfs", "ro,nr_inodes=9", " ro,"),
        ("proc", "nosuid,hidepid=2", "hidepid=invisible"),
        ("mqueue", "nodev", "- mqueue "),
        ("cgroup", "ro", " ro,"),
        ("cgroup", "ro,shared", " shared:"),
        ("cgroup", "rslave,rshared", " shared:"),
    ] {
        let options: Vec<_> = options.split(',').collect();
        let text = line(
            Sandbox::new(SHOW),
            json!({"destination": "/mnt/x", "type": fstype, "source": fstype,
                "options": options}),
        );
        assert!(text.contains(wanted), "{fstype} {options:?}: {text}");
    }
}

#[test]
fn options_that_a_bind_mount_cannot_have_are_refused() {
    let mut sandbox = Sandbox::new(SHOW);
    sandbox.mount(
        json!({"destination": "/mnt/x", "type": "bind", "source": "/tmp",
        "options": ["rbind", "nosiud"]}),
    );
    let (_, error) = sandbox.fails();
    assert!(error.contains("\"nosiud\""), "{error}");
}

#[test]
fn recursive_read_only_reaches_the_mounts_below() {
    let source = tempfile::tempdir().unwrap();
    let below = source.path().join("below");
    fs::create_dir(&below).unwrap();
    // Mounted in a namespace of the shell's own, which then runs the container.
    for (option, wanted) in [("ro", "yes"), ("rro", "no")] {
        let mut sandbox = Sandbox::new("touch /mnt/x/below/f 2>/dev/null && echo yes || echo no");
        sandbox.mount(
            json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
            "options": ["rbind", option]}),
        );
        let run = sandbox.command("run", &[]);
        let mut shell = std::process::Command::new("unshare");
        shell
            .args([
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs none \"$0\" && exec \"$@\"",
            ])
            .arg(&below);
        let output = under(&mut shell, &run);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            wanted,
            "{option}: {output:?}"
        );
    }
}

#[test]
fn a_bind_hears_of_the_hosts_mounts_in_a_user_namespace_too() {
    let source = tempfile::tempdir().unwrap();
    for mapped in [false, true] {
        let mut sandbox = Sandbox::new(SHOW);
        fs::create_dir(sandbox.rootfs().join("mnt/x")).unwrap();
        if mapped {
            sandbox.namespace(json!({"type": "user"}));
            let all = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            sandbox.spec["linux"]["uidMappings"] = all.clone();
            sandbox.spec["linux"]["gidMappings"] = all;
        }
        sandbox.mount(
            json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
            "options": ["rbind", "rslave"]}),
        );
        let run = sandbox.command("run", &[]);
        let mut shell = std::process::Command::new("unshare");
        let script = "mount -t tmpfs none \"$0\" && mount --make-shared \"$0\" && exec \"$@\"";
        shell.args(["-m", "sh", "-c", script]).arg(source.path());
        let output = under(&mut shell, &run);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(" master:"), "{mapped}: {output:?}");
    }
}

#[test]
fn a_mount_says_itself_how_it_spreads() {
    let source = tempfile::tempdir().unwrap();
    for (root, own, wanted) in [
        ("rshared", "rprivate", false),
        ("rshared", "rshared", true),
        ("rprivate", "shared", true),
        ("rslave", "shared", true),
    ] {
        let mut sandbox = Sandbox::new(SHOW);
        sandbox.spec["linux"]["rootfsPropagation"] = json!(root);
        let mount = json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
            "options": ["bind", own]});
        let text = line(sandbox, mount);
        assert_eq!(text.contains(" shared:"), wanted, "{root} {own}: {text}");
    }
}

#[test]
fn a_root_hears_of_the_hosts_mounts_in_a_user_namespace_too() {
    for mapped in [false, true] {
        let mut sandbox = Sandbox::new("");
        let show = "sed -n '/^[^ ]* [^ ]* [^ ]* [^ ]* \\/ /p' /proc/self/mountinfo";
        sandbox.spec["process"]["args"] = json!(["sh", "-c", show]);
        sandbox.spec["linux"]["rootfsPropagation"] = json!("rslave");
        if mapped {
            sandbox.namespace(json!({"type": "user"}));
            let all = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            sandbox.spec["linux"]["uidMappings"] = all.clone();
            sandbox.spec["linux"]["gidMappings"] = all;
        }
        let rootfs = sandbox.rootfs();
        let run = sandbox.command("run", &[]);
        let mut shell = std::process::Command::new("unshare");
        let script = "mount --bind \"$0\" \"$0\" && mount --make-shared \"$0\" && exec \"$@\"";
        shell.args(["-m", "sh", "-c", script]).arg(rootfs);
        let output = under(&mut shell, &run);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(" master:"), "{mapped}: {output:?}");
    }
}

#[test]
fn a_shared_root_hands_no_mount_to_the_host() {
    let source = tempfile::tempdir().unwrap();
    for (option, handed) in [("", false), ("private", false), ("rshared", true)] {
        let mut sandbox = Sandbox::new("echo ran");
        sandbox.spec["linux"]["rootfsPropagation"] = json!("rshared");
        let options: Vec<_> = ["rbind", option]
            .into_iter()
            .filter(|o| !o.is_empty())
            .collect();
        sandbox.mount(
            json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
            "options": options}),
        );
        sandbox.mount(json!({"destination": "/mnt/x/below", "type": "tmpfs", "source": "inner"}));
        let run = sandbox.command("run", &[]);
        let mut shell = std::process::Command::new("unshare");
        let script = "mount -t tmpfs none \"$0\" && mount --make-shared \"$0\" && \
            mkdir \"$0\"/below && \"$@\" && grep -c ' - tmpfs inner' /proc/self/mountinfo";
        shell.args(["-m", "sh", "-c", script]).arg(source.path());
        let output = under(&mut shell, &run);
        let text = String::from_utf8_lossy(&output.stdout);
        let wanted = if handed { "ran\n1\n" } else { "ran\n0\n" };
        assert_eq!(text, wanted, "{option}: {output:?}");
    }
}

#[test]
fn a_file_a_missing_target_and_a_remount() {
    let source = tempfile::NamedTempFile::new().unwrap();
    fs::write(source.path(), "hello").unwrap();
    let mut sandbox = Sandbox::new("cat /new/deep/file; touch /tmp2/x || echo read-only");
    sandbox.mount(json!({"destination": "/new/deep/file", "type": "bind",
        "source": source.path(), "options": ["bind", "ro"]}));
    sandbox.mount(json!({"destination": "/tmp2", "type": "tmpfs", "source": "tmpfs"}));
    sandbox.mount(json!({"destination": "/tmp2", "type": "tmpfs", "options": ["remount", "ro"]}));
    assert_eq!(sandbox.run(), "helloread-only\n");
}

#[test]
fn a_read_only_tmpfs_is_filled_before_it_is_sealed() {
    let script = "for d in dev run run/open; do touch /$d/x 2>/dev/null && echo $d; done; \
        echo y > /dev/null && test -d /dev/pts && echo devices";
    let mut sandbox = Sandbox::new(script);
    let dev = &mut sandbox.spec["mounts"][1];
    assert_eq!(dev["destination"], "/dev");
    dev["options"] = json!(["nosuid", "mode=755", "ro"]);
    sandbox.mount(
        json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs",
        "options": ["ro"]}),
    );
    sandbox.mount(json!({"destination": "/run/open", "type": "tmpfs", "source": "tmpfs"}));
    assert_eq!(sandbox.run(), "run/open\ndevices\n");
}

#[test]
fn a_tmpfs_begins_with_what_the_image_has() {
    let mut sandbox =
        Sandbox::new("ls -ln /etc/a/b; readlink /etc/a/l; cat /etc/a/b; touch /etc/n");
    let etc = sandbox.rootfs().join("etc");
    fs::create_dir(etc.join("a")).unwrap();
    fs::write(etc.join("a/b"), "text\n").unwrap();
    std::os::unix::fs::chown(etc.join("a/b"), Some(7), Some(8)).unwrap();
    std::os::unix::fs::symlink("/nowhere", etc.join("a/l")).unwrap();
    sandbox.mount(
        json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup"]}),
    );
    let text = sandbox.run();
    assert!(
        text.contains(" 7 ") && text.ends_with("/nowhere\ntext\n"),
        "{text}"
    );
    assert!(!etc.join("n").exists());
}

#[test]
fn idmapped_binds_show_other_owners() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "").unwrap();
    let mut sandbox = Sandbox::new("stat -c %u:%g /mnt/x/f");
    let maps = json!([{"containerID": 0, "hostID": 4000, "size": 10}]);
    sandbox.mount(
        json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
        "options": ["bind"], "uidMappings": maps, "gidMappings": maps}),
    );
    assert_eq!(sandbox.run().trim(), "4000:4000");
}

#[test]
fn root_masked_and_read_only_paths() {
    let mut sandbox = Sandbox::new(
        "touch /x 2>&1; cat /etc/secret; ls /etc/hidden; touch /etc/fixed/y 2>&1; \
         stat -c %t:%T /etc/secret; touch /tmp/fine && echo fine",
    );
    let etc = sandbox.rootfs().join("etc");
    for name in ["hidden", "hidden2", "fixed"] {
        fs::create_dir(etc.join(name)).unwrap();
        fs::write(etc.join(name).join("f"), "visible").unwrap();
    }
    fs::write(etc.join("secret"), "visible").unwrap();
    sandbox.spec["root"]["readonly"] = json!(true);
    sandbox.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    sandbox.spec["linux"]["maskedPaths"] = json!([
        "/etc/secret",
        "/etc/hidden",
        "/etc/hidden2",
        "/nonexistent",
        "/proc/keys"
    ]);
    sandbox.spec["linux"]["readonlyPaths"] = json!(["/etc/fixed", "/nonexistent"]);
    let text = sandbox.run();
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(!text.contains("visible"), "{text}");
    assert!(text.ends_with("1:3\nfine\n"), "{text}");
}

#[test]
fn devices_and_links() {
    let mut sandbox = Sandbox::new(
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done; \
         for l in fd stdin ptmx; do readlink /dev/$l; done; stat -c '%t:%T %u:%g %a %F' /dev/mine /dev/pipe",
    );
    sandbox.spec["linux"]["devices"] = json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640,
            "uid": 5, "gid": 6},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}
    ]);
    assert_eq!(
        sandbox.run(),
        "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n\
         /dev/urandom 1:9 666\n/dev/tty 5:0 666\n/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n\
         1:7 5:6 640 character special file\n0:0 0:0 600 fifo\n"
    );
}

#[test]
fn root_from_a_detached_mount_and_without_pivot() {
    for option in [true, false] {
        let sandbox = Sandbox::new("ls /; grep -c . /proc/self/mountinfo");
        let detached = format!("--rootfs-fd-of={}", sandbox.rootfs().display());
        let output = sandbox.call("run", &[if option { &detached } else { "--no-pivot" }]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("bin\ndev\netc\n"), "{output:?}");
        if option {
            assert!(text.ends_with("\n5\n"), "root and four mounts: {text}");
        }
    }
}

#[test]
fn without_pivot_but_with_hooks_the_containers_own_mounts_stay() {
    let mut sandbox = Sandbox::new("readlink /proc/self/exe; ls /sys | grep -c kernel");
    sandbox.spec["hooks"]["createContainer"] = json!([{"path": "/bin/true"}]);
    let output = sandbox.call("run", &["--no-pivot"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "/bin/busybox\n1\n", "{output:?}");
}

#[test]
fn a_relative_destination_begins_at_the_root() {
    let mut sandbox = Sandbox::new("echo made >/mnt/new/x; cat /mnt/new/x; stat -fc %T /mnt/new");
    sandbox.spec["process"]["cwd"] = json!("/tmp");
    sandbox.mount(json!({"destination": "mnt/./new", "type": "tmpfs", "source": "tmpfs"}));
    let output = sandbox.call("run", &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "made\ntmpfs\n");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("mnt/./new is relative"), "{error}");
    sandbox.spec["mounts"].as_array_mut().unwrap().pop();
    sandbox.mount(json!({"destination": "proc/sys", "type": "tmpfs", "source": "tmpfs"}));
    assert!(sandbox.fails().1.contains("inside /proc"));
}
