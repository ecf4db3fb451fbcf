//! Known ways out of a container, by class of facts/reliability: a hostile image or neighbour
//! changes nothing outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::sandbox::{Sandbox, rt, under};

/// Class 1, CVE-2019-5736: the runtime's own executable cannot be written from inside.
#[test]
fn the_runtime_cannot_be_overwritten() {
    let before = fs::read(rt()).unwrap();
    let mut sandbox = Sandbox::new("true");
    // A program that is the runtime itself, by way of the process that executes it.
    sandbox.spec["process"]["args"] = json!(["/proc/self/exe", "list", "--root=/none"]);
    let output = sandbox.call("run", &[]);
    assert!(output.status.success(), "{output:?}");
    let mut sandbox = Sandbox::new("sleep 1000");
    sandbox.namespace(json!({"type": "pid", "path": "/proc/self/ns/pid"}));
    let list = sandbox.spec["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != "pid");
    sandbox.create();
    // The waiting init shows the sealed image of the runtime: neither root nor anybody writes it.
    let pid = sandbox.state()["pid"].as_i64().unwrap();
    let exe = format!("/proc/{pid}/exe");
    let error = fs::OpenOptions::new().write(true).open(&exe).unwrap_err();
    assert!(matches!(
        error.raw_os_error(),
        Some(libc::EROFS | libc::EPERM | libc::ETXTBSY)
    ));
    sandbox.ok("delete", &["--force"]);
    assert!(before == fs::read(rt()).unwrap());
}

/// What the waiting init shows of the runtime is sealed, whether the runtime could do that in
/// place or, where the kernel does not let it, had to execute itself again.
#[test]
fn the_runtime_is_sealed_in_place_or_by_executing_itself_again() {
    for (fault, executions) in [("", 1), (":error=EPERM:when=1", 2)] {
        let sandbox = Sandbox::new("true");
        sandbox.write();
        let trace = sandbox.dir.path().join("trace");
        // The first prctl is what names another executable.
        let mut strace = std::process::Command::new("strace");
        strace.args(["-qqq", "-s", "0", "-e", "trace=execve,execveat,prctl", "-o"]);
        strace.arg(&trace);
        strace.arg(format!("--inject=prctl:delay_enter=1{fault}"));
        // No pipe of ours is held by the container that waits.
        strace.arg("--").stdout(std::process::Stdio::null());
        strace.stderr(std::process::Stdio::null());
        let output = under(&mut strace, &sandbox.command("create", &[]));
        assert!(output.status.success(), "{output:?}");
        let trace = fs::read_to_string(&trace).unwrap();
        let executed = trace.lines().filter(|line| line.starts_with("execve"));
        assert_eq!(executed.count(), executions, "{trace}");
        let pid = sandbox.state()["pid"].as_i64().unwrap();
        let exe = rustix::fs::statvfs(format!("/proc/{pid}/exe").as_str()).unwrap();
        assert!(exe.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        sandbox.ok("start", &[]);
        sandbox.wait_for("stopped");
        sandbox.ok("delete", &[]);
    }
}

/// Class 2, CVE-2024-21626 and CVE-2016-9962: leaked descriptors and working directories.
#[test]
fn leaked_descriptors_are_gone() {
    let sandbox = Sandbox::new("ls /proc/self/fd | wc -l");
    let run = sandbox.command("run", &[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 7</ 9</etc/passwd; exec \"$@\"", "sh"]);
    let output = under(&mut shell, &run);
    // Three streams and the directory that is being listed.
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "4",
        "{output:?}"
    );
    for fd in 3..40 {
        let mut sandbox = Sandbox::new("pwd; ls");
        sandbox.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        let run = sandbox.command("run", &[]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "exec 7</ 9</etc; exec \"$@\"", "sh"]);
        let output = under(&mut shell, &run);
        assert!(!output.status.success(), "fd {fd}: {output:?}");
        sandbox.assert_gone();
    }
}

#[test]
fn chosen_descriptors_are_handed_on() {
    let sandbox = Sandbox::new("cat <&3; ls /proc/self/fd | wc -l");
    let run = sandbox.command("run", &["--preserve-fds=1"]);
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "exec 3<\"$0\" 7</; exec \"$@\""])
        .arg(sandbox.dir.path().join("config.json"));
    let output = under(&mut shell, &run);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("ociVersion") && text.ends_with("5\n"),
        "{output:?}"
    );
}

/// Class 3: what an image calls `/proc`, `/sys`, `/dev`, `/dev/null` or `/dev/pts/ptmx`.
#[test]
fn special_directories_that_are_links_are_refused() {
    for name in ["proc", "sys", "dev"] {
        let sandbox = Sandbox::new("true");
        let path = sandbox.rootfs().join(name);
        fs::remove_dir(&path).unwrap();
        symlink("tmp", &path).unwrap();
        let (_, error) = sandbox.fails();
        assert!(error.contains("symbolic link"), "{name}: {error}");
        assert_eq!(
            fs::read_dir(sandbox.rootfs().join("tmp")).unwrap().count(),
            0
        );
    }
    // Without a mount of its own, devices would be made through the link.
    let mut sandbox = Sandbox::new("true");
    sandbox.spec["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir(sandbox.rootfs().join("dev")).unwrap();
    symlink(outside.path(), sandbox.rootfs().join("dev")).unwrap();
    assert!(sandbox.fails().1.contains("symbolic link"));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_false_null_device_hides_nothing_and_shows_nothing() {
    let mut sandbox = Sandbox::new("stat -c %t:%T /etc/secret");
    sandbox.spec["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    fs::write(sandbox.rootfs().join("etc/secret"), "x").unwrap();
    symlink(
        "/proc/sys/kernel/core_pattern",
        sandbox.rootfs().join("dev/null"),
    )
    .unwrap();
    sandbox.spec["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    let (_, error) = sandbox.fails();
    assert!(error.contains("something else"), "{error}");
}

#[test]
fn a_false_terminal_multiplexer_is_refused() {
    let mut sandbox = Sandbox::new("true");
    let mounts = sandbox.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/pts");
    sandbox.mount(
        json!({"destination": "/dev/pts", "type": "bind", "source": "/dev",
        "options": ["bind", "ro"]}),
    );
    sandbox.spec["process"]["terminal"] = json!(true);
    let (_, error) = sandbox.fails();
    assert!(
        error.contains("multiplexer") || error.contains("terminal"),
        "{error}"
    );
}

#[test]
fn nothing_is_mounted_over_parts_of_proc() {
    for dest in ["/proc/self/attr", "/proc/sys", "/tmp/../proc/1"] {
        let mut sandbox = Sandbox::new("true");
        sandbox.mount(json!({"destination": dest, "type": "tmpfs", "source": "tmpfs"}));
        assert!(sandbox.fails().1.contains("inside /proc"));
    }
    let mut sandbox = Sandbox::new("true");
    sandbox.mount(
        json!({"destination": "/proc", "type": "bind", "source": "/tmp",
        "options": ["bind"]}),
    );
    assert!(sandbox.fails().1.contains("procfs"));
}

/// CVE-2019-19921 and CVE-2023-27561: a link of the image leads a volume over parts of procfs, where
/// it would hide what is protected. What lies in `/proc` by the plan stays possible.
#[test]
fn no_link_leads_a_mount_into_proc() {
    let volume = tempfile::tempdir().unwrap();
    for (link, destination) in [
        ("/proc/sys", "/data"),
        ("../proc/self/attr", "/data"),
        ("/proc", "/data/self/attr"),
        ("/proc", "/data"),
    ] {
        let mut sandbox = Sandbox::new("true");
        symlink(link, sandbox.rootfs().join("data")).unwrap();
        sandbox.mount(json!({"destination": destination, "type": "bind",
            "source": volume.path(), "options": ["bind"]}));
        let (_, error) = sandbox.fails();
        assert!(error.contains("procfs"), "{link} {destination}: {error}");
    }
    let mut sandbox = Sandbox::new("cat /proc/uptime");
    let file = volume.path().join("uptime");
    fs::write(&file, "mine").unwrap();
    sandbox.mount(
        json!({"destination": "/proc/uptime", "type": "bind", "source": file,
        "options": ["bind"]}),
    );
    assert_eq!(sandbox.run(), "mine");
}

/// CVE-2025-52565 and CVE-2025-52881: what the image has for the console, or for its devices, leads
/// to a file of the kernel, or out.
#[test]
fn false_consoles_and_devices_lead_nowhere() {
    let pattern = "/proc/sys/kernel/core_pattern";
    let before = fs::read_to_string(pattern).unwrap();
    let outside = tempfile::tempdir().unwrap();
    for (name, target) in [
        ("console", pattern),
        ("console", "../../../../../../outside"),
        ("pts", "/proc/self/fd"),
        ("tty", pattern),
        ("full", "null"),
        ("deep", "/proc/sys/kernel"),
    ] {
        let mut sandbox = Sandbox::new("true");
        let dev = sandbox.rootfs().join("dev");
        let target = target.replace("outside", outside.path().to_str().unwrap());
        symlink(target, dev.join(name)).unwrap();
        // The image's own directory, without a mount over it.
        let mounts = sandbox.spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/dev");
        sandbox.spec["process"]["terminal"] = json!(name != "deep");
        sandbox.spec["linux"]["devices"] =
            json!([{"path": "/dev/deep/core_pattern", "type": "c", "major": 1, "minor": 3}]);
        sandbox.spec["linux"]["maskedPaths"] = json!(["/etc"]);
        let (_, error) = sandbox.fails();
        let words = ["symbolic link", "procfs", "something else", "/dev/deep"];
        assert!(
            words.iter().any(|word| error.contains(word)),
            "{name}: {error}"
        );
        assert_eq!(fs::read_to_string(pattern).unwrap(), before, "{name}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

/// CVE-2025-31133 with a race: a neighbour that shares the root exchanges what hides the files, and
/// what is hidden, while a container is made.
#[test]
fn what_hides_is_not_exchanged_for_something_else() {
    let mut sandbox = Sandbox::new("cat /etc/a /etc/b 2>/dev/null");
    let (etc, dev) = (sandbox.rootfs().join("etc"), sandbox.rootfs().join("dev"));
    fs::write(etc.join("a"), "visible").unwrap();
    fs::write(etc.join("b"), "").unwrap();
    fs::write(etc.join("false"), "a false device").unwrap();
    symlink("/etc/false", dev.join("other")).unwrap();
    // The image's own `/dev`, which the neighbour has too.
    sandbox.spec["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    sandbox.spec["linux"]["maskedPaths"] = json!(["/etc/a", "/etc/b"]);
    assert_eq!(sandbox.run(), "");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange(&dev.join("null"), &dev.join("other"));
            }
        });
        let _finish = Finish(&done);
        let mut ran = 0;
        for _ in 0..60 {
            let output = sandbox.call("run", &[]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                !text.contains("visible") && !text.contains("false"),
                "{text}"
            );
            ran += u32::from(output.status.success());
        }
        assert!(ran < 60, "nobody was in the way");
    });
}

/// Class 4, CVE-2021-30465 and CVE-2024-45310: a neighbour swaps the mount target while it is used.
#[test]
fn a_swapped_mount_target_never_leads_out() {
    let outside = tempfile::tempdir().unwrap();
    let canary = outside.path().join("canary");
    fs::write(&canary, "untouched").unwrap();
    let before = fs::metadata(&canary).unwrap();
    let mut sandbox = Sandbox::new("true");
    let volume = sandbox.rootfs().join("mnt");
    fs::create_dir(volume.join("a")).unwrap();
    symlink(outside.path(), volume.join("b")).unwrap();
    for n in 0..8 {
        sandbox.mount(
            json!({"destination": format!("/mnt/a/new{n}/deep"), "type": "tmpfs",
            "source": "tmpfs"}),
        );
    }
    sandbox.spec["linux"]["maskedPaths"] = json!(["/mnt/a"]);
    sandbox.write();
    let done = AtomicBool::new(false);
    let swaps = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange(&volume.join("a"), &volume.join("b"));
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _finish = Finish(&done);
        let mut runs = 0;
        // A swapper that is starved proves nothing: it gets the runs it needs.
        while runs < 40 || swaps.load(Ordering::Relaxed) < 10_000 {
            runs += 1;
            // It may fail, for what it finds changes under it; it must not be led out.
            sandbox.call("run", &[]);
            let left = fs::read_dir(outside.path()).unwrap().count();
            assert_eq!(left, 1, "something was made outside");
        }
    });
    let after = fs::metadata(&canary).unwrap();
    assert_eq!(
        (before.ino(), before.mode(), before.mtime()),
        (after.ino(), after.mode(), after.mtime())
    );
    assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(outside.path().to_str().unwrap()));
}

/// Ends the swapper however the test ends: a scope waits for its threads.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn exchange(a: &Path, b: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
}

/// Class 6, the runtime's side: links in the image at mount destinations stay inside.
#[test]
fn destinations_over_links_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    let source = tempfile::NamedTempFile::new().unwrap();
    let mut sandbox = Sandbox::new("mount | grep -c data");
    symlink(outside.path(), sandbox.rootfs().join("out")).unwrap();
    symlink("../../../../..", sandbox.rootfs().join("up")).unwrap();
    symlink("/proc/self/root", sandbox.rootfs().join("magic")).unwrap();
    for dest in ["/out/data", "/up/data1", "/up/etc/data2"] {
        sandbox.mount(
            json!({"destination": dest, "type": "bind", "source": source.path(),
            "options": ["bind"]}),
        );
    }
    assert_eq!(sandbox.run().trim(), "3");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!Path::new("/data1").exists() && !Path::new("/etc/data2").exists());
    sandbox.mount(
        json!({"destination": "/magic/data", "type": "bind", "source": source.path(),
        "options": ["bind"]}),
    );
    sandbox.fails();
}
