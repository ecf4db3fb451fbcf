//! What runs leave that were killed before they could tidy up: the directory
//! of their worlds and the worlds' cgroups. The next run takes it away.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use tempfile::TempDir;

use super::world::{hierarchies, remove_groups};

/// How the directory of a run begins; its process follows.
const DIRECTORY: &str = "cvd";
/// How cgroups of a run begin; its process and the worker follow.
const GROUP: &str = "differ-";

/// A run: its directory, held by a lock as long as it lives, and its cgroups.
pub(super) struct Place {
    directory: TempDir,
    _held: File,
    workers: u64,
}

impl Place {
    /// A new one, after what dead runs left has been taken away.
    pub(super) fn new(workers: u64) -> std::io::Result<Self> {
        let above = std::env::temp_dir();
        sweep(&above, &hierarchies());
        let directory = tempfile::Builder::new()
            .prefix(&format!("{DIRECTORY}{}-", std::process::id()))
            .tempdir_in(above)?;
        let held = File::open(directory.path())?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        rustix::fs::chmod(directory.path(), Mode::from_raw_mode(0o755))?;
        Ok(Self {
            directory,
            _held: held,
            workers,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for hierarchy in hierarchies() {
            (0..self.workers).for_each(|n| remove_groups(&hierarchy.join(group(n))));
        }
    }
}

/// The name of a worker's cgroup.
pub(super) fn group(worker: u64) -> String {
    format!("{GROUP}{}-{worker}", std::process::id())
}

/// Takes away what runs left whose process is no more. Only what is empty goes:
/// groups without processes, and the places of worlds, which were mounts that
/// ended with them.
fn sweep(above: &Path, hierarchies: &[PathBuf]) {
    for hierarchy in hierarchies {
        for path in of_the_dead(hierarchy, GROUP) {
            remove_groups(&path);
        }
    }
    for path in of_the_dead(above, DIRECTORY) {
        // Removing a place that is a mount in a living world would end the
        // mount there, so the number of the process alone does not decide.
        let free = File::open(&path)
            .is_ok_and(|it| flock(&it, FlockOperation::NonBlockingLockExclusive).is_ok());
        if free {
            remove_empty(&path);
        }
    }
}

/// Directories called by a prefix and the number of a process that has ended.
fn of_the_dead(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).into_iter().flatten().flatten();
    let dead = |name: &str| {
        let pid = name.strip_prefix(prefix).and_then(|n| n.split_once('-'));
        let pid = pid.and_then(|(pid, _)| pid.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
    };
    all.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| entry.file_name().to_str().is_some_and(dead))
        .map(|entry| entry.path())
        .collect()
}

/// Removes a directory and those in it as far as they are empty.
fn remove_empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _holds_something = fs::remove_dir(entry.path());
    }
    let _holds_something = fs::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use testkit::cmd::Cmd;

    use super::*;

    #[test]
    fn what_the_dead_left_goes_and_nothing_else() {
        let there = tempfile::tempdir().unwrap();
        let (above, hierarchy) = (there.path().join("tmp"), there.path().join("cpu"));
        let ended = Cmd::new("sh").args(["-c", "echo $$"]).run().out();
        let (dead, alive) = (ended.trim().to_owned(), std::process::id().to_string());
        for path in [
            above.join(format!("cvd{dead}-a/w0")),
            above.join(format!("cvd{dead}-held/w0")),
            above.join(format!("cvd{dead}-full/w0/kept")),
            above.join(format!("cvd{alive}-a/w0")),
            above.join("cvdsomebody-else"),
            hierarchy.join(format!("differ-{dead}-0/c/deep")),
            hierarchy.join(format!("differ-{dead}-0-c")),
            hierarchy.join(format!("differ-{alive}-0")),
            hierarchy.join("differ-run-cgroup-parent"),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        let held = File::open(above.join(format!("cvd{dead}-held"))).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        sweep(&above, std::slice::from_ref(&hierarchy));
        let left = |directory: &Path| {
            let all = fs::read_dir(directory).unwrap().flatten();
            let mut all: Vec<_> = all
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .map(|name| name.replace(&dead, "DEAD").replace(&alive, "ALIVE"))
                .collect();
            all.sort();
            all
        };
        assert_eq!(
            left(&above),
            [
                "cvdALIVE-a",
                "cvdDEAD-full",
                "cvdDEAD-held",
                "cvdsomebody-else"
            ]
        );
        assert_eq!(
            left(&hierarchy),
            ["differ-ALIVE-0", "differ-run-cgroup-parent"]
        );
    }
}
