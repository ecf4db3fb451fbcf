//! What the program finds itself to be: `/proc/1/status` and friends.

use serde_json::json;

use crate::sandbox::Sandbox;

const STATUS: &str = "egrep '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|\
    Seccomp|SigBlk):' /proc/self/status | tr '\\t' ' ' | sed 's/ *$//'; umask; pwd";

#[test]
fn root_with_a_few_capabilities() {
    let mut sandbox = Sandbox::new(STATUS);
    let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
    sandbox.spec["process"]["capabilities"] =
        json!({"bounding": caps, "effective": ["CAP_CHOWN"], "permitted": caps});
    sandbox.spec["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 0o27,
        "additionalGids": [5, 7]});
    sandbox.spec["process"]["cwd"] = json!("/tmp");
    assert_eq!(
        sandbox.run(),
        "Uid: 0 0 0 0\nGid: 0 0 0 0\nGroups: 5 7\nSigBlk: 0000000000000000\n\
         CapInh: 0000000000000000\nCapPrm: 0000000000000021\n\
         CapEff: 0000000000000021\nCapBnd: 0000000000000021\nCapAmb: 0000000000000000\n\
         NoNewPrivs: 1\nSeccomp: 0\n0027\n/tmp\n"
    );
}

#[test]
fn a_user_with_ambient_capabilities_and_a_filter() {
    let mut sandbox = Sandbox::new(STATUS);
    let caps = json!(["CAP_KILL"]);
    sandbox.spec["process"]["capabilities"] = json!({"bounding": caps, "effective": caps,
        "permitted": caps, "inheritable": caps, "ambient": caps});
    sandbox.spec["process"]["user"] = json!({"uid": 1000, "gid": 1001});
    // Without no_new_privs the filter needs a privilege the process does not keep.
    sandbox.spec["process"]["noNewPrivileges"] = json!(false);
    sandbox.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
    assert_eq!(
        sandbox.run(),
        "Uid: 1000 1000 1000 1000\nGid: 1001 1001 1001 1001\nGroups:\nSigBlk: 0000000000000000\n\
         CapInh: 0000000000000020\nCapPrm: 0000000000000020\n\
         CapEff: 0000000000000020\nCapBnd: 0000000000000020\nCapAmb: 0000000000000020\n\
         NoNewPrivs: 0\nSeccomp: 2\n0022\n/\n"
    );
}

#[test]
fn dispositions_are_the_defaults_whatever_the_caller_ignores() {
    let ignored = "cat /proc/self/status | grep -E '^Sig(Ign|Blk):'";
    let mut sandbox = Sandbox::new(ignored);
    let hook = sandbox.dir.path().join("hook");
    let script = format!("{ignored} >{}", hook.display());
    sandbox.spec["hooks"] = json!({"poststop": [{"path": "/bin/busybox",
        "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
    let none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    // What nohup, a shell's `&`, Rust itself, and a parent that ignores its children hand on.
    let wrapper = "trap '' HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD TSTP TTIN XFSZ; exec \"$@\"";
    let under = |inner: std::process::Command| {
        let mut outer = std::process::Command::new("sh");
        outer
            .arg("-c")
            .arg(wrapper)
            .arg("sh")
            .arg(inner.get_program());
        outer.args(inner.get_args()).current_dir(sandbox.dir.path());
        let output = outer.stdin(std::process::Stdio::null()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(under(sandbox.command("run", &[])), none);
    assert_eq!(std::fs::read_to_string(&hook).unwrap(), none);
}

#[test]
fn no_capabilities_when_none_are_listed() {
    let mut sandbox = Sandbox::new("grep CapBnd /proc/self/status");
    sandbox.spec["process"]["capabilities"] = json!(null);
    assert_eq!(sandbox.run(), "CapBnd:\t0000000000000000\n");
}

#[test]
fn limits_priorities_and_personality() {
    let mut sandbox = Sandbox::new(
        "ulimit -n; ulimit -Hn; ulimit -c; cut -d' ' -f19 /proc/self/stat; \
         cat /proc/self/oom_score_adj; uname -m",
    );
    sandbox.spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    ]);
    sandbox.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    sandbox.spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    sandbox.spec["process"]["oomScoreAdj"] = json!(500);
    sandbox.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    assert_eq!(sandbox.run(), "64\n128\n0\n7\n500\ni686\n");
}

#[test]
fn a_limit_that_cannot_be_raised_is_clamped_with_a_warning() {
    let mut sandbox = Sandbox::new("ulimit -Hn");
    sandbox.spec["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 1_000_000_000}]);
    let output = sandbox.call("run", &[]);
    // Above fs.nr_open not even a privileged process can go, so either way it is refused or clamped.
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("clamped") || error.contains("rlimit"),
        "{error}"
    );
}

#[test]
fn labels_that_cannot_be_applied_are_errors() {
    for (key, value) in [("apparmorProfile", "some"), ("selinuxLabel", "a:b:c:d")] {
        let mut sandbox = Sandbox::new("true");
        sandbox.spec["process"][key] = json!(value);
        let present = std::path::Path::new("/sys/module/apparmor").exists()
            || std::path::Path::new("/sys/fs/selinux").exists();
        if !present {
            assert!(sandbox.fails().1.contains("not enabled"));
        }
    }
}

#[test]
fn a_terminal_has_its_size_and_is_the_console() {
    let mut sandbox =
        Sandbox::new("stty size; tty; stat -c %t:%T /dev/console; test -t 1 && echo tty");
    sandbox.spec["process"]["terminal"] = json!(true);
    sandbox.spec["process"]["consoleSize"] = json!({"height": 33, "width": 101});
    let text = sandbox.run();
    let lines: Vec<_> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
    assert_eq!(lines[0], "33 101");
    assert!(
        lines[1].starts_with("/dev/pts/") || lines[1] == "/dev/console",
        "{text}"
    );
    assert_eq!(&lines[2..], ["88:0", "tty"]);
}

#[test]
fn the_console_socket_gets_the_master() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut sandbox = Sandbox::new("echo over the wire");
    sandbox.spec["process"]["terminal"] = json!(true);
    let path = sandbox.dir.path().join("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let option = format!("--console-socket={}", path.display());
    let mut child = sandbox.command("run", &[&option]).spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    recvmsg(&stream, &mut parts, &mut control, RecvFlags::empty()).unwrap();
    let Some(RecvAncillaryMessage::ScmRights(mut fds)) = control.drain().next() else {
        panic!()
    };
    let mut master = std::fs::File::from(fds.next().unwrap());
    let mut text = [0; 64];
    let length = std::io::Read::read(&mut master, &mut text).unwrap();
    assert!(String::from_utf8_lossy(&text[..length]).starts_with("over the wire"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_standard_streams_are_the_users() {
    use std::os::unix::fs::MetadataExt;
    let mut sandbox = Sandbox::new("echo out > /dev/stdout; echo err > /dev/stderr");
    sandbox.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    // A node of this test's own: the host's is everybody's.
    let null = sandbox.dir.path().join("null");
    let device = rustix::fs::makedev(1, 3);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &null, kind, mode, device).unwrap();
    let mut command = sandbox.command("run", &[]);
    let output = command.stdin(std::fs::File::open(&null).unwrap()).output();
    let output = output.unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..]),
        "{output:?}"
    );
    let stat = std::fs::metadata(&null).unwrap();
    assert_eq!((stat.uid(), stat.mode() & 0o777), (0, 0o600));
}

#[test]
fn the_null_device_of_the_caller_is_not_the_programs() {
    use std::os::unix::fs::MetadataExt;
    let script = "for fd in 0 1 2; do chmod 646 /proc/self/fd/$fd; chown 1:2 /proc/self/fd/$fd; \
        touch -d 2001-01-01 /proc/self/fd/$fd; done; \
        stat -Lc '%t:%T %a' /proc/self/fd/0 >/seen; exit 3";
    let mut sandbox = Sandbox::new(script);
    sandbox.spec["root"]["readonly"] = json!(false);
    let null = sandbox.dir.path().join("null");
    let device = rustix::fs::makedev(1, 3);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &null, kind, mode, device).unwrap();
    let facts = || {
        let stat = std::fs::metadata(&null).unwrap();
        (
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.ctime(),
        )
    };
    let before = facts();
    let open = || {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(&null)
            .unwrap()
    };
    let mut command = sandbox.command("run", &[]);
    let status = command
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(facts(), before);
    let seen = std::fs::read_to_string(sandbox.rootfs().join("seen")).unwrap();
    assert_eq!(seen, "1:3 646\n");
}

#[test]
fn a_home_that_is_not_given_is_the_accounts() {
    let mut sandbox = Sandbox::new("echo $HOME");
    let passwd = sandbox.rootfs().join("etc/passwd");
    std::fs::write(&passwd, "one:x:1000:1000::/home/one:/bin/sh\n").unwrap();
    sandbox.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    assert_eq!(sandbox.run(), "/home/one\n");
    sandbox.spec["process"]["user"]["uid"] = json!(1001);
    assert_eq!(sandbox.run(), "/\n");
    // An image whose accounts nobody can read to the end.
    std::fs::remove_file(&passwd).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &passwd,
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    assert_eq!(sandbox.run(), "/\n");
}

#[test]
fn a_working_directory_that_is_missing_is_made() {
    let mut sandbox = Sandbox::new("pwd; touch x 2>/dev/null || echo read-only");
    sandbox.spec["root"]["readonly"] = json!(true);
    sandbox.spec["process"]["cwd"] = json!("/srv/deep/er");
    assert_eq!(sandbox.run(), "/srv/deep/er\nread-only\n");
    // Through a link of the image's it is made inside as well.
    let outside = tempfile::tempdir().unwrap();
    let link = sandbox.rootfs().join("out");
    std::os::unix::fs::symlink(outside.path().join("x"), link).unwrap();
    sandbox.spec["process"]["cwd"] = json!("/out");
    sandbox.run();
    assert!(!outside.path().join("x").exists());
}

#[test]
fn without_a_keyring_of_its_own_it_starts_all_the_same() {
    // What the default profile of a Docker around us does.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}]});
    let profile = serde_json::from_value(profile).unwrap();
    let filter = cove_sandbox::seccomp::compile(&profile).unwrap();
    let sandbox = Sandbox::new("echo ran");
    let run = std::thread::spawn(move || {
        filter.install().unwrap();
        sandbox.call("run", &[])
    });
    let output = run.join().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.stdout, b"ran\n", "{error}");
    assert!(error.contains("keyring is not permitted here"), "{error}");
}
