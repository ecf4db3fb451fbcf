//! Private directories for one test: `--root`, `--runroot` and a home, under a
//! short path because socket addresses hold 108 bytes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use crate::cmd::Cmd;
use crate::files;

/// The directories of one hermetic Cove. Dropping them removes every
/// container, process, mount and file that is left in them.
#[derive(Debug)]
pub struct Roots {
    directory: TempDir,
    /// Who removes the containers in the end, once somebody runs some.
    pub(crate) program: OnceLock<PathBuf>,
}

impl Roots {
    /// New empty roots in `$COVE_TEST_DIR` or /tmp.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let base = std::env::var_os("COVE_TEST_DIR").map_or_else(|| "/tmp".into(), PathBuf::from);
        Self::beneath(&base)
    }

    /// New empty roots beneath a directory, such as a small tmpfs.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn beneath(base: &Path) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("cv")
            .tempdir_in(base)
            .expect("a directory");
        let roots = Self {
            directory,
            program: OnceLock::new(),
        };
        for path in [roots.root(), roots.runroot(), roots.home()] {
            std::fs::create_dir(path).expect("the roots are made");
        }
        roots
    }

    /// What lasts: `--root`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// What dies with a boot: `--runroot`.
    #[must_use]
    pub fn runroot(&self) -> PathBuf {
        self.path().join("run")
    }

    /// `$HOME`, where credentials live.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// The directory that holds all three; its name marks our processes.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The processes that name these roots in their command line or
    /// environment, or hold a file in them open.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        processes_of(self.path())
    }

    /// Waits until what was pulled is on the disk and nobody is at it any more.
    ///
    /// # Panics
    /// After a minute.
    pub fn wait_settled(&self) {
        let settles = |pid: u32| {
            let words = files::text(format!("/proc/{pid}/cmdline").as_ref());
            words.is_some_and(|words| words.starts_with("cove-settle\0"))
        };
        for pid in self.processes().into_iter().filter(|pid| settles(*pid)) {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let Some(Ok(pidfd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
                continue;
            };
            let ended = crate::cmd::readable(&pidfd, Duration::from_secs(60));
            assert!(ended, "a pull is not settled after a minute");
        }
    }

    /// Ends every process and mount in the roots, without Cove's help.
    pub fn tear_down(&self) {
        // A killed process may have had time to start one more.
        for _round in 0..5 {
            let left = self.processes();
            for pid in &left {
                kill(*pid);
            }
            if left.is_empty() {
                break;
            }
        }
        for mount in files::mounts_beneath(self.path()).iter().rev() {
            let _busy = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
        }
    }

    /// Lets Cove remove its own containers first, so that cgroups and other
    /// things outside the roots go too.
    fn remove_containers(&self, program: &Path) {
        let cove = |arguments: &[&str]| {
            Cmd::new(program)
                .arg("--root")
                .arg(self.root())
                .arg("--runroot")
                .arg(self.runroot())
                .args(arguments)
                .limit(Duration::from_secs(20))
                .run()
        };
        let ids = cove(&["ps", "-aq", "--no-trunc"]).out();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            let mut arguments = vec!["rm", "-f"];
            arguments.extend(ids);
            let _best_effort = cove(&arguments);
        }
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Roots {
    fn drop(&mut self) {
        if self.root().join("containers").is_dir()
            && let Some(program) = self.program.get()
        {
            self.remove_containers(program);
        }
        self.tear_down();
    }
}

/// Processes whose command line, environment, directory or open files name
/// `path`, or whose root is an overlay of it; never this process itself.
#[must_use]
pub fn processes_of(path: &Path) -> Vec<u32> {
    let needle = path.to_string_lossy().into_owned();
    let own = std::process::id();
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && names(*pid, &needle))
        .collect()
}

/// Whether [`processes_of`] has this process.
pub(crate) fn belongs(pid: u32, path: &Path) -> bool {
    names(pid, &path.to_string_lossy())
}

fn names(pid: u32, needle: &str) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let in_text = |name: &str| files::text(&process.join(name)).is_some_and(|t| t.contains(needle));
    let in_link = |path: PathBuf| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains(needle))
    };
    in_text("cmdline")
        || in_text("environ")
        || in_link(process.join("cwd"))
        || in_link(process.join("exe"))
        || std::fs::read_dir(process.join("fd"))
            .is_ok_and(|fds| fds.flatten().any(|fd| in_link(fd.path())))
        || is_contained(&process, needle)
}

/// A container's own process names nothing of ours but the layers of its root.
/// Other mounts do not count: any new mount namespace has copies of the host's.
fn is_contained(process: &Path, needle: &str) -> bool {
    files::text(&process.join("mountinfo")).is_some_and(|table| {
        table
            .lines()
            .filter(|line| line.split(' ').nth(4) == Some("/"))
            .any(|line| line.contains(" - overlay ") && line.contains(needle))
    })
}

/// Kills a process and waits until it is gone.
pub(crate) fn kill(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        let _gone = pidfd_send_signal(&pidfd, Signal::KILL);
        let _ended = crate::cmd::readable(&pidfd, Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_in_the_roots_is_ended() {
        let roots = Roots::new();
        let path = roots.path().to_owned();
        let marker = path.join("marker");
        let process = Cmd::new("sleep").arg("600").env("MARK", &marker).start();
        assert_eq!(roots.processes(), [process.pid()]);
        drop(roots);
        assert_eq!(process.wait().code(), 137);
        assert!(!path.exists());
    }
}
