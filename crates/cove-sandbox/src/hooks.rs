//! Hooks: programs that the specification runs at six points of a container's life, with its state
//! on their standard input; and the hand-over of a seccomp listener, which is told the same state.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cove_model::error::sentence;
use oci_spec::runtime::{Hook, Hooks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;

use crate::error::{Error, Result};
use crate::init::reason as words;
use crate::plan::{HookKind, Plan};
use crate::protocol::send_with_fds;
use crate::state::{OciState, Status, Stored};

/// What a hook finds around it where its own entry says nothing.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// The environment of the container's process, for hooks that are programs of the container;
    /// `None` is the runtime's own.
    pub env: Option<&'a [CString]>,
    pub output: &'a Output,
}

/// Where crun's annotations want what hooks write, which goes nowhere else but into a message about
/// one that fails.
#[derive(Debug, Default)]
pub(crate) struct Output {
    files: [Option<File>; 2],
}

impl Output {
    /// Opens the files for the hooks of these kinds, if there are any.
    pub(crate) fn open(
        hooks: Option<&Hooks>,
        kinds: &[HookKind],
        annotations: &HashMap<String, String>,
    ) -> Result<Self> {
        let mut output = Self::default();
        if kinds.iter().all(|kind| kind.of(hooks).is_empty()) {
            return Ok(output);
        }
        for (file, stream) in output.files.iter_mut().zip(["stdout", "stderr"]) {
            let Some(path) = annotations.get(&format!("run.oci.hooks.{stream}")) else {
                continue;
            };
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o600);
            let opened = options.open(path);
            *file = Some(opened.map_err(|e| Error::path("open the hooks' output", path, e))?);
        }
        Ok(output)
    }

    /// What has to stay open for it.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().flatten()
    }
}

/// Runs the hooks of one kind, in order; the first that fails ends it.
pub(crate) fn run(
    hooks: &[Hook],
    kind: HookKind,
    state: &OciState,
    setting: Setting<'_>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let input = serde_json::to_vec(state).map_err(|e| Error::os("describe the state", e))?;
    // As with the peers, where the runtime's own programs begin; it may be gone at the end.
    let directory = kind.is_of_runtime().then_some(state.bundle.as_path());
    let directory = directory.filter(|path| path.is_dir());
    for hook in hooks {
        one(hook, &input, setting, directory).map_err(|error| Error::Hook {
            kind: kind.name(),
            path: hook.path().clone(),
            reason: words(&error),
        })?;
    }
    Ok(())
}

/// Runs the hooks after a container's end, all of them, and collects what went wrong.
pub(crate) fn run_poststop(stored: &Stored) -> Vec<String> {
    let kind = HookKind::Poststop;
    let hooks = kind.of(stored.hooks.as_ref());
    let opened = Output::open(stored.hooks.as_ref(), &[kind], &stored.annotations);
    let (output, failed) = match opened {
        Ok(output) => (output, None),
        Err(error) => (Output::default(), Some(error)),
    };
    let setting = Setting {
        env: None,
        output: &output,
    };
    let state = stored.oci(Status::Stopped);
    let each = hooks
        .iter()
        .filter_map(|hook| run(std::slice::from_ref(hook), kind, &state, setting).err());
    let all = failed.into_iter().chain(each);
    all.map(|error| sentence(&error)).collect()
}

fn one(
    hook: &Hook,
    input: &[u8],
    setting: Setting<'_>,
    directory: Option<&Path>,
) -> io::Result<()> {
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
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    // An empty list is an environment too.
    if let Some(env) = hook.env() {
        let pairs = env
            .iter()
            .map(|entry| entry.split_once('=').unwrap_or((entry, "")));
        command.env_clear().envs(pairs);
    } else if let Some(env) = setting.env {
        let pairs = env.iter().filter_map(|entry| {
            let entry = entry.as_bytes();
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&entry[..at], &entry[at + 1..]);
            Some((OsStr::from_bytes(name), OsStr::from_bytes(value)))
        });
        command.env_clear().envs(pairs);
    }
    #[expect(
        unsafe_code,
        reason = "what the caller holds back or ignores is its own"
    )]
    // SAFETY: between fork and execution only dispositions and the mask of signals are set.
    unsafe {
        command.pre_exec(|| {
            cove_sys::exec::reset_signals();
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let limit = hook.timeout().filter(|seconds| *seconds > 0);
    let limit = limit.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let said = match attend(&mut child, input, setting.output, limit) {
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

/// A hook in a container is watched under the seccomp filter of its process.
const GLANCE: Duration = Duration::from_millis(10);

/// Gives a hook its input, takes its output and waits for its end; answers with the last of what it
/// said. `None` if the time is over before.
fn attend(
    child: &mut Child,
    mut input: &[u8],
    output: &Output,
    limit: Option<Duration>,
) -> io::Result<Option<Vec<u8>>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it has no pid"))?;
    // Where that is not allowed, its end is looked for again and again.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
    let mut stdin = child.stdin.take();
    let mut streams = [
        child.stdout.take().map(OwnedFd::from),
        child.stderr.take().map(OwnedFd::from),
    ];
    stdin
        .as_ref()
        .map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
    for pipe in streams.iter().flatten() {
        ioctl_fionbio(pipe, true)?;
    }
    let mut said = Vec::new();
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let wait = match (&pidfd, left) {
            (Some(_), left) => left,
            (None, left) => Some(left.map_or(GLANCE, |left| left.min(GLANCE))),
        };
        let wait = wait.map(Timespec::try_from).transpose();
        let wait = wait.map_err(|_| io::Error::other("timeout too long"))?;
        let mut fds = Vec::with_capacity(4);
        fds.extend(pidfd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        let open = streams.iter().flatten();
        fds.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let ready = match poll(&mut fds, wait.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if ready == 0 && left.is_some_and(|left| left.is_zero() || pidfd.is_some()) {
            return Ok(None);
        }
        let ended = match &pidfd {
            Some(_) => !fds[0].revents().is_empty(),
            None => child.try_wait()?.is_some(),
        };
        if let Some(pipe) = &stdin
            && !feed(pipe, &mut input)?
        {
            stdin = None;
        }
        for (stream, file) in streams.iter_mut().zip(&output.files) {
            if let Some(pipe) = &stream
                && !listen(pipe, file.as_ref(), &mut said)?
            {
                *stream = None;
            }
        }
        // The pipes may be open for ever in the hands of a grandchild.
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
fn listen(pipe: impl AsFd, file: Option<&File>, said: &mut Vec<u8>) -> io::Result<bool> {
    const PIPE: usize = 64 << 10;
    const KEPT: usize = 1024;
    let mut bytes = vec![0; PIPE];
    match rustix::io::read(pipe, &mut bytes[..]) {
        Ok(0) => return Ok(false),
        Ok(length) => {
            if let Some(mut file) = file {
                // What a hook does counts, not whether its words can be kept.
                file.write_all(&bytes[..length]).unwrap_or(());
            }
            said.extend_from_slice(&bytes[..length]);
        }
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

    fn state() -> OciState {
        OciState {
            oci_version: "1.3.0".into(),
            id: "x".into(),
            status: Status::Creating,
            pid: Some(7),
            bundle: "/b".into(),
            annotations: HashMap::new(),
        }
    }

    fn hook(script: &str, timeout: Option<i64>) -> Hook {
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script],
            "env": ["A=b"], "timeout": timeout });
        serde_json::from_value(hook).unwrap()
    }

    /// Runs one as a runtime does, its output nowhere.
    fn run(hook: &Hook, state: &OciState) -> Result<()> {
        let setting = Setting {
            env: None,
            output: &Output::default(),
        };
        super::run(
            std::slice::from_ref(hook),
            HookKind::Prestart,
            state,
            setting,
        )
    }

    fn text(path: &Path) -> String {
        cove_sys::fs::read_to_string(path, 1 << 20).unwrap()
    }

    #[test]
    fn a_hook_gets_state_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("cat > {0}; echo $A >> {0}", out.display());
        run(&hook(&script, None), &state()).unwrap();
        let text = text(&out);
        assert!(
            text.contains(r#""status":"creating""#) && text.ends_with("b\n"),
            "{text}"
        );
    }

    #[test]
    fn an_environment_that_is_not_given_is_inherited() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("/usr/bin/env > {}", out.display());
        let own = [c"INSIDE=a=b".to_owned(), c"EMPTY=".to_owned()];
        // What no shell exports that was not given it.
        let outer = "PATH=";
        for (given, env, found, not) in [
            (None, None, outer, "INSIDE"),
            (None, Some(&own[..]), "INSIDE=a=b\nEMPTY=\n", outer),
            (Some(vec!["A=x"]), Some(&own[..]), "A=x\n", "INSIDE"),
            (Some(vec![]), None, "PWD=", outer),
        ] {
            let mut hook = hook(&script, None);
            let list: Option<Vec<&str>> = given.clone();
            let list = list.map(|list| list.into_iter().map(str::to_owned).collect());
            hook.set_env(list);
            let setting = Setting {
                env,
                output: &Output::default(),
            };
            super::run(&[hook], HookKind::Prestart, &state(), setting).unwrap();
            let text = text(&out);
            assert!(
                text.contains(found) && !text.contains(not),
                "{given:?}: {text}"
            );
        }
    }

    #[test]
    fn what_hooks_write_goes_where_annotations_want_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("out"), "before\n").unwrap();
        let mut stored = Stored::unfinished("x");
        for stream in ["stdout", "stderr"] {
            let file = path(&stream[3..]).display().to_string();
            let name = format!("run.oci.hooks.{stream}");
            stored.annotations.insert(name, file);
        }
        let script = "echo one; echo two >&2; head -c 200000 /dev/zero | tr '\\0' x; exit 3";
        let mut hooks = Hooks::default();
        hooks.set_poststop(Some(vec![hook(script, None)]));
        stored.hooks = Some(hooks);
        let failures = run_poststop(&stored);
        assert!(
            failures.len() == 1 && failures[0].contains('3'),
            "{failures:?}"
        );
        let out = text(&path("out"));
        assert!(out.starts_with("before\none\nxx"), "{}", &out[..20]);
        assert_eq!(out.len(), 200_011);
        assert_eq!(text(&path("err")), "two\n");
        // A directory is no file.
        let nowhere = dir.path().display().to_string();
        stored
            .annotations
            .insert("run.oci.hooks.stdout".into(), nowhere);
        assert_eq!(run_poststop(&stored).len(), 2);
    }

    #[test]
    fn failures_are_told() {
        let fails = |script: &str, timeout| {
            let hook = hook(script, timeout);
            run(&hook, &state()).unwrap_err().to_string()
        };
        for stream in ["1", "2"] {
            let text = fails(&format!("echo broken >&{stream}; exit 3"), None);
            assert!(text.contains("prestart") && text.contains("broken") && text.contains('3'));
        }
        let missing = serde_json::from_value(json!({ "path": "/nope" })).unwrap();
        let text = run(&missing, &state()).unwrap_err().to_string();
        assert_eq!(text, "prestart hook /nope: no such file or directory");
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
        let run = |script, timeout| run(&hook(script, timeout), &state);
        run("exit 0", None).unwrap();
        run("test $(wc -c) -gt 200000", None).unwrap();
        let late = run("exec sleep 1000", Some(1)).unwrap_err();
        assert!(late.to_string().contains("timeout"), "{late}");
    }

    #[test]
    fn signals_that_the_caller_holds_back_reach_a_hook() {
        let killed = std::thread::spawn(|| {
            let _held = cove_sys::signalfd::SignalFd::block(&[15]).unwrap();
            run(&hook("kill $$; exit 0", None), &state())
        });
        let killed = killed.join().unwrap().unwrap_err();
        assert!(killed.to_string().contains("signal: 15"), "{killed}");
    }
}
