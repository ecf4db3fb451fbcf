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
    let nanos = rng.below(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1));
    let ended = running.ends_within(Duration::from_nanos(nanos));
    if !ended {
        running.signal(Signal::KILL);
    }
    (running.wait(), !ended)
}

/// Kills one random process of these roots that runs `program`; tells which.
#[must_use]
pub fn kill_one(roots: &Roots, program: &Path, rng: &mut Rng) -> Option<u32> {
    let ours: Vec<u32> = roots
        .processes()
        .into_iter()
        .filter(|pid| runs(*pid, program))
        .collect();
    let n = usize::try_from(rng.below(ours.len().max(1) as u64)).ok()?;
    let pid = *ours.get(n)?;
    kill(pid);
    Some(pid)
}

/// Cove runs from a sealed copy at times, so the name counts, not the path.
fn runs(pid: u32, program: &Path) -> bool {
    let name = crate::files::text(format!("/proc/{pid}/comm").as_ref()).unwrap_or_default();
    let own = program
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.trim().starts_with(&own) && !own.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
