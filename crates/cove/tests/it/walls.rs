//! Nothing outside of a container is touched by what root does inside to all that it is given: its
//! mounts, its `/dev`, its descriptors.
//!
//! Each test makes a mount namespace of its own with a `/dev` of its own for a host, so that a
//! fault here is not one of the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, chmodat, listxattr, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use serde_json::{Value, json};
use testkit::cove::Cove;

use crate::bundle::{Bundle, text};
use crate::probe::{ARGUMENTS, INSIDE, PLACE};
use crate::support::{IMAGE, cove};

/// This thread, and what it starts, sees a `/dev` that is nobody else's.
fn a_host_of_its_own() -> tempfile::TempDir {
    cove_sys::ns::unshare(cove_sys::ns::MOUNT).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let place = tempfile::tempdir().unwrap();
    let dev = place.path();
    mount("dev", dev, "tmpfs", MountFlags::empty(), c"mode=755").unwrap();
    let nodes = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
    ];
    for (name, major, minor) in nodes.into_iter().chain([("urandom", 1, 9), ("tty", 5, 0)]) {
        let (path, mode) = (dev.join(name), Mode::from_raw_mode(0o666));
        let number = makedev(major, minor);
        mknodat(CWD, &path, FileType::CharacterDevice, mode, number).unwrap();
        // Whatever the umask is: it belongs to the process, in which other tests run meanwhile.
        chmodat(CWD, &path, mode, AtFlags::empty()).unwrap();
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name)).unwrap();
    }
    mount_bind("/dev/pts", dev.join("pts")).unwrap();
    std::os::unix::fs::symlink("pts/ptmx", dev.join("ptmx")).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd", dev.join("fd")).unwrap();
    mount_bind(dev, "/dev").unwrap();
    place
}

/// How much of a file must stay as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// All that there is to it.
    Everything,
    /// Kind, mode, owner and extended attributes: the program writes to it.
    Node,
}

/// The state of everything below a path but for what lies below `except`.
fn state(top: &Path, watch: Watch, except: &[PathBuf], all: &mut BTreeMap<PathBuf, String>) {
    if except.iter().any(|path| path == top) {
        return;
    }
    let Ok(found) = fs::symlink_metadata(top) else {
        return;
    };
    let mut names = vec![0; 4096];
    let length = listxattr(top, &mut names).unwrap_or(0);
    let mut words = format!(
        "mode {:o} owner {}:{} xattr {:?}",
        found.mode(),
        found.uid(),
        found.gid(),
        text(&names[..length])
    );
    if watch == Watch::Everything {
        words += &format!(
            " size {} modified {}.{} changed {}.{}",
            found.size(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec()
        );
        // Whoever looks follows a link, and reads a file.
        if found.file_type().is_char_device() {
            words += &format!(" accessed {}.{}", found.atime(), found.atime_nsec());
        }
    }
    all.insert(top.to_owned(), words);
    if found.is_dir() && !found.file_type().is_symlink() {
        for entry in fs::read_dir(top).into_iter().flatten().flatten() {
            state(&entry.path(), watch, except, all);
        }
    }
}

/// What the whole host is about: its devices, and files that programs bind.
fn host() -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let dev = Path::new("/dev");
    state(dev, Watch::Everything, &[dev.join("pts")], &mut all);
    for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        state(Path::new(file), Watch::Everything, &[], &mut all);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_cove"));
    state(program, Watch::Node, &[], &mut all);
    all
}

/// That of the host and of the directories of a Cove, but for the files that are `own`.
fn world(cove: &Cove, own: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let mut all = host();
    let (root, runroot) = (cove.roots().root(), cove.roots().runroot());
    for name in ["layers", "images", "blobs", "skeleton", "names"] {
        state(&root.join(name), Watch::Everything, &[], &mut all);
    }
    state(&root, Watch::Node, own, &mut all);
    state(&runroot, Watch::Node, own, &mut all);
    // What lives as long as a container runs.
    all.retain(|path, _| {
        !path.starts_with(runroot.join("sandbox")) && !path.ends_with("control.sock")
    });
    all
}

#[track_caller]
fn assert_same(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>, what: &str) {
    let mut different = String::new();
    for (path, words) in before {
        match after.get(path) {
            Some(now) if now == words => {}
            now => different += &format!("{}\n  {words}\n  {now:?}\n", path.display()),
        }
    }
    assert!(different.is_empty(), "{what} changed outside:\n{different}");
}

/// The probe went through all it found.
#[track_caller]
fn assert_ran(output: &str, at_least: u32) {
    let line = output.lines().find(|line| line.contains("attacked "));
    let count = line.and_then(|line| {
        line.split("attacked ")
            .nth(1)?
            .split(':')
            .next()?
            .parse()
            .ok()
    });
    assert!(
        count.is_some_and(|count: u32| count >= at_least),
        "{output}"
    );
}

/// Runs the probe in a container of Cove's, with these options.
fn engine(options: &[&str]) {
    let _dev = a_host_of_its_own();
    let cove = cove();
    let own = std::env::current_exe().unwrap();
    let volume = format!("{}:{PLACE}:ro", own.display());
    // It waits until the state before has been read.
    let script = format!(
        "while [ ! -e /dev/shm/go ]; do sleep 0.05; done; exec {}",
        ARGUMENTS.join(" ")
    );
    let inside = format!("{INSIDE}=1");
    let mut run = vec!["run", "-d", "--name", "box", "-e", &inside, "-v", &volume];
    run.extend(options);
    run.extend([IMAGE, "sh", "-c", &script]);
    let id = cove.ok(&run);
    cove.ok(&["exec", "box", "true"]);
    let (directory, runtime) = (
        cove.roots().root().join("containers").join(&id),
        cove.roots().runroot().join("containers").join(&id),
    );
    // What the container writes: its own layer, and the three files that it may.
    let mut its = vec![directory.join("upper"), directory.join("work")];
    if !options.contains(&"--read-only") {
        its.extend(["hosts", "hostname", "resolv.conf"].map(|name| directory.join(name)));
    }
    // What root leaves there with a set-user-id bit is nobody's to run (CVE-2021-41091).
    let mut open = vec![directory.parent().unwrap().to_owned(), runtime];
    open.retain(|private| fs::metadata(private).unwrap().mode() & 0o077 != 0);
    let before = world(&cove, &its);
    cove.ok(&["exec", "box", "touch", "/dev/shm/go"]);
    let status = cove.ok(&["wait", "box"]);
    let output = cove.cmd(["logs", "box"]).ok().to_string();
    assert_eq!(status, "0", "{output}");
    assert_ran(&output, 30);
    assert_same(&before, &world(&cove, &its), &format!("{options:?}"));
    assert_eq!(open, Vec::<PathBuf>::new(), "open to others");
}

#[test]
fn of_a_default_container() {
    engine(&[]);
}

#[test]
fn of_a_hardened_container() {
    engine(&[
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ]);
}

#[test]
fn of_a_read_only_container_with_an_init_and_a_terminal() {
    engine(&["--read-only", "--init", "-t"]);
}

#[test]
fn of_a_container_with_more_privileges() {
    engine(&["-i", "--cap-add=SYS_ADMIN", "--cap-add=MKNOD"]);
}

/// Runs the probe in a bundle; `change` makes it special, `wrapper` runs the runtime.
fn oci(name: &str, wrapper: &[&str], change: impl FnOnce(&mut Value)) {
    let _dev = a_host_of_its_own();
    let bundle = Bundle::new(name, &ARGUMENTS);
    let own = std::env::current_exe().unwrap();
    // Where the root of a user namespace could make none.
    fs::write(bundle.path().join("rootfs").join(&PLACE[1..]), "").unwrap();
    bundle.edit(|config| {
        let caps = json!([
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_FSETID",
            "CAP_MKNOD",
            "CAP_SETFCAP",
            "CAP_SYS_CHROOT"
        ]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = caps.clone();
        }
        let env = config["process"]["env"].as_array_mut().unwrap();
        env.push(json!(format!("{INSIDE}=1")));
        config["root"]["readonly"] = json!(false);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": PLACE, "type": "bind", "source": own,
            "options": ["bind", "ro"]}));
        config["linux"]["devices"] = json!([
            {"path": "/dev/other", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640}
        ]);
        change(config);
    });
    let config = bundle.path().join("config.json");
    let mut before = host();
    state(&config, Watch::Everything, &[], &mut before);
    let run = bundle.command(&["run", &bundle.id]);
    let mut command = match wrapper {
        [] => Command::new(run.get_program()),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(run.get_program());
            command
        }
    };
    command.args(run.get_args()).current_dir(bundle.path());
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_ran(&said, 25);
    let mut after = host();
    state(&config, Watch::Everything, &[], &mut after);
    assert_same(&before, &after, name);
}

fn mapped(config: &mut Value) {
    let all = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["uidMappings"] = all.clone();
    config["linux"]["gidMappings"] = all;
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
}

fn with_all(config: &mut Value, more: &str) {
    for set in ["bounding", "effective", "permitted"] {
        let caps = config["process"]["capabilities"][set]
            .as_array_mut()
            .unwrap();
        caps.push(json!(more));
    }
}

#[test]
fn of_a_bundle() {
    oci("walls", &[], |_| {});
}

#[test]
fn of_a_bundle_with_a_read_only_root() {
    oci("walls-ro", &[], |config| {
        config["root"]["readonly"] = json!(true);
    });
}

#[test]
fn of_a_bundle_that_may_mount() {
    oci("walls-admin", &[], |config| {
        with_all(config, "CAP_SYS_ADMIN");
        let devices = config["linux"]["devices"].as_array_mut().unwrap();
        devices.push(json!({"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}));
    });
}

#[test]
fn of_a_bundle_in_a_user_namespace() {
    oci("walls-user", &[], |config| {
        mapped(config);
        with_all(config, "CAP_SYS_ADMIN");
    });
}

/// The runtime may not make devices either: the host's are shown.
#[test]
fn of_a_bundle_with_devices_of_the_hosts() {
    let without = ["setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"];
    oci("walls-host", &without, mapped);
}
