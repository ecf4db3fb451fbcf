//! Signals: what a client in front of a program passes on to it, and what a
//! program does not inherit of whoever calls.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::cmd::{pidfd, readable};
use testkit::cove::Cove;

use crate::support::{IMAGE, cove};

const LONG: Duration = Duration::from_secs(30);

/// Says which signal it got; TERM and INT also end it.
const PROGRAM: &str = "for s in HUP QUIT USR1 USR2 ALRM PWR 34 64; do trap \"echo got $s\" $s; done
    trap 'echo got TERM; exit 15' TERM; trap 'echo got INT; exit 2' INT
    echo ready; while :; do read -t 1 x </stop; done";

struct Client {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(cove: &Cove, words: &[&str]) -> Self {
        // Whoever runs the tests may ignore some, as `nohup` does.
        let client = cove.cmd(words).under("env", &["--default-signal"]);
        let mut command = client.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line, where this text is waited for.
    fn line(&mut self, text: &str) -> String {
        let there = !self.output.buffer().is_empty() || readable(self.output.get_ref(), LONG);
        assert!(there, "{text} does not come");
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn sees(&mut self, text: &str) {
        assert_eq!(self.line(text), text);
    }

    /// The same, where lines of an earlier kind may still come first.
    fn sees_after(&mut self, earlier: &str, text: &str) {
        let mut line = self.line(text);
        while line == earlier {
            line = self.line(text);
        }
        assert_eq!(line, text);
    }

    fn signal(&self, number: i32) {
        let pidfd = pidfd(&self.child);
        cove_sys::signalfd::send(&pidfd, number).unwrap();
    }

    #[track_caller]
    fn ends(mut self, code: i32) {
        assert!(readable(pidfd(&self.child), LONG));
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{rest}");
    }
}

fn state(cove: &Cove) -> String {
    cove.ok(&[
        "inspect",
        "-f",
        "{{.State.Status}} {{.State.ExitCode}}",
        "box",
    ])
}

/// A script that runs [`PROGRAM`] with a FIFO to wait at.
fn script() -> String {
    format!("mkfifo /stop; exec 9<>/stop\n{PROGRAM}")
}

/// Ways to be in front of the program of a container.
fn fronts(script: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let program = ["sh", "-c", script];
    let mut all = Vec::new();
    for flags in [
        &[][..],
        &["-t"],
        &["--init"],
        &["-i"],
        &["--rm"],
        &["-t", "--rm"],
    ] {
        let run = [&["run", "--name", "box"], flags, &[IMAGE], &program[..]].concat();
        all.push((Vec::new(), run));
    }
    for flags in [&[][..], &["-t"]] {
        let create = [&["create", "--name", "box"], flags, &[IMAGE], &program[..]].concat();
        all.push((create, vec!["start", "-a", "box"]));
    }
    all
}

#[test]
fn a_client_passes_on_what_it_is_sent() {
    let cove = cove();
    let script = script();
    for (before, front) in fronts(&script) {
        for (last, code) in [(15, 15), (2, 2)] {
            if !before.is_empty() {
                cove.ok(&before);
            }
            let mut client = Client::start(&cove, &front);
            client.sees("ready");
            for (number, name) in [
                (1, "HUP"),
                (3, "QUIT"),
                (10, "USR1"),
                (12, "USR2"),
                (14, "ALRM"),
                (30, "PWR"),
                (34, "34"),
                (64, "64"),
            ] {
                client.signal(number);
                client.sees(&format!("got {name}"));
            }
            client.signal(last);
            client.ends(code);
            if front.contains(&"--rm") {
                assert_eq!(cove.ok(&["ps", "-aq"]), "");
            } else {
                assert_eq!(state(&cove), format!("exited {code}"), "{front:?}");
                cove.ok(&["rm", "-f", "box"]);
            }
        }
    }
}

#[test]
fn a_client_that_attaches_passes_on_too() {
    let cove = cove();
    let script = script();
    for (terminal, flags) in [
        (&[][..], &[][..]),
        (&[], &["--sig-proxy=true"]),
        (&["-t"], &["--no-stdin"]),
    ] {
        let more = ["--name", "box", IMAGE, "sh", "-c", &script];
        cove.ok(&[&["run", "-d"], terminal, &more].concat());
        cove.ok(&["exec", "box", "sh", "-c", "until [ -p /stop ]; do :; done"]);
        let attach = [&["attach"], flags, &["box"]].concat();
        let mut client = Client::start(&cove, &attach);
        // Until it is attached and the traps are set, a signal is asked for again.
        while !readable(client.output.get_ref(), Duration::from_millis(100)) {
            cove.ok(&["kill", "-s", "USR2", "box"]);
        }
        client.sees("got USR2");
        for (number, name) in [(1, "HUP"), (10, "USR1"), (30, "PWR"), (64, "64")] {
            client.signal(number);
            client.sees_after("got USR2", &format!("got {name}"));
        }
        client.signal(15);
        client.ends(15);
        assert_eq!(state(&cove), "exited 15");
        cove.ok(&["rm", "-f", "box"]);
    }
}

#[test]
fn what_is_not_passed_on_ends_the_client_alone() {
    let cove = cove();
    let script = script();
    for flags in [&[][..], &["-t"]] {
        for number in [1, 2, 15] {
            let more = ["--name", "box", IMAGE, "sh", "-c", &script];
            let run = [&["run", "--sig-proxy=false"], flags, &more[..]].concat();
            let mut client = Client::start(&cove, &run);
            client.sees("ready");
            client.signal(number);
            let status = client.child.wait().unwrap();
            use std::os::unix::process::ExitStatusExt as _;
            let ended = status
                .signal()
                .or_else(|| status.code().map(|code| code - 128));
            assert_eq!(ended, Some(number));
            assert_eq!(state(&cove), "running 0");
            cove.ok(&["rm", "-f", "box"]);
        }
    }
}

#[test]
fn a_program_that_does_not_listen_is_left_by_the_third() {
    let cove = cove();
    // Process 1 takes no signal that it does not ask for.
    let script = "echo ready; exec sleep 1000";
    cove.ok(&["run", "-d", "--name", "other", IMAGE, "sleep", "1000"]);
    let ignoring = "trap '' TERM INT; echo ready; while :; do sleep 1000; done";
    for words in [
        &["run", "--name", "box", IMAGE, "sh", "-c", script][..],
        &["run", "-t", "--name", "box", IMAGE, "sh", "-c", script],
        &["exec", "other", "sh", "-c", ignoring],
        &["exec", "-t", "other", "sh", "-c", ignoring],
    ] {
        let mut command = cove.cmd(words).command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "ready");
        let pid = Pid::from_child(&child);
        while !readable(pidfd(&child), Duration::from_millis(50)) {
            kill_process(pid, Signal::TERM).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("got 3 SIGTERM/SIGINTs, forcefully exiting"),
            "{said}"
        );
        if words[0] == "run" {
            assert_eq!(state(&cove), "running 0");
            cove.ok(&["rm", "-f", "box"]);
        }
    }
    cove.ok(&["rm", "-f", "other"]);
}

#[test]
fn an_executed_program_gets_them_and_no_one_else() {
    let cove = cove();
    cove.ok(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]);
    let script = format!("[ -p /stop ] || mkfifo /stop; exec 9<>/stop\n{PROGRAM}");
    for flags in [&[][..], &["-t"], &["-i"]] {
        for (last, code) in [(15, 15), (2, 2)] {
            let exec = [&["exec"], flags, &["box", "sh", "-c", &script]].concat();
            let mut client = Client::start(&cove, &exec);
            client.sees("ready");
            for (number, name) in [(1, "HUP"), (3, "QUIT"), (10, "USR1"), (34, "34")] {
                client.signal(number);
                client.sees(&format!("got {name}"));
            }
            client.signal(last);
            client.ends(code);
        }
    }
    assert_eq!(state(&cove), "running 0");
    cove.ok(&["rm", "-f", "box"]);
}

/// What a program has of dispositions, mask and everything else that a caller may hand on.
const INHERITED: [&str; 4] = [
    "grep",
    "-E",
    "^(SigBlk|SigIgn|ShdPnd|NoNewPrivs):",
    "/proc/self/status",
];

/// Runs a command under another that changes what is inherited.
fn under(cove: &Cove, wrapper: &str, words: &[&str]) -> Command {
    let command = cove.cmd(words).command();
    #[expect(
        clippy::disallowed_methods,
        reason = "a shell changes what is inherited"
    )]
    let mut outer = Command::new("sh");
    outer
        .arg("-c")
        .arg(wrapper)
        .arg("sh")
        .arg(command.get_program());
    outer.args(command.get_args()).stdin(Stdio::null());
    outer
}

const NOBODY_IGNORES: &str = "ShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n\
    SigIgn:\t0000000000000000\nNoNewPrivs:\t0\n";

#[test]
fn dispositions_and_mask_are_the_defaults_whoever_calls() {
    let cove = cove();
    // What nohup, a shell's `&`, and a parent that ignores its children hand on.
    let wrappers = [
        "exec \"$@\"",
        "trap '' HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD TTIN TTOU TSTP XFSZ; exec \"$@\"",
        "nohup \"$@\"",
        "\"$@\" & wait $!",
    ];
    for wrapper in wrappers {
        let run = [
            "run",
            "-d",
            "--name",
            "box",
            "--restart",
            "always",
            IMAGE,
            "sh",
            "-c",
            "grep -E '^(SigBlk|SigIgn|ShdPnd|NoNewPrivs):' /proc/self/status >/seen.$$
            mv /seen.$$ /seen; exec sleep 1000",
        ];
        let status = under(&cove, wrapper, &run)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{wrapper}");
        let wait = "until [ -e /seen ]; do :; done; cat /seen; rm /seen";
        let seen = cove.ok(&["exec", "box", "sh", "-c", wait]);
        assert_eq!(seen.trim_end(), NOBODY_IGNORES.trim_end(), "{wrapper}");
        // The supervisor starts it again.
        cove.ok(&["restart", "-t", "0", "box"]);
        let seen = cove.ok(&["exec", "box", "sh", "-c", wait]);
        assert_eq!(seen.trim_end(), NOBODY_IGNORES.trim_end(), "{wrapper}");
        for flags in [&[][..], &["-t"], &["-i"]] {
            let exec = [&["exec"], flags, &["box"], &INHERITED[..]].concat();
            let output = under(&cove, wrapper, &exec).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            assert_eq!(text, NOBODY_IGNORES, "{wrapper} {flags:?}");
            assert_eq!(output.status.code(), Some(0), "{wrapper} {flags:?}");
        }
        for flags in [&[][..], &["--init"]] {
            let run = [&["run", "--rm"], flags, &[IMAGE], &INHERITED[..]].concat();
            let output = under(&cove, wrapper, &run).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text, NOBODY_IGNORES, "{wrapper} {flags:?}");
        }
        cove.ok(&["rm", "-f", "box"]);
    }
}
