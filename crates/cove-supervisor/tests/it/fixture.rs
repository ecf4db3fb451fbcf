//! One supervised shell script in a directory of its own.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cove_model::control::{Attach, Exited, Reply, Request, StopTimeout, WaitUntil, WhenSlow};
use cove_model::frames::Frame;
use cove_model::status::Status;
use cove_supervisor::client::{Attachment, Client};
use cove_supervisor::config::{Config, LogConfig};
use cove_supervisor::logs::{LogReader, LogStream, ReadOptions};
use cove_supervisor::spawn::{SpawnError, spawn};
use cove_supervisor::state::{Observed, observe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

/// All streams of an instance that runs already.
pub(crate) const ALL: Attach = Attach {
    stdin: true,
    stdout: true,
    stderr: true,
    start: false,
    size: None,
    when_slow: WhenSlow::Drop,
};

pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) script: String,
    pub(crate) fail_create: bool,
    pub(crate) fail_start: bool,
    pub(crate) fail_adopt: bool,
    supervisor: Option<i32>,
    go: Option<File>,
}

impl Fixture {
    pub(crate) fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("instance", dir.path().to_owned());
        config.log = Some(LogConfig::new(dir.path().join("log")));
        config.start = true;
        let script = script.to_owned();
        Self {
            dir,
            config,
            script,
            fail_create: false,
            fail_start: false,
            fail_adopt: false,
            supervisor: None,
            go: None,
        }
    }

    /// Starts the supervisor; `config.start` and `config.adopt` say how.
    pub(crate) fn begin(&mut self) -> Result<Status, SpawnError> {
        let me = std::env::current_exe().unwrap();
        let exe = me
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("examples/shell_supervisor");
        let exe = File::open(exe).unwrap();
        let job = serde_json::json!({
            "config": self.config,
            "script": self.script,
            "fail_create": self.fail_create,
            "fail_start": self.fail_start,
            "fail_adopt": self.fail_adopt,
        });
        let path = CString::new("PATH=/usr/bin:/bin").unwrap();
        let argv = [CString::new("shell_supervisor").unwrap()];
        let handle = spawn(exe.as_fd(), &argv, &[path], job.to_string().as_bytes())?;
        self.supervisor = Some(handle.pid());
        handle.wait_ready()
    }

    pub(crate) fn supervisor(&self) -> i32 {
        self.supervisor.unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.dir.path())
    }

    pub(crate) fn attach(&self, attach: Attach) -> Attachment {
        self.client().attach(attach).unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        self.observe().status
    }

    pub(crate) fn observe(&self) -> Observed {
        observe(self.dir.path()).unwrap().unwrap()
    }

    pub(crate) fn wait(&self) -> Exited {
        self.client().wait(WaitUntil::Removed).unwrap()
    }

    /// Ends the instance and tells its exit status.
    pub(crate) fn stop(&self, timeout: StopTimeout) -> i32 {
        let stop = Request::Stop {
            timeout,
            signal: None,
        };
        match self.client().request(&stop).unwrap() {
            Reply::Exited(exited) => exited.exit_code,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the supervisor process is gone.
    pub(crate) fn join(&mut self) -> i32 {
        let pid = Pid::from_raw(self.supervisor.take().unwrap());
        waitpid(pid, WaitOptions::empty())
            .unwrap()
            .unwrap()
            .1
            .exit_status()
            .unwrap_or(-1)
    }

    /// Kills the supervisor without a word. What it told the shell must not be
    /// lost with it, should the shell only come to read it now.
    pub(crate) fn murder(&mut self) {
        let go = File::options().read(true).write(true).open(self.path("go"));
        self.go = Some(go.unwrap());
        let pid = Pid::from_raw(self.supervisor.take().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        waitpid(Some(pid), WaitOptions::empty()).unwrap();
    }

    /// Kills the supervisor and lets another take over.
    pub(crate) fn replace(&mut self) -> Status {
        self.murder();
        self.config.adopt = true;
        self.begin().unwrap()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        let text = cove_sys::fs::read_to_string(&self.path("calls"), 1 << 20).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What became of the instance, as the world was told.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = cove_sys::fs::read_to_string(&self.path("told"), 1 << 20).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A FIFO for the script to wait on; what is written to it is let through.
    pub(crate) fn gate(&self, name: &str) -> File {
        let path = self.path(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        File::options().read(true).write(true).open(path).unwrap()
    }

    pub(crate) fn logged(&self, stream: LogStream) -> Vec<u8> {
        let options = ReadOptions::default();
        let mut reader = LogReader::open(&self.path("log"), options).unwrap();
        let mut bytes = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            if line.stream == stream {
                bytes.extend(line.bytes);
            }
        }
        bytes
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Ok(Some(seen)) = observe(self.dir.path())
            && let Some(init) = seen.status.init.and_then(|init| Pid::from_raw(init.pid))
            && self.supervisor.is_some()
        {
            rustix::process::kill_process_group(init, Signal::KILL).unwrap_or(());
        }
        if let Some(pid) = self.supervisor.take().and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).unwrap_or(());
            waitpid(Some(pid), WaitOptions::empty()).ok();
        }
    }
}

/// What arrives on an attachment.
#[derive(Debug)]
pub(crate) enum Event {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exited(Exited),
    Cut,
    Lost,
}

/// Waits for what comes next.
pub(crate) fn next(attachment: &mut Attachment) -> Event {
    loop {
        if !attachment.fill().unwrap() {
            return Event::Lost;
        }
        match attachment.next_frame().unwrap() {
            Some(Frame::Stdout(bytes)) => return Event::Stdout(bytes.to_vec()),
            Some(Frame::Stderr(bytes)) => return Event::Stderr(bytes.to_vec()),
            Some(Frame::Exited(exited)) => return Event::Exited(exited),
            Some(Frame::Cut(_)) => return Event::Cut,
            None => {}
        }
        poll(&mut [PollFd::new(attachment, PollFlags::IN)], None).unwrap();
    }
}

/// All there is to come: stdout, stderr, and how it ended.
pub(crate) fn collect(attachment: &mut Attachment) -> (Vec<u8>, Vec<u8>, Event) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match next(attachment) {
            Event::Stdout(bytes) => out.extend(bytes),
            Event::Stderr(bytes) => err.extend(bytes),
            event @ (Event::Exited(_) | Event::Cut | Event::Lost) => return (out, err, event),
        }
    }
}

/// Asks again until it holds; for what only /proc tells.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        poll(&mut [], Some(&pause)).unwrap();
    }
}

pub(crate) fn pidfd(pid: i32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}

pub(crate) fn exited(event: &Event) -> i32 {
    match event {
        Event::Exited(exited) => exited.exit_code,
        other => panic!("{other:?}"),
    }
}
