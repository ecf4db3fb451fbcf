//! What a container finds: devices that are listed or made for it, mounts that build on each other,
//! paths that are hidden more than once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::exec::{exec, process};
use crate::sandbox::{Sandbox, under};

/// A user namespace in which the container's root is an ordinary user of the host.
fn mapped(sandbox: &mut Sandbox) {
    sandbox.namespace(json!({"type": "user"}));
    let all = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    sandbox.spec["linux"]["uidMappings"] = all.clone();
    sandbox.spec["linux"]["gidMappings"] = all;
}

/// As engines list the whole `/dev` of the host: what the runtime makes itself is its own, what a
/// mount brings stays, and the rest has the modes and owners that are listed.
#[test]
fn devices_of_the_runtime_may_be_listed() {
    let mut sandbox = Sandbox::new(
        "readlink /dev/ptmx; stat -c '%n %t:%T %a %u:%g' /dev/null /dev/tty /dev/console /dev/zero; \
         stat -c '%n %F' /dev/pts /dev/shm; readlink /dev/fd; ls /dev/stdin",
    );
    sandbox.mount(json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm"}));
    let device = |path: &str, major: u32, minor: u32| json!({"path": path, "type": "c", "major": major, "minor": minor});
    let mut nulls = device("/dev/null", 1, 3);
    (nulls["fileMode"], nulls["uid"], nulls["gid"]) = (json!(0o640), json!(3), json!(4));
    let mut tty = device("/dev/./tty", 5, 0);
    (tty["fileMode"], tty["gid"]) = (json!(0o620), json!(5));
    sandbox.spec["linux"]["devices"] = json!([
        device("/dev/ptmx", 5, 2),
        device("/dev/../dev/ptmx", 5, 2),
        device("/dev/pts", 5, 2),
        device("/dev/shm", 5, 2),
        device("/dev/console", 5, 1),
        nulls,
        tty,
    ]);
    assert_eq!(
        sandbox.run(),
        "pts/ptmx\n/dev/null 1:3 640 3:4\n/dev/tty 5:0 620 0:5\n/dev/console 5:1 666 0:0\n\
         /dev/zero 1:5 666 0:0\n/dev/pts directory\n/dev/shm directory\n/proc/self/fd\n/dev/stdin\n"
    );
}

/// What an image has at the place of a device must be it, but for what is the runtime's own.
#[test]
fn a_device_is_not_taken_for_another() {
    let mut sandbox = Sandbox::new("true");
    sandbox.spec["linux"]["devices"] =
        json!([{"path": "/etc/node", "type": "c", "major": 1, "minor": 5}]);
    fs::write(sandbox.rootfs().join("etc/node"), "x").unwrap();
    let (_, error) = sandbox.fails();
    assert!(error.contains("something else"), "{error}");
}

const SHOW: &str = "stat -c '%n %t:%T %a %u:%g' /dev/foo /dev/null /dev/deep/er/fifo /dev/strange; \
    dd if=/dev/foo bs=3 count=1 2>/dev/null | od -An -tx1; echo x >/dev/null && echo written";

fn with_devices(host: &str) -> Sandbox {
    let mut sandbox = Sandbox::new(SHOW);
    mapped(&mut sandbox);
    sandbox.spec["linux"]["devices"] = json!([
        {"path": "/dev/foo", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "gid": 7},
        {"path": "/dev/deep/er/fifo", "type": "p", "fileMode": 0o600},
        {"path": host, "type": "c", "major": 1, "minor": 7, "uid": 70000},
    ]);
    sandbox
}

#[test]
fn devices_of_a_user_namespace_are_found_by_number() {
    let text = with_devices("/dev/strange").run();
    assert_eq!(
        text,
        "/dev/foo 1:5 640 0:7\n/dev/null 1:3 666 0:0\n/dev/deep/er/fifo 0:0 600 0:0\n\
         /dev/strange 1:7 666 65534:0\n 00 00 00\nwritten\n"
    );
}

/// What maps a namespace that others made is not known: devices are as the host has them.
#[test]
fn devices_of_a_joined_user_namespace() {
    let mut first = Sandbox::new("sleep 1000");
    mapped(&mut first);
    first.create();
    let mut sandbox = with_devices("/dev/strange");
    let path = format!("/proc/{}/ns/user", first.state()["pid"]);
    sandbox.namespace(json!({"type": "user", "path": path}));
    for maps in ["uidMappings", "gidMappings"] {
        sandbox.spec["linux"][maps] = Value::Null;
    }
    let text = sandbox.run();
    first.ok("delete", &["--force"]);
    assert!(text.starts_with("/dev/foo 1:5 666 65534:65534\n"), "{text}");
    assert!(text.ends_with(" 00 00 00\nwritten\n"), "{text}");
}

/// Root of a user namespace gets no more of a disk than the host's node gives it, however it is
/// listed: neither by its mode nor by its owner.
#[test]
fn a_user_namespace_keeps_its_root_from_what_is_not_everybodys() {
    // The console, which only root of the host may open.
    for path in ["/dev/console", "/dev/other"] {
        let mut sandbox = Sandbox::new(
            "stat -c '%a %u:%g' $0; chmod 666 $0 2>&1; chown 0 $0 2>&1; cat $0 2>&1; true",
        );
        mapped(&mut sandbox);
        let caps = json!([
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_SYS_ADMIN"
        ]);
        for set in ["bounding", "effective", "permitted"] {
            sandbox.spec["process"]["capabilities"][set] = caps.clone();
        }
        let args = sandbox.spec["process"]["args"].as_array_mut().unwrap();
        args.push(json!(path));
        sandbox.spec["linux"]["devices"] = json!([{"path": path, "type": "c", "major": 5,
            "minor": 1, "fileMode": 0o666, "uid": 0, "gid": 0}]);
        let output = sandbox.call("run", &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("65534:65534\n"), "{output:?}");
        assert!(text.contains("Permission denied"), "{output:?}");
        assert_eq!(text.matches("not permitted").count(), 2, "{output:?}");
    }
}

/// Where not even the runtime may make devices, the host's of the same number are shown.
#[test]
fn without_the_privilege_devices_are_the_hosts() {
    for (path, found) in [("/dev/strange", true), ("/dev/none", false)] {
        let mut sandbox = with_devices(path);
        let devices = &mut sandbox.spec["linux"]["devices"];
        devices[0]["fileMode"] = json!(0o666);
        if !found {
            devices[2]["major"] = json!(511);
        }
        let mut without = std::process::Command::new("setpriv");
        without.args(["--bounding-set=-mknod", "--inh-caps=-mknod"]);
        let output = under(&mut without, &sandbox.command("run", &[]));
        let text = String::from_utf8_lossy(&output.stdout);
        if found {
            assert!(
                text.starts_with("/dev/foo 1:5 666 65534:65534\n"),
                "{output:?}"
            );
            assert!(text.ends_with(" 00 00 00\nwritten\n"), "{output:?}");
        } else {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains("none with its number"), "{error}");
        }
    }
}

#[test]
fn a_source_in_the_containers_tree_is_what_earlier_mounts_made_of_it() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "content\n").unwrap();
    let outside = tempfile::tempdir().unwrap();
    let link = outside.path().join("link");
    for userns in [false, true] {
        let mut sandbox = Sandbox::new(
            "cat /final/f /linked/f /deep/f; ls /image /own; touch /final/x 2>&1; touch /mnt/y",
        );
        if userns {
            mapped(&mut sandbox);
            fs::set_permissions(sandbox.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(source.path(), fs::Permissions::from_mode(0o777)).unwrap();
            for name in ["final", "linked", "deep", "image", "own"] {
                fs::create_dir(sandbox.rootfs().join(name)).unwrap();
            }
        }
        let root = sandbox.rootfs();
        fs::create_dir(root.join("tmp/inner")).unwrap();
        // On the host it would lead out.
        std::os::unix::fs::symlink("/etc", root.join("tmp/etc")).unwrap();
        fs::write(root.join("etc/mine"), "").unwrap();
        drop(fs::remove_file(&link));
        std::os::unix::fs::symlink(root.join("mnt"), &link).unwrap();
        let mut bind = |destination: &str, from: &Path, option: &str| {
            sandbox.mount(
                json!({"destination": destination, "type": "bind", "source": from,
                "options": [option, "rw"]}),
            );
        };
        bind("/mnt", source.path(), "bind");
        bind("/final", &root.join("mnt"), "rbind");
        bind("/linked", &link, "bind");
        bind("/deep", Path::new("rootfs/tmp/../mnt/."), "bind");
        bind("/image", &root.join("tmp"), "bind");
        bind("/own", &root.join("tmp/etc"), "bind");
        sandbox.spec["mounts"][5]["options"] = json!(["rbind", "ro"]);
        let text = sandbox.run();
        let wanted = "content\ncontent\ncontent\n/image:\netc\ninner\n\n/own:\nmine\n\
            touch: /final/x: Read-only file system\n";
        assert_eq!(text, wanted, "{userns}");
        assert!(source.path().join("y").exists());
        fs::remove_file(source.path().join("y")).unwrap();
    }
}

#[test]
fn a_source_that_is_not_there_when_its_turn_comes() {
    let mut sandbox = Sandbox::new("true");
    fs::create_dir(sandbox.rootfs().join("mnt/hidden")).unwrap();
    let hidden = sandbox.rootfs().join("mnt/hidden");
    sandbox.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}));
    sandbox.mount(
        json!({"destination": "/x", "type": "bind", "source": hidden,
        "options": ["bind"]}),
    );
    let (_, error) = sandbox.fails();
    assert!(
        error.contains("bind source") && error.contains("no such file"),
        "{error}"
    );
}

/// A tmpfs where nothing was is everybody's, now and when the place is found by a next start; where
/// something was it has that mode.
#[test]
fn a_tmpfs_takes_over_a_mode_only_from_what_was_there() {
    let mut sandbox = Sandbox::new(
        "touch /newdir/f /deep/newdir/f && stat -c '%a' /newdir /deep /deep/newdir /old /given",
    );
    sandbox.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let old = sandbox.rootfs().join("old");
    fs::create_dir(&old).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o2750)).unwrap();
    for place in ["/newdir", "/deep/newdir", "/old"] {
        sandbox.mount(
            json!({"destination": place, "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev"]}),
        );
    }
    sandbox.mount(
        json!({"destination": "/given", "type": "tmpfs", "source": "tmpfs",
        "options": ["mode=700"]}),
    );
    for _ in 0..2 {
        assert_eq!(sandbox.run(), "1777\n755\n1777\n2750\n700\n");
    }
    assert_eq!(
        fs::metadata(sandbox.rootfs().join("given")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn a_path_that_is_hidden_twice_is_covered_once() {
    let mut sandbox = Sandbox::new(
        "for p in /proc/keys /etc/secret /etc/hidden /etc/fixed /dev/null; do \
         grep -c \" $p \" /proc/self/mountinfo; done; cat /etc/secret; ls /etc/hidden",
    );
    let etc = sandbox.rootfs().join("etc");
    for name in ["hidden", "fixed"] {
        fs::create_dir(etc.join(name)).unwrap();
        fs::write(etc.join(name).join("f"), "visible").unwrap();
    }
    fs::write(etc.join("secret"), "visible").unwrap();
    std::os::unix::fs::symlink("secret", etc.join("link")).unwrap();
    sandbox.spec["linux"]["maskedPaths"] = json!([
        "/proc/keys",
        "/proc/keys",
        "/proc//keys",
        "/etc/secret",
        "/etc/link",
        "/etc/hidden",
        "/etc/./hidden",
        "/etc/hidden/",
        "/dev/null"
    ]);
    sandbox.spec["linux"]["readonlyPaths"] = json!(["/etc/fixed", "/etc/fixed/", "/etc//fixed"]);
    assert_eq!(sandbox.run(), "1\n1\n1\n1\n0\n");
}

/// Without a null device of the container's own, a file is hidden all the same.
#[test]
fn files_are_hidden_without_a_null_device() {
    let empty = tempfile::tempdir().unwrap();
    let mut sandbox =
        Sandbox::new("cat /etc/secret; stat -c '%F %s' /etc/secret; : 2>&1 >/etc/secret");
    fs::write(sandbox.rootfs().join("etc/secret"), "visible").unwrap();
    sandbox.spec["mounts"] = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "bind", "source": empty.path(), "options": ["bind"]}
    ]);
    sandbox.spec["linux"]["maskedPaths"] = json!(["/etc/secret", "/etc/secret"]);
    let output = sandbox.call("run", &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("regular empty file 0\n"), "{output:?}");
    assert!(text.contains("Read-only file system"), "{output:?}");
}

/// Each recursive option and its opposite, as they show on the mount and on one below it.
#[test]
fn recursive_options_reach_the_mounts_below() {
    let source = tempfile::tempdir().unwrap();
    let below = source.path().join("below");
    fs::create_dir(&below).unwrap();
    // What lies below begins with every flag, or with none.
    let all = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    for (before, options, wanted) in [
        ("relatime", "rro", "ro,relatime"),
        ("relatime", "rnosuid", "rw,nosuid,relatime"),
        ("relatime", "rnodev", "rw,nodev,relatime"),
        ("relatime", "rnoexec", "rw,noexec,relatime"),
        ("relatime", "rnoatime", "rw,noatime"),
        ("relatime", "rstrictatime", "rw"),
        ("relatime", "rnodiratime", "rw,nodiratime,relatime"),
        ("relatime", "rnosymfollow", "rw,relatime,nosymfollow"),
        ("relatime", "rnorelatime", "rw,relatime"),
        ("relatime", "rnostrictatime", "rw,relatime"),
        ("noatime", "rrelatime", "rw,relatime"),
        ("noatime", "ratime", "rw,relatime"),
        ("noatime", "rnorelatime", "rw,noatime"),
        ("strictatime", "rnorelatime", "rw"),
        ("strictatime", "rnostrictatime", "rw,relatime"),
        (
            all,
            "rrw",
            "rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow",
        ),
        (
            all,
            "rsuid,rdev",
            "ro,noexec,noatime,nodiratime,nosymfollow",
        ),
        (
            all,
            "rexec,rsymfollow",
            "ro,nosuid,nodev,noatime,nodiratime",
        ),
        (
            all,
            "rdiratime,ratime",
            "ro,nosuid,nodev,noexec,relatime,nosymfollow",
        ),
        (
            all,
            "rro,rrw,rnoexec,rexec",
            "rw,nosuid,nodev,noatime,nodiratime,nosymfollow",
        ),
    ] {
        let mut sandbox = Sandbox::new("grep ' /mnt/x/below ' /proc/self/mountinfo");
        let options: Vec<_> = ["rbind"].into_iter().chain(options.split(',')).collect();
        sandbox.mount(
            json!({"destination": "/mnt/x", "type": "bind", "source": source.path(),
            "options": options}),
        );
        let run = sandbox.command("run", &[]);
        let mut shell = std::process::Command::new("unshare");
        let script = "mount -t tmpfs -o \"$1\" none \"$0\" && shift && exec \"$@\"";
        shell
            .args(["-m", "sh", "-c", script])
            .arg(&below)
            .arg(before);
        let output = under(&mut shell, &run);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut shown: Vec<_> = text
            .split(' ')
            .nth(5)
            .unwrap_or_default()
            .split(',')
            .collect();
        let mut wanted: Vec<_> = wanted.split(',').collect();
        shown.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(shown, wanted, "{before} {options:?}: {output:?}");
    }
}

/// A standard stream that is the host's null device is the container's own inside.
#[test]
fn the_null_device_of_the_streams_is_the_containers() {
    let sandbox = Sandbox::new(
        "for n in 0 2; do stat -L -c %d:%i /proc/self/fd/$n; done; stat -c %d:%i /dev/null",
    );
    let mut run = sandbox.command("run", &[]);
    let output = run.stderr(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines.len() == 3 && lines[0] == lines[2] && lines[1] == lines[2],
        "{text}"
    );
    // Its `/dev/null` is something else now: nothing of the host's is shown, nothing of its taken.
    let first = Sandbox::new("sleep 1000");
    first.create();
    first.ok("start", &[]);
    let script = "rm /dev/null; echo hello >/dev/null";
    assert!(exec(&first, &process(&first, script)).status.success());
    let output = exec(
        &first,
        &process(&first, "cat; stat -L -c %F /proc/self/fd/0"),
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "character special file\n",
        "{output:?}"
    );
    first.ok("delete", &["--force"]);
}
