//! A user at a terminal: `run -it`, `attach`, the keys that detach.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use testkit::cmd::{pidfd, readable};
use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_shell_on_a_terminal() {
    let cove = cove();
    let mut user = User::new(24, 80);
    let mut client = user.start(&cove, &["run", "-it", "--rm", IMAGE, "sh"]);
    user.sees("/ # ");
    assert!(user.is_raw());
    user.types("stty size; tty\n");
    user.sees("24 80\r\n");
    user.sees("/dev/pts/0\r\n");
    user.resizes(50, 132);
    // The size changes some time after the signal.
    user.types("until [ \"$(stty size)\" = '50 132' ]; do :; done; echo wi''de\n");
    user.sees("wide\r\n");
    // What a shell does with control characters.
    user.types("echo ru''ns; cat\n");
    user.sees("runs\r\n");
    // Only what cat gives back, after the terminal's echo, says that it is there to interrupt.
    user.types("mark\n");
    user.sees("mark\r\n");
    user.sees("mark\r\n");
    user.types("\u{3}");
    user.sees("^C");
    user.sees("/ # ");
    user.types("exit 42\n");
    assert_eq!(client.wait().unwrap().code(), Some(42));
    assert!(!user.is_raw());
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
}

#[test]
fn keys_detach_and_another_client_goes_on() {
    let cove = cove();
    let mut user = User::new(24, 80);
    let script = "while read line; do echo got $line; done; exit 5";
    let run = ["run", "-it", "--name", "box", IMAGE, "sh", "-c", script];
    let mut client = user.start(&cove, &run);
    user.types("one\n");
    user.sees("got one\r\n");
    user.types("\u{10}\u{11}");
    assert_eq!(client.wait().unwrap().code(), Some(0));
    assert!(!user.is_raw());
    assert_eq!(inspect(&cove, "{{.State.Status}}"), "running");

    let mut client = user.start(&cove, &["attach", "--detach-keys", "ctrl-x,q", "box"]);
    user.becomes_raw();
    // The other keys are only keys now.
    user.types("two\u{18}!\n");
    user.sees("got two\u{18}!\r\n");
    user.types("\u{18}q");
    assert_eq!(client.wait().unwrap().code(), Some(1));
    user.sees("read escape sequence");
    assert!(!user.is_raw());

    let mut client = user.start(&cove, &["attach", "box"]);
    user.becomes_raw();
    user.types("three\n");
    user.sees("got three\r\n");
    user.types("\u{4}");
    assert_eq!(client.wait().unwrap().code(), Some(5));
    assert!(!user.is_raw());
}

#[test]
fn the_terminal_is_as_before_whatever_ends_the_client() {
    let cove = cove();
    let mut user = User::new(24, 80);
    for (how, code) in [("kill", 137), ("stop", 143), ("supervisor", 9)] {
        let script = "trap 'exit 143' TERM; echo ready; read line; exit 9";
        let run = ["run", "-it", "--name", "box", IMAGE, "sh", "-c", script];
        let mut client = user.start(&cove, &run);
        user.sees("ready\r\n");
        assert!(user.is_raw());
        match how {
            "supervisor" => {
                let directory = cove.roots().runroot().join("containers");
                let id = cove.ok(&["ps", "-q", "--no-trunc"]);
                let seen = testkit::supervisor::seen(&directory.join(id));
                let pid = Pid::from_raw(seen.status.supervisor);
                let pidfd = pidfd_open(pid.unwrap(), PidfdFlags::empty()).unwrap();
                kill_process(pid.unwrap(), Signal::KILL).unwrap();
                // What is typed before it is gone may go with it.
                assert!(readable(&pidfd, LONG));
                user.types("\n");
            }
            command => drop(cove.ok(&[command, "box"])),
        }
        assert_eq!(client.wait().unwrap().code(), Some(code), "{how}");
        assert!(!user.is_raw(), "{how}");
        cove.ok(&["rm", "-f", "box"]);
    }
    // The client itself is told to go; the container stays.
    let run = [
        "run",
        "-it",
        "--sig-proxy=false",
        "--name",
        "box",
        IMAGE,
        "sh",
    ];
    let mut client = user.start(&cove, &run);
    user.sees("/ # ");
    kill(i32::try_from(client.id()).unwrap(), Signal::TERM);
    assert_eq!(client.wait().unwrap().code(), Some(143));
    assert!(!user.is_raw());
    assert_eq!(inspect(&cove, "{{.State.Status}}"), "running");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_terminal_is_wanted_for_a_terminal() {
    let cove = cove();
    let said = cove.fails(1, &["run", "-it", "--rm", IMAGE, "sh"]);
    assert!(said.contains("the input device is not a TTY"), "{said}");
    // Without input it needs none.
    let text = cove.ok(&["run", "-t", "--rm", IMAGE, "tty"]);
    assert_eq!(text.trim_end(), "/dev/pts/0");
}

#[test]
fn a_terminal_has_its_size_before_the_program_runs() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let mut user = User::new(33, 101);
    for _ in 0..20 {
        let mut client = user.start(&cove, &["exec", "-t", "box", "stty", "size"]);
        user.sees("33 101\r");
        assert!(client.wait().unwrap().success());
    }
    let mut client = user.start(&cove, &["run", "-t", "--rm", IMAGE, "stty", "size"]);
    user.sees("33 101\r");
    assert!(client.wait().unwrap().success());
    // One that is on no screen, or on one without a size, has the usual one.
    for words in [&["exec", "-t", "box"][..], &["run", "-t", "--rm", IMAGE]] {
        let line = [words, &["stty", "size"]].concat();
        assert_eq!(cove.ok(&line).trim_end(), "24 80", "{words:?}");
        let mut user = User::new(0, 0);
        let mut client = user.start(&cove, &line);
        user.sees("24 80\r");
        assert!(client.wait().unwrap().success());
    }
    let script = "stty size >/size; exec sleep 1000";
    cove.ok(&["run", "-dt", "--name", "behind", IMAGE, "sh", "-c", script]);
    let wait = "until [ -s /size ]; do :; done; cat /size";
    assert_eq!(cove.ok(&["exec", "behind", "sh", "-c", wait]), "24 80");
    cove.ok(&["rm", "-f", "box", "behind"]);
}

#[test]
fn a_detached_program_has_a_terminal_that_is_held_and_read() {
    let cove = cove();
    let script = "mkfifo /done; exec sleep 1000";
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sh", "-c", script]);
    // Far more than a terminal holds unread; written once the client is gone.
    let script = "until [ -p /done ]; do :; done; seq 20000; tty >/done";
    cove.ok(&["exec", "-dt", "box", "sh", "-c", script]);
    let wait = "until [ -p /done ]; do :; done; cat /done";
    let text = cove.ok(&["exec", "box", "sh", "-c", wait]);
    assert_eq!(text, "/dev/pts/0");
    cove.ok(&["rm", "-f", "box"]);
}

/// Tells whether a program has a terminal, and what its standard streams are.
const STREAMS: &str =
    "(: </dev/tty) 2>/dev/null && echo 'terminal: some;' || echo 'terminal: none;'
    for fd in 0 1 2; do stat -Lc \"stream $fd: %d:%i %F %t:%T;\" /proc/self/fd/$fd; done
    ";

#[test]
fn a_program_never_has_the_terminal_of_the_host() {
    let cove = cove();
    let run = ["run", "-d", "--name", "box", IMAGE, "sleep", "1000"];
    cove.ok(&run);
    let mut user = User::new(24, 80);
    let script = format!("{STREAMS}cat; echo to stderr >&2; exit 3");
    let (pipe, null) = ("fifo 0:0", "character special file 1:3");
    for (words, stdin) in [
        (&["exec", "-i", "box"][..], pipe),
        (&["run", "-i", "--rm", IMAGE], pipe),
        // Without input, which it then does not wait for.
        (&["exec", "box"], null),
        (&["run", "--rm", IMAGE], null),
    ] {
        let mut client = user.start(&cove, &[words, &["sh", "-c", &script]].concat());
        user.sees("terminal: none;");
        user.sees("stream 2: ");
        user.sees(";");
        assert!(!user.is_raw());
        if stdin == pipe {
            user.types("some words\n");
            // Once from the terminal's echo, once from cat.
            user.sees("some words\r\n");
            user.sees("some words\r\n");
            user.types("\u{4}");
        }
        user.sees("to stderr\r\n");
        assert_eq!(client.wait().unwrap().code(), Some(3), "{words:?}");
        for (fd, kind) in [(0, stdin), (1, pipe), (2, pipe)] {
            let (_, stream) = user.all.split_once(&format!("stream {fd}: ")).unwrap();
            let (stream, _) = stream.split_once(';').unwrap();
            let (file, kind_inside) = stream.split_once(' ').unwrap();
            assert_ne!(file, identity(&user.slave), "{words:?} {fd}");
            assert_eq!(kind_inside, kind, "{words:?} {fd}");
        }
    }
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_client_ends_with_its_program_whoever_else_has_the_terminal() {
    let cove = cove();
    let run = ["run", "-d", "--name", "box", IMAGE, "sleep", "1000"];
    cove.ok(&run);
    let script = "trap '' HUP; sleep 1000 & seq 3000; exit 7";
    for flags in ["-it", "-t", "-i"] {
        let mut user = User::new(24, 80);
        let mut client = user.start(&cove, &["exec", flags, "box", "sh", "-c", script]);
        // Everything it wrote is shown.
        user.sees("\n3000\r");
        assert!(readable(pidfd(&client), LONG), "{flags}");
        assert_eq!(client.wait().unwrap().code(), Some(7), "{flags}");
        assert!(!user.is_raw());
    }
    cove.ok(&["rm", "-f", "box"]);
}

/// What `stat -c %d:%i` prints of a file.
fn identity(file: impl AsFd) -> String {
    let stat = rustix::fs::fstat(file).unwrap();
    format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn inspect(cove: &Cove, format: &str) -> String {
    cove.ok(&["inspect", "--format", format, "box"])
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// A user with a terminal.
struct User {
    master: OwnedFd,
    /// Kept open: the terminal outlives its programs.
    slave: File,
    seen: String,
    /// What came since the last start.
    all: String,
}

impl User {
    fn new(rows: u16, columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let user = Self {
            master,
            slave: slave.into(),
            seen: String::new(),
            all: String::new(),
        };
        user.resizes(rows, columns);
        user
    }

    /// Starts a command of Cove in front, on the terminal.
    fn start(&mut self, cove: &Cove, arguments: &[&str]) -> Child {
        self.seen.clear();
        self.all.clear();
        let wanted = cove.cmd(arguments).command();
        // A session of its own with this as its terminal.
        #[expect(clippy::disallowed_methods, reason = "setsid gives a terminal")]
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(wanted.get_program());
        command.args(wanted.get_args());
        let stdio = || Stdio::from(self.slave.try_clone().unwrap());
        command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap()
    }

    fn types(&mut self, text: &str) {
        let mut master = File::from(self.master.try_clone().unwrap());
        master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for a text, and forgets what came up to its end.
    fn sees(&mut self, text: &str) {
        let end = Instant::now() + LONG;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            let left = left.try_into().unwrap();
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&left)).unwrap();
            assert!(ready > 0, "{text:?} does not come: {:?}", self.seen);
            let mut buffer = [0; 4096];
            let mut master = File::from(self.master.try_clone().unwrap());
            let length = master.read(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]);
            self.seen.push_str(&text);
            self.all.push_str(&text);
        }
    }

    fn resizes(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.master, size).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.slave.as_fd()).unwrap().local_modes;
        assert_eq!(
            modes.contains(LocalModes::ICANON),
            modes.contains(LocalModes::ECHO)
        );
        !modes.contains(LocalModes::ICANON)
    }

    /// Waits until a client has taken the terminal.
    fn becomes_raw(&self) {
        let end = Instant::now() + LONG;
        while !self.is_raw() {
            assert!(Instant::now() < end, "the terminal stays as it was");
        }
    }
}
