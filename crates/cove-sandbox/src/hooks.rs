//! Hooks: programs that the specification runs at six points of a container's life, with its state
//! on their standard input; and the hand-over of a seccomp listener, which is told the same state.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;

use crate::error::{Error, Result};
use crate::plan::{HookKind, Plan};
use crate::protocol::send_with_fds;
use crate::state::OciState;

/// Runs the hooks of one kind, in order; the first that fails ends it.
pub(crate) fn run(hooks: &[Hook], kind: HookKind, state: &OciState) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let input = serde_json::to_vec(state).map_err(|e| Error::os("describe the state", e))?;
    for hook in hooks {
        one(hook, &input).map_err(|error| Error::Hook {
            kind: kind.name(),
            path: hook.path().clone(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// Runs all of them and collects what went wrong.
pub(crate) fn run_all(hooks: &[Hook], kind: HookKind, state: &OciState) -> Vec<String> {
    hooks
        .iter()
        .filter_map(|hook| run(std::slice::from_ref(hook), kind, state).err())
        .map(|error| error.to_string())
        .collect()
}

fn one(hook: &Hook, input: &[u8]) -> io::Result<()> {
    if !hook.path().is_absolute() {
        return Err(io::Error::other("its path is not absolute"));
    }
    let args = hook.args().as_deref().unwrap_or_default();
    #[expect(
        clippy::disallowed_methods,
        reason = "the specification names a program to run"
    )]
    let mut command = Command::new(hook.path());
    if let Some((name, rest)) = args.split_first() {
        command.arg0(name).args(rest);
    }
    command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for entry in hook.env().iter().flatten() {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(key, value);
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its input.
        match stdin.write_all(input) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let limit = hook.timeout().filter(|seconds| *seconds > 0);
    let limit = limit.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let finished = wait(&child, limit);
    if !matches!(finished, Ok(true)) {
        child.kill()?;
        child.wait()?;
        finished?;
        return Err(io::Error::other("it did not end within its timeout"));
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{status}{}",
        last_words(&mut child)
    )))
}

/// Waits for the end; `false` if the time is over before.
fn wait(child: &Child, limit: Option<Duration>) -> io::Result<bool> {
    let Some(limit) = limit else { return Ok(true) };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no pid"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::Error::other("timeout too long"))?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                return Ok(false);
            }
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn last_words(child: &mut Child) -> String {
    let mut text = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Only what is there already: a grandchild may hold the pipe open for ever.
        let _ = rustix::io::ioctl_fionbio(&stderr, true);
        let _end = stderr.take(1024).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// Sends a seccomp listener, the pid of its process and the state of the container to the agent at
/// the other end.
pub(crate) fn send_listener(
    socket: &OwnedFd,
    listener: &OwnedFd,
    plan: &Plan<'_>,
    pid: Option<i32>,
    state: &OciState,
) -> io::Result<()> {
    let profile = plan.linux.and_then(|linux| linux.seccomp().as_ref());
    let metadata = profile.and_then(|profile| profile.listener_metadata().as_deref());
    let text = serde_json::to_vec(&json!({
        "ociVersion": plan.spec.version(),
        "fds": ["seccompFd"],
        "pid": pid.unwrap_or(0),
        "metadata": metadata.unwrap_or_default(),
        "state": state,
    }))?;
    send_with_fds(socket.as_fd(), &[IoSlice::new(&text)], &[listener.as_fd()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Status;

    fn state() -> OciState {
        OciState {
            oci_version: "1.3.0".into(),
            id: "x".into(),
            status: Status::Creating,
            pid: Some(7),
            bundle: "/b".into(),
            annotations: std::collections::HashMap::new(),
        }
    }

    fn hook(script: &str, timeout: Option<i64>) -> Hook {
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["A=b"], "timeout": timeout });
        serde_json::from_value(hook).unwrap()
    }

    #[test]
    fn a_hook_gets_state_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("cat > {0}; echo $A >> {0}", out.display());
        run(&[hook(&script, None)], HookKind::Poststop, &state()).unwrap();
        let text = String::from_utf8(cove_sys::fs::read(&out, 4096).unwrap()).unwrap();
        assert!(
            text.contains(r#""status":"creating""#) && text.ends_with("b\n"),
            "{text}"
        );
    }

    #[test]
    fn failures_are_told() {
        let fails = |script: &str, timeout| {
            run(&[hook(script, timeout)], HookKind::Prestart, &state())
                .unwrap_err()
                .to_string()
        };
        let text = fails("echo broken >&2; exit 3", None);
        assert!(text.contains("prestart") && text.contains("broken") && text.contains('3'));
        assert!(fails("exec sleep 1000", Some(1)).contains("timeout"));
    }
}
