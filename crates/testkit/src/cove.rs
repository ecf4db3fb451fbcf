//! Runs the real binary with roots of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cmd::{Cmd, Output};
use crate::roots::Roots;

/// A Cove whose every file is private to one test.
#[derive(Debug, Clone)]
pub struct Cove {
    program: PathBuf,
    roots: Arc<Roots>,
}

impl Cove {
    /// New roots and the binary that [`program`] finds.
    ///
    /// # Panics
    /// When there is no binary: build it with `cargo build -p cove`.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Roots::new())
    }

    /// The binary with given roots.
    ///
    /// # Panics
    /// As [`Cove::new`].
    #[must_use]
    pub fn with(roots: Roots) -> Self {
        let program = program()
            .expect("the cove binary is built (cargo build -p cove), or COVE_BIN names it");
        Self::at(&program, roots)
    }

    /// A given binary with given roots.
    #[must_use]
    pub fn at(program: &Path, roots: Roots) -> Self {
        let _first = roots.program.set(program.to_owned());
        Self {
            program: program.to_owned(),
            roots: Arc::new(roots),
        }
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The binary's path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command of Cove with these roots and a clean environment.
    #[must_use]
    pub fn cmd<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, arguments: I) -> Cmd {
        let mut cmd = Cmd::new(&self.program).env("HOME", self.roots.home());
        for key in [
            "COVE_ROOT",
            "COVE_RUNROOT",
            "DOCKER_CONFIG",
            "REGISTRY_AUTH_FILE",
            "CONTAINERS_REGISTRIES_CONF",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "NOTIFY_SOCKET",
        ] {
            cmd = cmd.env_remove(key);
        }
        cmd.arg("--root")
            .arg(self.roots.root())
            .arg("--runroot")
            .arg(self.roots.runroot())
            .args(arguments)
    }

    /// Runs a command that must succeed and let go of its output; returns
    /// standard output without the last newline.
    ///
    /// # Panics
    /// When it fails or a process it left holds its output open.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cmd(arguments).ok();
        assert!(
            !output.held_open,
            "a process left behind holds the output open: {output}"
        );
        output.out().trim_end_matches('\n').to_owned()
    }

    /// Runs a command that must end with this exit status.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn exits(&self, code: i32, arguments: &[&str]) -> Output {
        let output = self.cmd(arguments).run();
        assert_eq!(output.code(), code, "{output}");
        output
    }

    /// Runs a command that must fail with this status and say one sentence on
    /// standard error, which is returned.
    ///
    /// # Panics
    /// When it ends otherwise or says nothing.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.exits(code, arguments);
        let text = output.err().trim().to_owned();
        assert!(!text.is_empty(), "a failure without a word: {output}");
        text
    }
}

impl Default for Cove {
    fn default() -> Self {
        Self::new()
    }
}

/// The binary under test: `$COVE_BIN`, or the one beside the running program
/// in the target directory.
#[must_use]
pub fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("COVE_BIN") {
        return Some(path.into());
    }
    let own = std::env::current_exe().ok()?;
    // target/<triple>/<profile>/deps/<test>, or target/<triple>/<profile>/xtask.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|d| d.join("cove"))
        .find(|p| p.is_file())
}
