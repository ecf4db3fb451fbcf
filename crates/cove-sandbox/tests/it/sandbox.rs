//! A bundle with busybox, and the runtime to run it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle in a directory of its own.
pub(crate) struct Sandbox {
    pub dir: TempDir,
    pub id: String,
    pub spec: Value,
}

pub(crate) fn rt() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples/rt")
}

impl Sandbox {
    /// A bundle whose program is this shell script.
    pub(crate) fn new(script: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "etc", "tmp", "mnt"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for applet in String::from_utf8(list.stdout).unwrap().lines() {
            if applet != "busybox" {
                symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let id = format!("cove-test-{}-{serial}", std::process::id());
        let caps = json!([
            "CAP_CHOWN",
            "CAP_KILL",
            "CAP_SETUID",
            "CAP_SETGID",
            "CAP_SYS_ADMIN"
        ]);
        let spec = json!({
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["sh", "-c", script],
                "env": ["PATH=/bin", "TERM=xterm"],
                "cwd": "/",
                "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
                "noNewPrivileges": true
            },
            "hostname": "box",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                    "options": ["nosuid", "noexec", "nodev", "ro"]}
            ],
            "linux": {
                "cgroupsPath": format!("/{id}"),
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                    {"type": "uts"}, {"type": "mount"}]
            }
        });
        Self { dir, id, spec }
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn mount(&mut self, mount: Value) -> &mut Self {
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    pub(crate) fn namespace(&mut self, namespace: Value) -> &mut Self {
        let list = self.spec["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|one| one["type"] != namespace["type"]);
        list.push(namespace);
        self
    }

    pub(crate) fn write(&self) {
        fs::write(self.dir.path().join("config.json"), self.spec.to_string()).unwrap();
    }

    /// A command of the runtime for this container.
    pub(crate) fn command(&self, operation: &str, more: &[&str]) -> Command {
        self.write();
        let mut command = Command::new(rt());
        command
            .arg(operation)
            .arg(&self.id)
            .args(more)
            .arg(format!("--root={}", self.state_root().display()))
            .arg(format!("--bundle={}", self.dir.path().display()))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, operation: &str, more: &[&str]) -> Output {
        self.command(operation, more).output().unwrap()
    }

    /// Runs it to its end and answers with what it wrote.
    #[track_caller]
    pub(crate) fn run(&self) -> String {
        let output = self.call("run", &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it and expects the runtime or the program to fail; answers with status and message.
    #[track_caller]
    pub(crate) fn fails(&self) -> (i32, String) {
        let output = self.call("run", &[]);
        assert!(
            !output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        self.assert_gone();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// An operation that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, operation: &str, more: &[&str]) -> String {
        let output = self.call(operation, more);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{operation}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `create` hands its standard streams to the init: a pipe would be held open by it.
    #[track_caller]
    pub(crate) fn create(&self) {
        let out = fs::File::create(self.dir.path().join("out")).unwrap();
        let mut command = self.command("create", &[]);
        let status = command
            .stdout(out)
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap()
    }

    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.ok("state", &[])).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, status: &str) {
        for _ in 0..2000 {
            if self.state()["status"] == status {
                return;
            }
            std::thread::yield_now();
        }
        panic!("{} instead of {status}", self.state()["status"]);
    }

    /// Neither state nor cgroups of the container are left.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        assert!(!self.state_root().join(&self.id).exists(), "state is left");
        let left = cgroups(&self.id);
        assert!(left.is_empty(), "{left:?} are left");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.state_root().join(&self.id).exists() {
            let output = self.call("delete", &["--force"]);
            if !output.status.success() && !std::thread::panicking() {
                panic!("delete: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}

/// Runs a command as the last arguments of another.
pub(crate) fn under(wrapper: &mut Command, command: &Command) -> Output {
    wrapper
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .unwrap()
}

/// The directories of this name in every hierarchy.
pub(crate) fn cgroups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(top)
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()));
    below
        .chain([top.to_owned()])
        .map(|path| path.join(name))
        .filter(|p| p.exists())
        .collect()
}
