//! Hooks: programs that the specification runs at six points of a container's life, with its state
//! on their standard input; and the hand-over of a seccomp listener, which is told the same state.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
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
    // SAFETY: between fork and execution only the signal mask is set.
    #[expect(unsafe_code, reason = "the caller may hold signals back for itself")]
    unsafe {
        command.pre_exec(cove_sys::signalfd::unblock_all);
    }
    let mut child = command.spawn()?;
    let limit = hook.timeout().filter(|seconds| *seconds > 0);
    let limit = limit.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let said = match attend(&mut child, input, limit) {
        Ok(Some(said)) => said,
        other => {
            child.kill()?;
            child.wait()?;
            other?;
            return Err(io::Error::other("it did not end within its timeout"));
        }
    };
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    Err(io::Error::other(match said.trim() {
        "" => status.to_string(),
        said => format!("{status}: {said}"),
    }))
}

/// Gives a hook its input, listens to its standard error and waits for its end; answers with the
/// last of what it said. `None` if the time is over before.
fn attend(
    child: &mut Child,
    mut input: &[u8],
    limit: Option<Duration>,
) -> io::Result<Option<Vec<u8>>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no pid"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    stdin
        .as_ref()
        .map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
    stderr
        .as_ref()
        .map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
    let mut said = Vec::new();
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose();
        let left = left.map_err(|_| io::Error::other("timeout too long"))?;
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        fds.extend(stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        fds.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ended = !fds[0].revents().is_empty();
        if let Some(pipe) = &stdin
            && !feed(pipe, &mut input)?
        {
            stdin = None;
        }
        if let Some(pipe) = &stderr
            && !listen(pipe, &mut said)?
        {
            stderr = None;
        }
        // The pipe may be open for ever in the hands of a grandchild.
        if ended {
            return Ok(Some(said));
        }
    }
}

/// Writes what the pipe takes now; false when nothing more is to be written.
fn feed(pipe: impl AsFd, input: &mut &[u8]) -> io::Result<bool> {
    match rustix::io::write(pipe, input) {
        Ok(length) => {
            *input = &input[length..];
            Ok(!input.is_empty())
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(true),
        // A hook need not read its input.
        Err(Errno::PIPE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads all that a pipe holds now and keeps the end of it; false when nothing more will come.
fn listen(pipe: impl AsFd, said: &mut Vec<u8>) -> io::Result<bool> {
    const PIPE: usize = 64 << 10;
    const KEPT: usize = 1024;
    let mut bytes = vec![0; PIPE];
    match rustix::io::read(pipe, &mut bytes[..]) {
        Ok(0) => return Ok(false),
        Ok(length) => said.extend_from_slice(&bytes[..length]),
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    said.drain(..said.len().saturating_sub(KEPT));
    Ok(true)
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
        // More than a pipe holds; the end is what is told.
        let much = "head -c 200000 /dev/zero | tr '\\0' x >&2; echo no good >&2; exit 3";
        let text = fails(much, Some(60));
        assert!(text.ends_with("no good") && text.len() < 2000, "{text}");
    }

    #[test]
    fn a_hook_may_leave_more_input_than_a_pipe_holds() {
        let mut state = state();
        let long = "x".repeat(200_000);
        state.annotations.insert("long".into(), long);
        let run = |script, timeout| run(&[hook(script, timeout)], HookKind::Prestart, &state);
        run("exit 0", None).unwrap();
        run("test $(wc -c) -gt 200000", None).unwrap();
        let late = run("exec sleep 1000", Some(1)).unwrap_err();
        assert!(late.to_string().contains("timeout"), "{late}");
    }

    #[test]
    fn signals_that_the_caller_holds_back_reach_a_hook() {
        let killed = std::thread::spawn(|| {
            let _held = cove_sys::signalfd::SignalFd::block(&[15]).unwrap();
            run(
                &[hook("kill $$; exit 0", None)],
                HookKind::Poststop,
                &state(),
            )
        });
        let killed = killed.join().unwrap().unwrap_err();
        assert!(killed.to_string().contains("signal: 15"), "{killed}");
    }
}
