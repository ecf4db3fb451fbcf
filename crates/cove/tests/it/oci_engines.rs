//! Podman and dockerd with Cove as their runtime. Each has directories of its
//! own; where an engine is not installed its test says so and passes.
#![expect(clippy::disallowed_methods, reason = "the engines are other programs")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::bundle::root_filesystem;

pub(crate) const IMAGE: &str = "busybox:oci";

/// These tests are about the real engines: without one they have not passed.
pub(crate) fn require(program: &str) {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|path| path.join(program).exists());
    assert!(
        found,
        "{program} is not installed: scripts/test installs it"
    );
}

/// A directory with the runtime under the name engines take it by.
pub(crate) fn runtime(directory: &Path) -> PathBuf {
    let link = directory.join("cove-oci");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cove"), &link).unwrap();
    link
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What both engines must be able to do. `engine` makes a command of theirs;
/// `archive` is the image's root.
fn exercise(engine: &dyn Fn(&[&str]) -> Command, archive: &Path) {
    let run = |words: &[&str]| engine(words).stdin(Stdio::null()).output().unwrap();
    let imported = run(&["import", archive.to_str().unwrap(), IMAGE]);
    assert!(imported.status.success(), "{imported:?}");

    let output = run(&[
        "run",
        "--rm",
        "--network",
        "none",
        IMAGE,
        "sh",
        "-c",
        "echo out; exit 3",
    ]);
    assert_eq!(
        (output.status.code(), out(&output)),
        (Some(3), "out\n".to_owned()),
        "{output:?}"
    );

    let output = run(&[
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "none",
        IMAGE,
        "sleep",
        "1000",
    ]);
    assert!(output.status.success(), "{output:?}");
    let output = run(&["exec", "one", "sh", "-c", "echo in; exit 4"]);
    assert_eq!(
        (output.status.code(), out(&output)),
        (Some(4), "in\n".to_owned()),
        "{output:?}"
    );
    assert!(out(&run(&["top", "one"])).contains("sleep 1000"));
    for verb in ["pause", "unpause"] {
        let output = run(&[verb, "one"]);
        assert!(output.status.success(), "{verb}: {output:?}");
    }
    let state = run(&["inspect", "-f", "{{.State.Status}}", "one"]);
    assert_eq!(out(&state), "running\n");
    let output = run(&["stop", "-t", "1", "one"]);
    assert!(output.status.success(), "{output:?}");
    let code = run(&["inspect", "-f", "{{.State.ExitCode}}", "one"]);
    assert_eq!(out(&code), "137\n");
    let output = run(&["start", "one"]);
    assert!(output.status.success(), "{output:?}");
    let output = run(&["rm", "-f", "one"]);
    assert!(output.status.success(), "{output:?}");

    // The engines read the runtime's words to choose these.
    for (program, status) in [("/nonexistent", 127), ("/etc", 126)] {
        let output = run(&["run", "--rm", "--network", "none", IMAGE, program]);
        assert_eq!(output.status.code(), Some(status), "{program}: {output:?}");
    }
    let limited = [
        "run",
        "--rm",
        "--network",
        "none",
        "--memory",
        "64m",
        "--pids-limit",
        "33",
    ];
    let output = run(&[&limited[..], &[IMAGE, "true"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(out(&run(&["ps", "-aq"])), "");
}

pub(crate) fn archive(directory: &Path) -> PathBuf {
    let root = directory.join("rootfs");
    root_filesystem(&root);
    let archive = directory.join("root.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", &root).unwrap();
    builder.finish().unwrap();
    archive
}

/// A podman whose every file is below a directory, with this runtime.
pub(crate) fn podman_in(directory: &Path, runtime: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("podman");
    for (option, name) in [
        ("--root", "root"),
        ("--runroot", "run"),
        ("--tmpdir", "tmp"),
    ] {
        command.arg(option).arg(directory.join(name));
    }
    command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
    command
        .args(["--events-backend", "file", "--runtime"])
        .arg(runtime)
        .args(words);
    command
}

#[test]
fn podman() {
    require("podman");
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path());
    let engine = |words: &[&str]| podman_in(directory.path(), &runtime, words);
    exercise(&engine, &archive(directory.path()));
}

/// A containerd and a dockerd of this test's own.
pub(crate) struct Daemons {
    directory: TempDir,
    children: Vec<Child>,
}

impl Daemons {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let runtime = runtime(directory.path()).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            path("c-root"),
            path("c-state"),
            path("c.sock")
        );
        std::fs::write(path("containerd.toml"), config).unwrap();
        std::fs::write(path("daemon.json"), "{}").unwrap();
        let mut daemons = Self {
            children: Vec::new(),
            directory,
        };
        let path = |name: &str| daemons.directory.path().join(name).display().to_string();
        let containerd = daemon("containerd", &path("c.log"))
            .args(["-c", &path("containerd.toml")])
            .spawn();
        let socket = path("c.sock");
        let dockerd = [
            ["--config-file", &path("daemon.json")],
            ["--containerd", &socket],
            ["--data-root", &path("d-root")],
            ["--exec-root", &path("d-exec")],
            ["--pidfile", &path("d.pid")],
            ["--host", &format!("unix://{}", path("d.sock"))],
            ["--add-runtime", &format!("cove={runtime}")],
            ["--default-runtime", "cove"],
            ["--storage-driver", "vfs"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .chain(["--iptables=false", "--ip6tables=false", "--bridge=none"].map(str::to_owned))
        .collect::<Vec<String>>();
        let log = path("d.log");
        daemons.children.push(containerd.unwrap());
        wait_for("containerd", || Path::new(&socket).exists());
        daemons
            .children
            .push(daemon("dockerd", &log).args(dockerd).spawn().unwrap());
        wait_for("dockerd", || {
            daemons
                .docker(&["version"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        });
        daemons
    }

    pub(crate) fn docker(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("-H")
            .arg(format!("unix://{}/d.sock", self.directory.path().display()));
        command.args(words);
        command
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        // dockerd first: it ends its containers.
        for child in self.children.iter_mut().rev() {
            let pid = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap_or(());
            drop(child.wait());
        }
    }
}

fn daemon(program: &str, log: &str) -> Command {
    let log = std::fs::File::create(log).unwrap();
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !ready() {
        assert!(Instant::now() < end, "{what} did not start");
        std::thread::yield_now();
    }
}

#[test]
fn dockerd() {
    ["dockerd", "containerd", "docker"]
        .into_iter()
        .for_each(require);
    let daemons = Daemons::start();
    let directory = tempfile::tempdir().unwrap();
    let engine = |words: &[&str]| daemons.docker(words);
    exercise(&engine, &archive(directory.path()));
    let output = daemons
        .docker(&[
            "run",
            "-d",
            "--name",
            "two",
            "--network",
            "none",
            IMAGE,
            "sleep",
            "1000",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // A limit on a hierarchy it did not begin in.
    let output = daemons
        .docker(&["update", "--pids-limit", "44", "two"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        daemons
            .docker(&["rm", "-f", "two"])
            .output()
            .unwrap()
            .status
            .success()
    );
}
