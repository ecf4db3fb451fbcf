//! The leak oracle: what the machine holds because of one pair of roots.
//!
//! Everything Cove makes is keyed to its roots, by path or by the key that
//! names its cgroups and tables, so a snapshot sees this Cove's things only and
//! tests run beside each other. [`assert_no_leaks`] compares two snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::files;
use crate::roots::{Roots, processes_of};

/// Kinds of things and what there is of each, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, BTreeSet<String>>);

impl Snapshot {
    /// Looks at the machine now.
    #[must_use]
    pub fn take(roots: &Roots) -> Self {
        let path = roots.path();
        let key = key(&roots.runroot());
        let mut all = BTreeMap::new();
        all.insert("process", processes(path));
        all.insert("mount", mounts(path));
        all.insert("cgroup", cgroups(&key));
        all.insert("link", links(&key));
        all.insert("nft table", nft_tables(&key));
        all.insert("loop device", loop_devices(path));
        all.insert("socket", sockets(path));
        let mut found = BTreeSet::new();
        tree(&roots.runroot(), path, &mut found);
        // What tells of everything that happened is no leak of any of it.
        for journal in ["journal", "journal.1"] {
            found.remove(&short(&roots.runroot().join(journal), path));
        }
        tree(&roots.root().join("tmp"), path, &mut found);
        list(&roots.root().join("leases"), path, &mut found);
        list(&roots.root().join("containers"), path, &mut found);
        names(&roots.root().join("names"), path, &mut found);
        all.insert("file", found);
        Self(all)
    }

    /// The same without what belongs to the containers with these whole ids.
    #[must_use]
    pub fn besides(mut self, ids: &[String]) -> Self {
        let of_one = |text: &str| ids.iter().any(|id| text.contains(id.as_str()));
        for (kind, all) in &mut self.0 {
            // The cgroup that holds theirs is there for their sake.
            let parents: BTreeSet<PathBuf> = all
                .iter()
                .filter(|what| *kind == "cgroup" && of_one(what))
                .filter_map(|what| Path::new(what).parent().map(Path::to_owned))
                .collect();
            all.retain(|what| {
                let theirs = match *kind {
                    "process" => of_one(what) || in_cgroup(what, of_one),
                    "cgroup" => of_one(what) || parents.contains(Path::new(what)),
                    _ => of_one(what),
                };
                !theirs
            });
        }
        self
    }

    /// What is here and was not in `before`: kind and description.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<(&'static str, String)> {
        let none = BTreeSet::new();
        self.0
            .iter()
            .flat_map(|(kind, now)| {
                let then = before.0.get(kind).unwrap_or(&none);
                now.difference(then).map(|what| (*kind, what.clone()))
            })
            .collect()
    }
}

/// Compares the machine with an earlier snapshot. Processes that are about to
/// end get two seconds to do so.
///
/// # Panics
/// When something is left, with a list of it.
pub fn assert_no_leaks(before: &Snapshot, roots: &Roots) {
    let left = leaks(before, roots);
    assert!(left.is_empty(), "left behind:\n{}", describe(&left));
}

/// What is left since `before`, once the processes that end by themselves
/// within two seconds have done so.
#[must_use]
pub fn leaks(before: &Snapshot, roots: &Roots) -> Vec<(&'static str, String)> {
    leaks_besides(before, roots, &[])
}

/// [`leaks`], leaving out what belongs to the containers with these whole ids.
#[must_use]
pub fn leaks_besides(
    before: &Snapshot,
    roots: &Roots,
    ids: &[String],
) -> Vec<(&'static str, String)> {
    let left = Snapshot::take(roots).besides(ids).since(before);
    if left.is_empty() {
        return left;
    }
    let began = Instant::now();
    for (_, line) in left.iter().filter(|(kind, _)| *kind == "process") {
        let deadline = began + patience(line);
        let Some(pid) = line.split(' ').next().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(pid) = Pid::from_raw(pid) {
            let _ended = pidfd_open(pid, PidfdFlags::empty())
                .is_ok_and(|pidfd| crate::cmd::readable(&pidfd, left));
        }
    }
    let mut still = Snapshot::take(roots).besides(ids).since(before);
    // What began meanwhile is somebody at work: a container that forks, say.
    still.retain(|(kind, line)| {
        let pid = |line: &str| line.split(' ').next().map(str::to_owned);
        *kind != "process"
            || left
                .iter()
                .any(|(kind, old)| *kind == "process" && pid(old) == pid(line))
    });
    still
}

/// How long a process, told as a line, may take to end by itself. What settles
/// a pull waits for the disk, and for whatever else is to be written to it.
fn patience(line: &str) -> Duration {
    Duration::from_secs(if line.contains(" cove-settle ") {
        60
    } else {
        2
    })
}

/// One line for each leak; a directory stands for what is in it.
#[must_use]
pub fn describe(leaks: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    let mut above = None;
    for (kind, what) in leaks {
        let inside = above
            .as_ref()
            .is_some_and(|(k, top)| k == kind && Path::new(what).starts_with(top));
        if *kind == "file" && inside {
            continue;
        }
        let _infallible = writeln!(text, "  {kind}: {what}");
        above = Some((*kind, what));
    }
    text
}

/// The word that names the cgroups, links and tables of a runtime directory;
/// the same rule as the engine's.
#[must_use]
pub fn key(runroot: &Path) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in runroot.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("cove-{hash:016x}")
}

fn processes(path: &Path) -> BTreeSet<String> {
    let line = |pid: u32| {
        let text = files::text(format!("/proc/{pid}/cmdline").as_ref()).unwrap_or_default();
        format!("{pid} {}", text.replace('\0', " ").trim_end())
    };
    processes_of(path).into_iter().map(line).collect()
}

/// Mounts that name the roots, in every mount namespace that a process is in.
fn mounts(path: &Path) -> BTreeSet<String> {
    let needle = path.to_string_lossy();
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(namespace) = fs::read_link(entry.path().join("ns/mnt")) else {
            continue;
        };
        if !seen.insert(namespace.clone()) {
            continue;
        }
        let table = files::text(&entry.path().join("mountinfo")).unwrap_or_default();
        for line in table.lines().filter(|line| line.contains(needle.as_ref())) {
            // Without the two ids, which say nothing to a reader.
            let line = line.splitn(4, ' ').nth(3).unwrap_or(line);
            found.insert(format!("{} in {}", line, namespace.display()));
        }
    }
    found
}

/// Removes the cgroups of a runtime directory, as the end of a boot would.
pub fn remove_cgroups(runroot: &Path) {
    // Deepest first: a cgroup with children cannot go.
    for path in cgroups(&key(runroot)).iter().rev() {
        let _busy = fs::remove_dir(path);
    }
}

fn cgroups(key: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.path().to_string_lossy().contains(key) {
                    found.insert(entry.path().display().to_string());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// Links of this network namespace whose alias or name carries the key.
fn links(key: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let alias = files::text(&entry.path().join("ifalias")).unwrap_or_default();
        if name.contains(key) || alias.contains(key) {
            found.insert(name);
        }
    }
    found
}

fn nft_tables(key: &str) -> BTreeSet<String> {
    if !Path::new("/usr/sbin/nft").exists() {
        return BTreeSet::new();
    }
    let output = crate::cmd::Cmd::new("/usr/sbin/nft")
        .args(["list", "tables"])
        .run();
    output
        .out()
        .lines()
        .filter(|line| line.contains(key))
        .map(str::to_owned)
        .collect()
}

fn loop_devices(path: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = files::text(&entry.path().join("loop/backing_file")).unwrap_or_default();
        if backing.trim().starts_with(&*path.to_string_lossy()) {
            found.insert(format!(
                "{} of {}",
                entry.file_name().display(),
                backing.trim()
            ));
        }
    }
    found
}

/// Unix sockets bound beneath the roots, and abstract ones that name them.
fn sockets(path: &Path) -> BTreeSet<String> {
    let needle = path.to_string_lossy();
    let table = files::text("/proc/net/unix".as_ref()).unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| name.contains(needle.as_ref()))
        .map(str::to_owned)
        .collect()
}

/// Every path beneath `directory`, told from `base`.
fn tree(directory: &Path, base: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.insert(short(&entry.path(), base));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tree(&entry.path(), base, found);
        }
    }
}

/// The entries of `directory` itself.
fn list(directory: &Path, base: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.insert(short(&entry.path(), base));
    }
}

/// The links in `directory` and what they name.
fn names(directory: &Path, base: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let owner = fs::read_link(entry.path()).unwrap_or_default();
        found.insert(format!(
            "{} of {}",
            short(&entry.path(), base),
            owner.display()
        ));
    }
}

/// Whether a process, told as a line that begins with its id, is in a cgroup
/// that is of one of those looked for.
fn in_cgroup(line: &str, of_one: impl Fn(&str) -> bool) -> bool {
    let pid = line.split(' ').next().unwrap_or_default();
    files::text(format!("/proc/{pid}/cgroup").as_ref()).is_some_and(|text| of_one(&text))
}

fn short(path: &Path, base: &Path) -> String {
    path.strip_prefix(base)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::Cmd;

    #[test]
    fn each_kind_is_seen_and_its_end_too() {
        let roots = Roots::new();
        let before = Snapshot::take(&roots);
        assert_no_leaks(&before, &roots);

        let process = Cmd::new("unshare")
            .args([
                "--mount",
                "sh",
                "-c",
                "mount -t tmpfs x \"$MARK\" && echo up && exec sleep 600",
            ])
            .env("MARK", roots.home())
            .start();
        let _socket = std::os::unix::net::UnixListener::bind(roots.runroot().join("s")).unwrap();
        let cgroup = cgroup_home().join(key(&roots.runroot()));
        fs::create_dir(&cgroup).unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        let kinds = loop {
            let kinds: BTreeSet<_> = Snapshot::take(&roots)
                .since(&before)
                .into_iter()
                .map(|(kind, _)| kind)
                .collect();
            if kinds.len() >= 5 || Instant::now() > until {
                break kinds;
            }
        };
        assert_eq!(
            kinds,
            BTreeSet::from(["cgroup", "file", "mount", "process", "socket"])
        );

        process.signal(rustix::process::Signal::KILL);
        let _killed = process.wait();
        fs::remove_dir(&cgroup).unwrap();
        drop(_socket);
        fs::remove_file(roots.runroot().join("s")).unwrap();
        assert_no_leaks(&before, &roots);
    }

    /// A hierarchy where an empty cgroup can be made.
    fn cgroup_home() -> PathBuf {
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
            .iter()
            .map(PathBuf::from)
            .find(|p| p.is_dir())
            .unwrap()
    }
}
