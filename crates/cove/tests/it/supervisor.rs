//! Processes of Cove that are killed under a running container.

use std::io::Write as _;
use std::time::{Duration, Instant};

use cove_model::status::{State, Status};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use testkit::cmd::readable;
use testkit::cove::Cove;
use testkit::leak::{Snapshot, assert_no_leaks};
use testkit::supervisor::{Seen, seen};

use crate::support::{IMAGE, cove};

/// A program that says what it gets told, line by line, through a FIFO.
const LISTENER: &str = "mkfifo /gate; exec 3<>/gate; echo ready; \
    while read line <&3; do case $line in exit*) exit ${line#exit };; *) echo $line;; esac; done";
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_killed_supervisor_is_replaced_by_whoever_looks() {
    let cove = used();
    let before = Snapshot::take(cove.roots());
    let id = listener(&cove, &["--name", "box"]);
    let first = kill_supervisor(&cove, &id);
    // Nobody reads what it writes, and nothing breaks.
    tell(&cove, "two");
    assert!(
        cove.ok(&["ps", "--format", "{{.Names}} {{.Status}}"])
            .starts_with("box Up")
    );
    assert_ne!(look(&cove, &id).status.supervisor, first.supervisor);
    assert_eq!(look(&cove, &id).status.init, first.init);
    eventually("two is logged", || {
        cove.ok(&["logs", "box"]) == "ready\ntwo"
    });
    let waiting = cove.cmd(["wait", "box"]).start();
    tell(&cove, "exit 9");
    let waited = waiting.wait();
    assert_eq!(
        (waited.code(), waited.out().as_str()),
        (0, "9\n"),
        "{waited}"
    );
    assert_eq!(
        inspect(&cove, "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 9"
    );
    cove.ok(&["rm", "box"]);
    assert_no_leaks(&before, cove.roots());
}

#[test]
fn who_waits_goes_on_waiting_over_a_kill() {
    let cove = cove();
    let id = listener(&cove, &["--name", "box"]);
    let waiting = cove.cmd(["wait", "box"]).start();
    let following = cove.cmd(["logs", "-f", "box"]).start();
    let attached = cove.cmd(["attach", "--no-stdin", "box"]).start();
    // All three have come when the supervisor has as many connections.
    let supervisor = look(&cove, &id).status.supervisor;
    eventually("three clients", || sockets(supervisor) >= 4);
    kill_supervisor(&cove, &id);
    eventually("a new one", || look(&cove, &id).supervised);
    eventually("three clients again", || {
        // It holds its lock a moment before it publishes itself.
        sockets(look(&cove, &id).status.supervisor) >= 4
    });
    tell(&cove, "after");
    tell(&cove, "exit 4");
    assert_eq!(waiting.wait().out(), "4\n");
    assert_eq!(following.wait().out(), "ready\nafter\n");
    let attached = attached.wait();
    assert_eq!(
        (attached.code(), attached.out().as_str()),
        (4, "after\n"),
        "{attached}"
    );
}

#[test]
fn a_run_in_front_survives_its_supervisor() {
    let cove = used();
    let before = Snapshot::take(cove.roots());
    let mut command = cove
        .cmd(["run", "--rm", "-i", "--name", "box", IMAGE, "sh", "-c"])
        .arg("echo ready; read a; echo one $a; read b; echo two $b; cat; exit 6")
        .command();
    let mut client = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = Lines(client.stdout.take().unwrap());
    let mut input = client.stdin.take().unwrap();
    assert_eq!(output.next(), "ready\n");
    input.write_all(b"x\n").unwrap();
    assert_eq!(output.next(), "one x\n");
    let id = cove.ok(&["ps", "-q", "--no-trunc"]);
    kill_supervisor(&cove, &id);
    input.write_all(b"y\n").unwrap();
    assert_eq!(output.next(), "two y\n");
    input.write_all(b"z\n").unwrap();
    // Its end is the end of the container's, too.
    drop(input);
    assert_eq!(output.next(), "z\n");
    assert_eq!(client.wait().unwrap().code(), Some(6));
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
    assert_no_leaks(&before, cove.roots());
}

#[test]
fn stop_works_without_a_supervisor() {
    let cove = cove();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let id = cove.ok(&["run", "-d", "--name", "box", IMAGE, "sh", "-c", script]);
    eventually("ready", || cove.ok(&["logs", "box"]) == "ready");
    kill_supervisor(&cove, &id);
    cove.ok(&["stop", "box"]);
    assert_eq!(
        inspect(&cove, "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 7"
    );
    // And once more, with one that must be killed.
    cove.ok(&["start", "box"]);
    eventually("ready", || cove.ok(&["logs", "box"]) == "ready\nready");
    kill_supervisor(&cove, &id);
    cove.ok(&["kill", "box"]);
    cove.ok(&["wait", "box"]);
    assert_eq!(inspect(&cove, "{{.State.ExitCode}}"), "137");
}

#[test]
fn rm_still_happens_and_a_policy_still_holds() {
    let cove = used();
    let before = Snapshot::take(cove.roots());
    let id = listener(&cove, &["--name", "box", "--rm"]);
    kill_supervisor(&cove, &id);
    cove.ok(&["ps"]);
    tell(&cove, "exit 0");
    eventually("removed", || cove.ok(&["ps", "-aq"]).is_empty());
    assert_no_leaks(&before, cove.roots());

    let id = listener(&cove, &["--name", "box", "--restart", "on-failure:1"]);
    kill_supervisor(&cove, &id);
    cove.ok(&["ps"]);
    tell(&cove, "exit 3");
    eventually("restarted", || cove.ok(&["logs", "box"]) == "ready\nready");
    assert_eq!(inspect(&cove, "{{.RestartCount}}"), "1");
    kill_supervisor(&cove, &id);
    cove.ok(&["ps"]);
    tell(&cove, "exit 3");
    assert_eq!(cove.ok(&["wait", "box"]), "3");
    // The count survives the supervisors: once was all.
    assert_eq!(
        inspect(&cove, "{{.RestartCount}} {{.State.Status}}"),
        "1 exited"
    );
}

#[test]
fn supervisor_and_container_may_die_together() {
    let cove = cove();
    let id = listener(&cove, &["--name", "box"]);
    let status = look(&cove, &id).status;
    let init = open(status.init.unwrap().pid);
    kill(&open(status.supervisor));
    kill(&init);
    let listed = cove.ok(&["ps", "-a", "--format", "{{.Status}}"]);
    // The kernel still knows, if nobody has buried it yet.
    assert!(
        listed.starts_with("Exited (255)") || listed.starts_with("Exited (137)"),
        "{listed}"
    );
    cove.ok(&["start", "box"]);
    eventually("ready", || cove.ok(&["logs", "box"]) == "ready\nready");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_client_that_fails_takes_nothing_with_it() {
    let cove = cove();
    let full = || std::fs::File::options().write(true).open("/dev/full");
    let script = "echo out; exec sleep 1000";
    for behind in [false, true] {
        let run = cove.cmd(["run", "--rm", "--name", "box"]);
        let run = if behind { run.arg("-d") } else { run };
        let mut command = run.args([IMAGE, "sh", "-c", script]).command();
        let output = command.stdout(full().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "write /dev/stdout: no space left on device\n");
        assert_eq!(inspect(&cove, "{{.State.Status}}"), "running");
        cove.ok(&["rm", "-f", "box"]);
    }
    // Who insists on leaving does.
    let run = ["run", "--rm", "--name", "box", IMAGE, "sleep", "1000"];
    let client = cove.cmd(run).start();
    eventually("running", || {
        cove.ok(&["ps", "--format", "{{.State}}"]) == "running"
    });
    // Of several that are not read yet it sees one.
    while !client.ends_within(Duration::from_millis(10)) {
        client.signal(Signal::TERM);
    }
    let output = client.wait();
    assert_eq!(output.code(), 1, "{output}");
    let words = "got 3 SIGTERM/SIGINTs, forcefully exiting";
    assert_eq!(output.err().trim_end(), words);
    assert_eq!(inspect(&cove, "{{.State.Status}}"), "running");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn what_ended_unseen_is_told_so() {
    let cove = used();
    let before = Snapshot::take(cove.roots());
    for options in [&["--name", "box"] as &[&str], &["--name", "box", "--rm"]] {
        let id = listener(&cove, options);
        let status = kill_supervisor(&cove, &id);
        let init = status.init.unwrap().pid;
        // Through the kernel alone: no command looks in between.
        let gate = format!("/proc/{init}/root/gate");
        std::fs::write(gate, "exit 5\n").unwrap();
        // Gone, not only ended: a zombie would still tell.
        eventually("gone", || {
            !std::path::Path::new(&format!("/proc/{init}")).exists()
        });
        let listed = cove.ok(&["ps", "-a", "--format", "{{.Status}}"]);
        if options.contains(&"--rm") {
            assert_eq!(cove.ok(&["ps", "-aq"]), "");
        } else {
            assert!(listed.starts_with("Exited (255)"), "{listed}");
            assert!(!inspect(&cove, "{{.State.Error}}").is_empty());
            cove.ok(&["rm", "box"]);
        }
    }
    assert_no_leaks(&before, cove.roots());
}

#[test]
fn a_supervisor_that_exec_started_has_an_init_to_give() {
    let cove = cove();
    let run = ["run", "-d", "--init", "--name", "box", IMAGE];
    let id = cove.ok(&[&run[..], &["sleep", "1000"]].concat());
    kill_supervisor(&cove, &id);
    cove.ok(&["exec", "box", "true"]);
    cove.ok(&["restart", "-t", "0", "box"]);
    let first = cove.ok(&["exec", "box", "readlink", "/proc/1/exe"]);
    assert_eq!(first, "/sbin/docker-init");
    cove.ok(&["rm", "-f", "box"]);
}

#[test]
fn a_supervisor_stays_in_no_directory_of_the_callers() {
    let cove = cove();
    let place = tempfile::tempdir().unwrap();
    for flags in ["-d", "-dit"] {
        let run = cove.cmd(["run", flags, "--name", "box", IMAGE, "sleep", "1000"]);
        let id = run.directory(place.path()).ok().out().trim_end().to_owned();
        let supervisor = look(&cove, &id).status.supervisor;
        for pid in [supervisor].into_iter().chain(keeper_of(supervisor)) {
            let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
            assert_eq!(directory, std::path::Path::new("/"), "{pid}");
        }
        cove.ok(&["rm", "-f", "box"]);
    }
}

#[test]
fn a_policy_is_updated_while_a_restart_is_waited_for() {
    let cove = cove();
    let run = ["run", "-d", "--name", "box", "--restart", "always", IMAGE];
    cove.ok(&[&run[..], &["false"]].concat());
    eventually("restarting", || {
        inspect(&cove, "{{.State.Status}}") == "restarting"
    });
    cove.ok(&["update", "--restart", "no", "box"]);
    eventually("exited", || inspect(&cove, "{{.State.Status}}") == "exited");
    cove.ok(&["rm", "box"]);
}

#[test]
fn a_killed_keeper_costs_nothing() {
    let cove = cove();
    for options in [&["-d", "-t"] as &[&str], &["-d", "-i"]] {
        let mut arguments = vec!["run", "--name", "box"];
        arguments.extend(options);
        let script = "trap 'exit 33' HUP; echo ready; while :; do sleep 0.05; done";
        arguments.extend([IMAGE, "sh", "-c", script]);
        let id = cove.ok(&arguments);
        eventually("ready", || cove.ok(&["logs", "box"]).trim_end() == "ready");
        let supervisor = look(&cove, &id).status.supervisor;
        let keeper = keeper_of(supervisor).unwrap();
        kill(&open(keeper));
        eventually("another", || {
            keeper_of(supervisor).is_some_and(|pid| pid != keeper)
        });
        kill_supervisor(&cove, &id);
        assert_eq!(inspect(&cove, "{{.State.Status}}"), "running");
        // The terminal was not hung up.
        cove.ok(&["exec", "box", "true"]);
        cove.ok(&["rm", "-f", "box"]);
    }
}

#[test]
fn several_commands_may_find_it_at_once() {
    let cove = cove();
    let id = listener(&cove, &["--name", "box"]);
    for _ in 0..5 {
        kill_supervisor(&cove, &id);
        let commands: Vec<_> = [
            &["ps", "-q"] as &[&str],
            &["inspect", "box"],
            &["logs", "box"],
            &["exec", "box", "true"],
            &["ps", "-aq"],
            &["top", "box"],
        ]
        .iter()
        .map(|arguments| cove.cmd(*arguments).start())
        .collect();
        for command in commands {
            let output = command.wait();
            assert!(output.success(), "{output}");
        }
        assert!(look(&cove, &id).supervised);
    }
    let mut supervisors = 0;
    for pid in cove.roots().processes() {
        supervisors += u32::from(name(pid.cast_signed()) == "cove-supervisor");
    }
    assert_eq!(supervisors, 1);
    cove.ok(&["rm", "-f", "box"]);
}

/// A Cove whose directories are all there, because it has run something.
fn used() -> Cove {
    let cove = cove();
    cove.ok(&["run", "--rm", IMAGE, "true"]);
    cove
}

/// Starts the listener and waits until it listens.
fn listener(cove: &Cove, options: &[&str]) -> String {
    let mut arguments = vec!["run", "-d"];
    arguments.extend(options);
    arguments.extend([IMAGE, "sh", "-c", LISTENER]);
    let id = cove.ok(&arguments);
    eventually("ready", || cove.ok(&["logs", "box"]) == "ready");
    id
}

/// Tells the listener a line.
fn tell(cove: &Cove, line: &str) {
    let script = format!("echo {line} >/gate");
    let told = cove.cmd(["exec", "box", "sh", "-c", &script]).run();
    // An end takes with it who told it.
    assert!(told.success() || line.starts_with("exit"), "{told}");
}

fn inspect(cove: &Cove, format: &str) -> String {
    cove.ok(&["inspect", "--format", format, "box"])
}

/// What the supervisor has published, without a command that could start one.
fn look(cove: &Cove, id: &str) -> Seen {
    let directory = cove.roots().runroot().join("containers").join(id);
    seen(&directory)
}

/// Kills the supervisor of a running container; what it published last.
pub(crate) fn kill_supervisor(cove: &Cove, id: &str) -> Status {
    let seen = look(cove, id);
    assert!(
        seen.supervised && seen.status.state == State::Running,
        "{seen:?}"
    );
    kill(&open(seen.status.supervisor));
    seen.status
}

fn open(pid: i32) -> std::os::fd::OwnedFd {
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Kills a process and waits until it is gone.
fn kill(process: &std::os::fd::OwnedFd) {
    // It may have gone with another that was killed.
    let _sent = pidfd_send_signal(process, Signal::KILL);
    assert!(readable(process, LONG));
}

fn name(pid: i32) -> String {
    let path = format!("/proc/{pid}/comm");
    let name = testkit::files::text(path.as_ref()).unwrap_or_default();
    name.trim_end().to_owned()
}

fn keeper_of(supervisor: i32) -> Option<i32> {
    let path = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = testkit::files::text(path.as_ref()).unwrap_or_default();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .find(|pid| name(*pid) == "cove-keeper")
}

/// How many sockets a process has.
fn sockets(pid: i32) -> usize {
    let Ok(all) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    all.flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Asks again until it holds; for what sends no event.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
    }
}

/// The lines of a pipe, read no further than asked for.
struct Lines<R>(R);

impl<R: std::io::Read> Lines<R> {
    fn next(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') && self.0.read(&mut byte).unwrap() == 1 {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}
