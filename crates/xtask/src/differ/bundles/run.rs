//! One trial on one runtime: what it made of the configuration, as facts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cmd::{Cmd, Output};
use testkit::files;

use super::facts::Facts;
use super::generate::{BASE, caller_script, complete, executed};
use super::host::{Host, settle};
use super::probe::{DONE, node};
use super::world::{World, hierarchies};

/// A runtime that takes bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Runtime {
    Cove,
    Runc,
    Crun,
}

/// All of them, ours first.
pub(super) const ALL: [Runtime; 3] = [Runtime::Cove, Runtime::Runc, Runtime::Crun];

impl Runtime {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cove => "cove",
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }

    fn words(self, world: &World) -> Vec<String> {
        let mut words = match self {
            Self::Cove => vec![world.cove.display().to_string(), "oci".to_owned()],
            Self::Runc | Self::Crun => vec![self.name().to_owned()],
        };
        words.push("--root".to_owned());
        words.push(world.path("state").display().to_string());
        words
    }
}

/// What came of it, and what the runtime said.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) facts: Facts,
    pub(super) said: String,
    /// It was ended because it took too long: of it nothing is known.
    pub(super) hung: bool,
}

/// Runs a trial to its end and puts the host back.
pub(super) fn run(world: &World, trial: &Value, runtime: Runtime) -> Result<Report, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", world.directory.display());
    let id = format!("{}-c", world.ground.cgroup);
    let mut config = complete(trial, &world.ground).to_string();
    config = config.replace("@ID", &id);
    world.bundle(owner(trial)).map_err(failed)?;
    fs::write(world.path("bundle/config.json"), config).map_err(failed)?;
    let before = Host::look(world);
    let mut facts = Facts::new();
    let terminal = trial["config"]["process"]["terminal"] == json!(true);
    let output = if trial["life"] == json!("create") {
        by_steps(world, trial, runtime, &id, &mut facts)
    } else if trial["life"] == json!("exec") {
        fs::write(world.path("process.json"), executed(trial).to_string()).map_err(failed)?;
        into_it(world, trial, runtime, &id)
    } else {
        call(
            world,
            trial,
            runtime,
            &["run", "--bundle", &text(&world.path("bundle")), &id],
            terminal,
        )
    };
    gather(world, &mut facts);
    // A container that is still there is a fault of its own.
    if world.path("state").join(&id).exists() {
        let mut words = runtime.words(world);
        words.extend(["delete".to_owned(), "--force".to_owned(), id.clone()]);
        let deleted = command(&words).run();
        if trial["life"] == json!("run") {
            facts.set("left", deleted.code());
        }
    }
    settle(world);
    let after = Host::look(world);
    facts.take("host.", after.since(&before));
    before.restore(world, &after);
    root(world, &mut facts);
    let said: String = [world.path("out"), world.path("err")]
        .iter()
        .filter_map(|path| files::text(path))
        .collect();
    if facts.get("probe.reported").is_some() {
        facts.set("outcome", "runs");
        let code = output.code();
        facts.set("exit", if code == i32::from(DONE) { 0 } else { code });
    } else if output.timed_out {
        facts.set("outcome", "hangs");
    } else {
        facts.set("outcome", format!("refused: {}", message(&said)));
    }
    Ok(Report {
        facts: super::normal::normal(world, &id, trial, facts),
        said: format!("status {}: {}", output.code(), said.trim()),
        hung: output.timed_out,
    })
}

/// The sentence of a runtime's last words.
fn message(said: &str) -> String {
    let plain = without_colours(said);
    let last = plain.trim().lines().last().unwrap_or_default();
    let text = last.split_once("msg=\"").map_or(last, |(_, text)| text);
    text.trim_end_matches(['"', '\r']).trim().to_owned()
}

/// A text without the colours that it has on a terminal.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

/// The host's id that owns the root filesystem: that of the container's root.
fn owner(trial: &Value) -> u32 {
    let spaces = trial["config"]["linux"]["namespaces"].as_array();
    let user = spaces
        .into_iter()
        .flatten()
        .any(|s| s["type"] == json!("user"));
    if user { BASE } else { 0 }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A call of the runtime by a caller of whom there is nothing to say.
fn command(words: &[String]) -> Cmd {
    Cmd::new("env")
        .args(["-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/caller"])
        .args(words)
        .limit(Duration::from_secs(20))
}

/// Calls the runtime in the caller's state.
fn call(world: &World, trial: &Value, runtime: Runtime, words: &[&str], terminal: bool) -> Output {
    let mut all = runtime.words(world);
    all.extend(words.iter().map(|w| (*w).to_owned()));
    if terminal {
        all = vec![
            "script".into(),
            "-qefc".into(),
            all.join(" "),
            "/dev/null".into(),
        ];
    }
    let mut caller = trial["caller"].clone();
    // Of the caller's streams the terminal takes the place; `script` without
    // one writes its output into the terminal that it reads, without end.
    if terminal && let Some(all) = caller.as_object_mut() {
        let _none_closed = all.remove("closed");
    }
    // With ends of children ignored, crun and script wait for ever.
    if (terminal || runtime == Runtime::Crun)
        && let Some(ignored) = caller["ignore"].as_array_mut()
    {
        ignored.retain(|name| *name != json!("CHLD"));
    }
    let script = caller_script(&caller, &text(&world.directory));
    Cmd::new("sh")
        .args(["-c", &script, "caller"])
        .args(all)
        .limit(Duration::from_secs(20))
        .run()
}

/// Creates, looks at the groups from outside, starts, waits, deletes.
fn by_steps(world: &World, trial: &Value, runtime: Runtime, id: &str, facts: &mut Facts) -> Output {
    let pid_file = text(&world.path("bundle/pid"));
    let bundle = text(&world.path("bundle"));
    let words = ["create", "--bundle", &bundle, "--pid-file", &pid_file, id];
    let created = call(world, trial, runtime, &words, false);
    if !created.success() {
        return created;
    }
    let pid = files::text(pid_file.as_ref()).and_then(|t| t.trim().parse::<u32>().ok());
    if let Some(pid) = pid {
        limits(pid, id, facts);
    }
    let mut on = runtime.words(world);
    on.extend(["start".to_owned(), id.to_owned()]);
    let started = command(&on).run();
    facts.set("start", if started.success() { "starts" } else { "fails" });
    let status = pid.and_then(|pid| wait(pid, Duration::from_secs(15)));
    facts.set("wait", status.map_or("never".to_owned(), |s| s.to_string()));
    let _last = on.pop();
    let _last = on.pop();
    on.extend(["delete".to_owned(), id.to_owned()]);
    let deleted = command(&on).run();
    facts.set(
        "delete",
        if deleted.success() {
            "deletes"
        } else {
            "fails"
        },
    );
    let mut whole = started;
    if let Some(status) = status {
        use std::os::unix::process::ExitStatusExt as _;
        whole.status = std::process::ExitStatus::from_raw(status);
    }
    whole
}

/// Starts a container that waits and executes the process of the trial in it,
/// in the caller's state; whoever started the container has none.
fn into_it(world: &World, trial: &Value, runtime: Runtime, id: &str) -> Output {
    let pid_file = text(&world.path("bundle/pid"));
    let bundle = text(&world.path("bundle"));
    let words = ["create", "--bundle", &bundle, "--pid-file", &pid_file, id];
    let created = call(world, &json!({"caller": {}}), runtime, &words, false);
    if !created.success() {
        return created;
    }
    let on = |words: &[&str]| {
        let mut all = runtime.words(world);
        all.extend(words.iter().map(|word| (*word).to_owned()));
        command(&all).run()
    };
    let started = on(&["start", id]);
    let file = text(&world.path("process.json"));
    let output = if started.success() {
        call(
            world,
            trial,
            runtime,
            &["exec", "--process", &file, id],
            false,
        )
    } else {
        started
    };
    let pid = files::text(pid_file.as_ref()).and_then(|t| t.trim().parse::<u32>().ok());
    let _ended = on(&["kill", id, "KILL"]);
    let _status = pid.and_then(|pid| wait(pid, Duration::from_secs(15)));
    let _gone = on(&["delete", id]);
    output
}

/// Waits for a process that has become ours, and tells how it ended.
fn wait(pid: u32, time: Duration) -> Option<i32> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    if !testkit::cmd::readable(&pidfd, time) {
        return None;
    }
    let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    ended.ok().flatten().map(|(_, status)| status.as_raw())
}

/// Limits of a container that has been created, hierarchy by hierarchy.
fn limits(pid: u32, id: &str, facts: &mut Facts) {
    let table = files::text(format!("/proc/{pid}/cgroup").as_ref()).unwrap_or_default();
    for line in table.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = controllers.trim_start_matches("name=");
        facts.set(&format!("outside.cgroup.{name}"), path);
        if !path.contains(id) {
            continue;
        }
        let Some(top) = hierarchies().into_iter().find(|h| h.ends_with(name)) else {
            continue;
        };
        let group = top.join(path.trim_start_matches('/'));
        for file in [
            "memory.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.swappiness",
            "memory.oom_control",
            "cpu.shares",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpuset.cpus",
            "cpuset.mems",
            "pids.max",
            "blkio.throttle.read_bps_device",
            "blkio.throttle.write_iops_device",
            "devices.list",
            "freezer.state",
        ] {
            if let Some(text) = files::text(&group.join(file)) {
                let mut lines: Vec<&str> = text.lines().collect();
                lines.sort_unstable();
                facts.set(&format!("outside.{file}"), lines.join(", "));
            }
        }
    }
}

/// The reports that the container and the hooks left.
fn gather(world: &World, facts: &mut Facts) {
    if let Some(report) = files::text(&world.path("report/probe")).and_then(|t| Facts::parse(&t)) {
        facts.set("probe.reported", "yes");
        facts.take("", report);
    }
    let hooks = files::text(&world.path("report/hooks")).unwrap_or_default();
    let mut order = Vec::new();
    for line in hooks.lines() {
        let Ok(hook) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let kind = hook["kind"].as_str().unwrap_or_default();
        order.push(kind.to_owned());
        if let Some(seen) = hook["facts"].as_str().and_then(Facts::parse) {
            facts.take(&format!("hook.{kind}."), seen);
        }
    }
    facts.set("hooks", order.join(" "));
}

/// What is left in the root: mount points that were made.
fn root(world: &World, facts: &mut Facts) {
    let root = world.path("bundle/rootfs");
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            let name = path.strip_prefix(&root).unwrap_or(&path).display();
            facts.set(&format!("root./{name}"), node(&path, &meta));
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
}
