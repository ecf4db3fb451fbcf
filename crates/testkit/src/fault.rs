//! Faults of processes: killed at a chosen system call or a random moment,
//! system calls that fail.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::cmd::{Cmd, Output};
use crate::rng::Rng;
use crate::roots::{Roots, kill};

/// The same command, killed as it enters the `nth` call (from 1) of one of
/// `calls` (strace's syntax, `all` for any). Its children live on, as after a
/// `kill -9` of one process.
#[must_use]
pub fn killed_at(cmd: Cmd, calls: &str, nth: u32) -> Cmd {
    inject(cmd, &format!("{calls}:signal=SIGKILL:when={nth}"))
}

/// The same command, whose `nth` call of one of `calls` and every later one
/// fails with `error` (`EIO`, `ENOSPC`, …).
#[must_use]
pub fn failing_at(cmd: Cmd, calls: &str, error: &str, nth: u32) -> Cmd {
    inject(cmd, &format!("{calls}:error={error}:when={nth}+"))
}

fn inject(cmd: Cmd, what: &str) -> Cmd {
    let inject = format!("inject={what}");
    // Not -f: strace would wait for a supervisor that lives on, and a signal
    // for the first thread ends the others as well.
    cmd.under(
        "strace",
        &[
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            "signal=none",
            "-e",
            &inject,
            "--",
        ],
    )
}

/// Runs a command and kills it at a random moment within `span`; tells whether
/// it was killed before its end.
#[must_use]
pub fn killed_within(cmd: &Cmd, span: Duration, rng: &mut Rng) -> (Output, bool) {
    let running = cmd.start();
    let ended = running.ends_within(moment(span, rng));
    if !ended {
        running.signal(Signal::KILL);
    }
    (running.wait(), !ended)
}

/// Runs a command, and at a random moment within `span` kills one process of
/// Cove beside it: a supervisor or a keeper. With `both` the command is killed
/// in the same moment. Tells which process was killed.
#[must_use]
pub fn killed_beside(
    cmd: &Cmd,
    span: Duration,
    both: bool,
    place: (&Roots, &Path),
    rng: &mut Rng,
) -> (Output, Option<String>) {
    let (roots, program) = place;
    let running = cmd.start();
    let ended = running.ends_within(moment(span, rng));
    let ours: Vec<u32> = processes(roots, program)
        .into_iter()
        .filter(|pid| *pid != running.pid())
        .collect();
    if both && !ended {
        running.signal(Signal::KILL);
    }
    let killed = pick(&ours, rng).map(|pid| {
        let name = name_of(pid);
        kill(pid);
        format!("{name} {pid}")
    });
    (running.wait(), killed)
}

/// Kills one random process of these roots that runs `program`; tells which.
#[must_use]
pub fn kill_one(roots: &Roots, program: &Path, rng: &mut Rng) -> Option<u32> {
    let pid = pick(&processes(roots, program), rng)?;
    kill(pid);
    Some(pid)
}

/// Kills one process and waits until it is gone.
pub fn kill_process(pid: u32) {
    kill(pid);
}

/// A moment within a span of time.
#[must_use]
pub fn moment(span: Duration, rng: &mut Rng) -> Duration {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(rng.below(nanos))
}

fn pick(all: &[u32], rng: &mut Rng) -> Option<u32> {
    let n = usize::try_from(rng.below(all.len().max(1) as u64)).ok()?;
    all.get(n).copied()
}

/// The processes of these roots that run `program`. Cove runs from a sealed
/// copy at times, so the name counts, not the path; it comes first because it
/// is cheap to ask for. A container's first process has its supervisor's name
/// until it executes its program, which is before the list is used at times.
fn processes(roots: &Roots, program: &Path) -> Vec<u32> {
    let own = program
        .file_name()
        .map(|n| n.to_string_lossy().into_owned());
    let own = own.filter(|name| !name.is_empty());
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            own.as_ref()
                .is_some_and(|own| name_of(*pid).starts_with(own))
                && !is_inside(*pid)
                && crate::roots::belongs(*pid, roots.path())
        })
        .collect()
}

fn name_of(pid: u32) -> String {
    let name = crate::files::text(format!("/proc/{pid}/comm").as_ref());
    name.unwrap_or_default().trim().to_owned()
}

/// Whether a process is a container's, from its first moment on. One that
/// nobody can ask any more is none of Cove's either.
fn is_inside(pid: u32) -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    namespace(&pid.to_string()) != namespace("self")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_nth_call_kills() {
        let script = "echo one; echo two; echo three";
        let output = killed_at(Cmd::new("sh").args(["-c", script]), "write", 2).run();
        assert_eq!(output.out(), "one\n");
        assert!(!output.success());
    }

    #[test]
    fn the_nth_call_fails() {
        let output = failing_at(Cmd::new("cat").input("x"), "write", "ENOSPC", 1).run();
        assert_eq!(
            (output.code(), output.out()),
            (1, String::new()),
            "{output}"
        );
    }

    #[test]
    fn a_moment_within_the_span_kills() {
        let mut rng = Rng::new(1);
        let (output, killed) = killed_within(
            &Cmd::new("sleep").arg("9"),
            Duration::from_millis(5),
            &mut rng,
        );
        assert!(killed);
        assert_eq!(output.code(), 137);
    }

    #[test]
    fn processes_inside_containers_are_not_cove() {
        let roots = Roots::new();
        let start = |wrapper: &str, words: &[&str]| {
            let cmd = Cmd::new(wrapper).args(words).env("MARK", roots.path());
            cmd.start()
        };
        let script = "sleep 600 & wait";
        let inside = start("unshare", &["--pid", "--fork", "sh", "-c", script]);
        let outside = start("sh", &["-c", script]);
        let sleepers = || {
            let all = roots.processes().into_iter();
            all.filter(|pid| name_of(*pid) == "sleep").count()
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while sleepers() < 2 {
            assert!(Instant::now() < deadline, "both sleep");
        }
        assert_eq!(processes(&roots, Path::new("/bin/sleep")).len(), 1);
        drop(roots);
        let _ended = (inside.wait(), outside.wait());
    }
}
