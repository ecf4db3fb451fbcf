//! What a program in a container sees of itself and of its surroundings, as
//! flat facts: a name and a value each. Runs in a root that may hold nothing
//! else, as any user, so whatever cannot be read is a fact too.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, StatFs, Timespec, Timestamps, utimensat};
use testkit::files;

use super::facts::{Facts, words};

/// Where a container's side leaves its reports.
pub(super) const REPORT: &str = "/report";
/// The status with which the probe ends when it has reported.
pub(crate) const DONE: u8 = 7;

const ZERO: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const EPOCH: Timestamps = Timestamps {
    last_access: ZERO,
    last_modification: ZERO,
};

/// Writes the report of the container's program.
pub(crate) fn report(sysctls: &[&str]) -> Result<String, String> {
    let mut facts = Facts::new();
    // First, before anything here changes what is looked at.
    descriptors(&mut facts);
    super::identity::look(&mut facts);
    mounts(&mut facts);
    devices(&mut facts);
    cgroups(&mut facts);
    namespaces(&mut facts);
    system(&mut facts, sysctls);
    sees(&mut facts);
    calls(&mut facts);
    reach(&mut facts);
    let path = Path::new(REPORT).join("probe");
    fs::write(&path, facts.to_text()).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(String::new())
}

/// Waits until it is killed.
pub(crate) fn wait() -> ! {
    loop {
        std::thread::park();
    }
}

/// Writes what a hook sees, one line for each hook that ran.
pub(crate) fn hook(kind: &str, log: &str, status: &str) -> Result<String, String> {
    let mut facts = Facts::new();
    super::identity::look(&mut facts);
    namespaces(&mut facts);
    let mut state = String::new();
    let _closed = std::io::Read::read_to_string(&mut std::io::stdin().lock(), &mut state);
    let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
    facts.set("state.status", state["status"].as_str().unwrap_or("none"));
    facts.set("state.has-pid", state["pid"].as_i64().unwrap_or(0) > 0);
    facts.set("state.bundle", state["bundle"].as_str().unwrap_or("none"));
    let annotations: BTreeMap<_, _> = state["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .collect();
    facts.set("state.annotations", serde_json::json!(annotations));
    let line = serde_json::json!({"kind": kind, "facts": facts.to_text()});
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(log)
        .map_err(|e| e.to_string())?;
    writeln!(file, "{line}").map_err(|e| e.to_string())?;
    if status == "0" {
        Ok(String::new())
    } else {
        Err("a hook that fails".to_owned())
    }
}

fn descriptors(facts: &mut Facts) {
    let Ok(all) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let mut open = Vec::new();
    for entry in all.flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        let to = fs::read_link(entry.path()).unwrap_or_default();
        let text = to.to_string_lossy().into_owned();
        // The directory that is being read.
        if text.starts_with("/proc/") && text.ends_with("/fd") {
            continue;
        }
        open.push((number, text));
    }
    for (number, text) in open {
        let kind = text
            .split_once(":[")
            .map_or(text.as_str(), |(kind, _)| kind);
        facts.set(&format!("fd.{number}"), kind);
    }
    for n in 0..3 {
        let path = format!("/proc/self/fd/{n}");
        if let Ok(meta) = fs::metadata(&path) {
            let who = format!("{} {}:{}", kind_of(&meta), meta.uid(), meta.gid());
            facts.set(&format!("stdio.{n}"), who);
        }
    }
}

/// One fact for each mount; what lies under another one is numbered.
fn mounts(facts: &mut Facts) {
    let table = files::text("/proc/self/mountinfo".as_ref()).unwrap_or_default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        let [_, _, _, root, point, options, fields @ ..] = left.as_slice() else {
            continue;
        };
        let right: Vec<&str> = right.split(' ').collect();
        let [kind, source, superblock] = right.as_slice() else {
            continue;
        };
        let nth = seen.entry((*point).to_owned()).or_default();
        let name = if *nth == 0 {
            format!("mount.{point}")
        } else {
            format!("mount.{point}#{nth}")
        };
        *nth += 1;
        // Without the number of the peer group.
        let fields: Vec<&str> = fields
            .iter()
            .map(|field| field.split(':').next().unwrap_or(field))
            .collect();
        facts.set(&format!("{name}.type"), kind);
        facts.set(&format!("{name}.options"), words(options.split(',')));
        facts.set(&format!("{name}.propagation"), fields.join(" "));
        facts.set(&format!("{name}.root"), root);
        facts.set(&format!("{name}.source"), source);
        facts.set(&format!("{name}.data"), words(superblock.split(',')));
    }
    facts.set("mounts", seen.keys().cloned().collect::<Vec<_>>().join(" "));
}

fn devices(facts: &mut Facts) {
    let mut open = vec![Path::new("/dev").to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = format!("dev.{}", path.display());
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            facts.set(&name, node(&path, &meta));
            if meta.is_dir() && path != Path::new("/dev/pts") {
                open.push(path);
            }
        }
    }
}

/// A node in words: kind, mode, owner, number or target.
pub(super) fn node(path: &Path, meta: &fs::Metadata) -> String {
    let rest = if meta.is_symlink() {
        let to = fs::read_link(path).unwrap_or_default();
        return format!("link to {}", to.display());
    } else if meta.rdev() != 0 {
        let (major, minor) = (
            rustix::fs::major(meta.rdev()),
            rustix::fs::minor(meta.rdev()),
        );
        format!(" {major}:{minor}")
    } else {
        String::new()
    };
    format!(
        "{} {:04o} {}:{}{rest}",
        kind_of(meta),
        meta.mode() & 0o7777,
        meta.uid(),
        meta.gid()
    )
}

fn kind_of(meta: &fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_dir() {
        "directory"
    } else if kind.is_char_device() {
        "character"
    } else if kind.is_block_device() {
        "block"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_symlink() {
        "link"
    } else {
        "file"
    }
}

fn cgroups(facts: &mut Facts) {
    let table = files::text("/proc/self/cgroup".as_ref()).unwrap_or_default();
    for line in table.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(controller), Some(path)) = (parts.next(), parts.next()) {
            facts.set(&format!("cgroup.{controller}"), path);
        }
    }
    let top = Path::new("/sys/fs/cgroup");
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let name = format!("cgroupfs.{}", entry.file_name().display());
        facts.set(&name, kind_of(&meta));
        if meta.is_dir() {
            // Groups below it: those of others must not show.
            let below = fs::read_dir(&path)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .count();
            facts.set(&format!("{name}.groups"), below > 0);
            let procs = files::text(&path.join("cgroup.procs")).unwrap_or_default();
            let own = procs.lines().any(|l| l == std::process::id().to_string());
            facts.set(&format!("{name}.own"), own);
            let writes = fs::File::options()
                .write(true)
                .open(path.join("cgroup.procs"));
            facts.set(&format!("{name}.writes"), outcome(writes));
        }
    }
}

fn namespaces(facts: &mut Facts) {
    for entry in fs::read_dir("/proc/self/ns")
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(to) = fs::read_link(entry.path()) {
            facts.set(&format!("ns.{}", entry.file_name().display()), to.display());
        }
    }
    for name in ["uid_map", "gid_map", "setgroups", "timens_offsets"] {
        let text = files::text(Path::new("/proc/self").join(name).as_ref()).unwrap_or_default();
        let text = words(text.split_whitespace());
        let value = if name.ends_with("_map") {
            text
        } else {
            text.replace(',', " ")
        };
        facts.set(&format!("ns.{name}"), value);
    }
}

fn system(facts: &mut Facts, sysctls: &[&str]) {
    let names = rustix::system::uname();
    facts.set("uts.nodename", names.nodename().to_string_lossy());
    facts.set("uts.domainname", names.domainname().to_string_lossy());
    facts.set("uts.machine", names.machine().to_string_lossy());
    for name in sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let text = files::text(path.as_ref()).unwrap_or_default();
        facts.set(&format!("sysctl.{name}"), text.trim());
    }
}

/// Paths that engines hide or protect, and those of our own root.
fn sees(facts: &mut Facts) {
    for path in [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/scsi",
        "/proc/bus",
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/shmmax",
        "/sys/firmware",
        "/sys/kernel",
        "/etc/secret",
        "/etc/secrets",
        "/data/file",
    ] {
        let Ok(meta) = fs::metadata(path) else {
            continue;
        };
        let inside = if meta.is_dir() {
            fs::read_dir(path).map_or("closed".to_owned(), |all| (all.count() > 0).to_string())
        } else {
            let opened = fs::File::open(path)
                .and_then(|mut file| std::io::Read::read(&mut file, &mut [0; 1]));
            opened.map_or_else(|e| error(&e), |n| (n > 0).to_string())
        };
        facts.set(
            &format!("sees.{path}"),
            format!("{} {inside}", kind_of(&meta)),
        );
        if meta.is_file() || meta.file_type().is_char_device() {
            // Opening to write changes nothing yet.
            let opened = fs::File::options().write(true).open(path);
            facts.set(&format!("opens.{path}"), outcome(opened));
        }
    }
    for path in [
        "/",
        "/etc",
        "/tmp",
        "/new",
        "/new/deeper",
        "/data",
        "/opt",
        "/dev",
        "/run",
        super::generate::IDMAPPED,
    ] {
        let Ok(meta) = fs::symlink_metadata(path) else {
            continue;
        };
        facts.set(&format!("node.{path}"), node(path.as_ref(), &meta));
        let mut inside: Vec<String> = fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        inside.sort();
        facts.set(&format!("holds.{path}"), inside.join(" "));
        let file = Path::new(path).join("made-by-the-probe");
        let made = fs::write(&file, "");
        facts.set(
            &format!("makes.{path}"),
            made.map_or_else(|e| error(&e), |()| "yes".into()),
        );
        let _none = fs::remove_file(&file);
    }
}

/// Calls that a filter may answer, and what they say.
fn calls(facts: &mut Facts) {
    let here = Path::new(REPORT);
    let say = |result: rustix::io::Result<()>| {
        result.map_or_else(
            |e| format!("error {}", e.raw_os_error()),
            |()| "yes".to_owned(),
        )
    };
    let (directory, link) = (here.join("d"), here.join("l"));
    facts.set(
        "call.mkdirat",
        say(rustix::fs::mkdirat(CWD, &directory, Mode::RWXU)),
    );
    facts.set(
        "call.symlinkat",
        say(rustix::fs::symlinkat("x", CWD, &link)),
    );
    facts.set(
        "call.chown",
        say(rustix::fs::chownat(
            CWD,
            &link,
            None,
            None,
            AtFlags::SYMLINK_NOFOLLOW,
        )),
    );
    facts.set(
        "call.getpriority",
        say(rustix::process::getpriority_process(None).map(drop)),
    );
    facts.set(
        "call.setgroups",
        say(rustix::thread::set_thread_groups(&[])),
    );
    let raised = rustix::process::setpriority_process(None, 19).map(drop);
    facts.set("call.setpriority", say(raised));
    let _none = fs::remove_dir(&directory);
    let _none = fs::remove_file(&link);
}

/// Tries to change every file and node that it was given and that lies on a
/// file system which could be the host's. Nothing of the host's may change: the
/// world outside looks. Files of `/proc` and `/sys` are left alone, because
/// their modes are the kernel's own.
fn reach(facts: &mut Facts) {
    let table = files::text("/proc/self/mountinfo".as_ref()).unwrap_or_default();
    let mut paths: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(str::to_owned)
        .collect();
    let nodes = fs::read_dir("/dev").into_iter().flatten().flatten();
    paths.extend(nodes.map(|e| e.path().display().to_string()));
    paths.retain(|path| path != "/" && path != REPORT && path != "/dev/pts");
    paths.sort();
    paths.dedup();
    for path in &paths {
        let is_plain = |stat: &StatFs| [0x0102_1994, 0xef53].contains(&stat.f_type);
        if fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink())
            || !rustix::fs::statfs(path.as_str()).is_ok_and(|stat| is_plain(&stat))
        {
            continue;
        }
        let Ok(meta) = fs::metadata(path) else {
            continue;
        };
        let mode = fs::Permissions::from_mode((meta.mode() & 0o7777) ^ 0o004);
        let changed = fs::set_permissions(path, mode);
        facts.set(&format!("reach.chmod.{path}"), outcome(changed));
        // By its path: opening a FIFO would wait for somebody at the other end.
        let touched = utimensat(CWD, path.as_str(), &EPOCH, AtFlags::empty());
        facts.set(
            &format!("reach.touch.{path}"),
            outcome(touched.map_err(std::io::Error::from)),
        );
        let back = fs::Permissions::from_mode(meta.mode() & 0o7777);
        // The world outside compares what is left: only the times of host files.
        if meta.is_dir() {
            let _refused = fs::set_permissions(path, back);
        }
    }
}

fn outcome<T>(result: std::io::Result<T>) -> String {
    match result {
        Ok(_) => "yes".to_owned(),
        Err(e) => error(&e),
    }
}

fn error(error: &std::io::Error) -> String {
    format!("error {}", error.raw_os_error().unwrap_or(0))
}
