//! What root does from inside of a container to everything that it was given: the test program
//! itself, mounted there and executed with `INSIDE` in its environment.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cove_sys::mountattr::{MountAttr, attr, mount_setattr_path};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, setxattr, utimensat,
};

/// Where the probe lies in a container.
pub(crate) const PLACE: &str = "/probe";
/// What makes it the probe.
pub(crate) const INSIDE: &str = "COVE_TEST_INSIDE";
/// Its arguments: this test, and nothing else.
pub(crate) const ARGUMENTS: [&str; 4] = [PLACE, "--exact", "probe::inside", "--nocapture"];

/// Nothing, but for the copy of this program that runs in a container.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let targets = targets();
    // Whoever may, makes everything writable first.
    let mut remounted = 0;
    for path in &targets {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        let change = MountAttr {
            clear: attr::RDONLY,
            ..MountAttr::default()
        };
        remounted += u32::from(mount_setattr_path(&path, false, &change).is_ok());
    }
    let mut done = BTreeSet::new();
    for path in &targets {
        attack(path, &mut done);
    }
    for path in &targets {
        replace(path, &mut done);
    }
    println!("remounted {remounted}");
    println!(
        "attacked {}: {}",
        targets.len(),
        Vec::from_iter(done).join(" ")
    );
}

/// Every mount, everything in `/dev`, and what descriptors lead to.
fn targets() -> BTreeSet<PathBuf> {
    let table = cove_sys::fs::read_to_string(Path::new("/proc/self/mountinfo"), 1 << 20).unwrap();
    let mut all: BTreeSet<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect();
    below(Path::new("/dev"), &mut all);
    for process in ["self", "1"] {
        let links = (0..16).map(|fd| format!("/proc/{process}/fd/{fd}"));
        let links =
            links.chain(["exe", "cwd", "root"].map(|name| format!("/proc/{process}/{name}")));
        all.extend(links.map(PathBuf::from).filter(|path| path.exists()));
    }
    // This program is the test's, not the container's.
    all.retain(|path| path != Path::new(PLACE) && path != Path::new("/proc/self/exe"));
    all
}

fn below(directory: &Path, all: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), all);
        }
        all.insert(entry.path());
    }
}

/// What a change of the node at `path` is called that came about.
fn attack(path: &Path, done: &mut BTreeSet<&'static str>) {
    let Ok(before) = fs::metadata(path) else {
        return;
    };
    let mut tried = |what, ok: bool| {
        if ok {
            done.insert(what);
        }
    };
    let mode = Mode::from_raw_mode((before.mode() & 0o7777) ^ 0o1022);
    tried(
        "chmod",
        rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()).is_ok(),
    );
    let (uid, gid) = (Some(Uid::from_raw(12)), Some(Gid::from_raw(34)));
    tried("chown", rustix::fs::chown(path, uid, gid).is_ok());
    let (uid, gid) = (
        Some(Uid::from_raw(before.uid())),
        Some(Gid::from_raw(before.gid())),
    );
    tried("chown", rustix::fs::chown(path, uid, gid).is_ok());
    for name in ["user.cove", "trusted.cove", "security.cove"] {
        let ok = setxattr(path, name, b"x", XattrFlags::empty()).is_ok();
        tried("setxattr", ok);
    }
    let second = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
    let now = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    for times in [second(86_400), now(rustix::fs::UTIME_NOW)] {
        let times = Timestamps {
            last_access: times,
            last_modification: times,
        };
        tried(
            "utimes",
            utimensat(CWD, path, &times, AtFlags::empty()).is_ok(),
        );
    }
    if before.is_dir() {
        let file = path.join("cove-was-here");
        tried("create", fs::write(file, "x").is_ok());
        return;
    }
    for more in [OFlags::empty(), OFlags::TRUNC] {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
        if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
            let quiet = before.file_type().is_fifo() || rustix::termios::isatty(&file);
            tried("write", !quiet && rustix::io::write(&file, b"x").is_ok());
            tried("truncate", rustix::fs::ftruncate(&file, 1).is_ok());
        }
    }
}

/// Something else in its place, and nothing.
fn replace(path: &Path, done: &mut BTreeSet<&'static str>) {
    if path.starts_with("/proc/self") || path.starts_with("/proc/1") {
        return;
    }
    let new = Path::new("/tmp/cove-new");
    if fs::write(new, "x").is_ok() && fs::rename(new, path).is_ok() {
        done.insert("rename");
    }
    let near = path.with_file_name("cove-near");
    if fs::hard_link(path, &near).is_ok() {
        done.insert("link");
    }
    let gone = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path).is_ok(),
        Ok(_) => fs::remove_file(path).is_ok(),
        Err(_) => false,
    };
    if gone {
        done.insert("unlink");
    }
}
