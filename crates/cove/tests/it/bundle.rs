//! A bundle of busybox, and `cove oci` to run it.
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is another process"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle, and a directory for the runtime's state.
pub(crate) struct Bundle {
    directory: TempDir,
    pub(crate) id: String,
}

impl Bundle {
    /// A bundle that runs `words` in busybox, without a terminal.
    pub(crate) fn new(name: &str, words: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        root_filesystem(&directory.path().join("rootfs"));
        let bundle = Self {
            directory,
            id: format!("cove-it-{}-{name}", std::process::id()),
        };
        let made = bundle
            .command(&["spec", "--bundle"])
            .arg(bundle.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        bundle.edit(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(words);
        });
        bundle
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
    }

    /// `cove oci` with this bundle's state, from its directory.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cove"));
        command
            .arg("oci")
            .arg("--root")
            .arg(self.path().join("state"))
            .args(words);
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command on this bundle's container; its id comes after `words`.
    pub(crate) fn on(&self, words: &[&str]) -> Output {
        self.command(words).arg(&self.id).output().unwrap()
    }

    /// [`Bundle::on`], which must succeed; answers with what it said.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let output = self.on(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.ok(&["state"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    /// Creates without inheriting this test's pipes, which would stay open.
    #[track_caller]
    pub(crate) fn create(&self) {
        let mut command = self.command(&["create"]);
        command
            .arg(&self.id)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        drop(self.on(&["delete", "--force"]));
    }
}

/// A root with busybox and a few of its names.
pub(crate) fn root_filesystem(root: &Path) {
    for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "true", "sleep", "cat", "echo", "id", "ls", "stty", "trap", "kill", "awk", "cut",
        "head", "od", "readlink", "test", "touch", "tty",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The cgroup directories a container of this name has.
pub(crate) fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let roots = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    for root in roots
        .map(|entry| entry.path())
        .chain([PathBuf::from("/sys/fs/cgroup")])
    {
        found.extend(Some(root.join(id)).filter(|path| path.exists()));
    }
    found
}
