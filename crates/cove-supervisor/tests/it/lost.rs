//! A supervisor that was killed, and the one that takes over.

use std::io::Write;

use cove_model::control::{Reply, Request, StopTimeout};
use cove_model::status::State;
use cove_supervisor::client::ClientError;
use cove_supervisor::logs::LogStream;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::fixture::{ALL, Event, Fixture, collect, eventually, exited, next};

#[test]
fn goes_on_logging_and_learns_the_status() {
    let mut it =
        Fixture::new("echo one; read x < gate; echo two; read x < gate; echo three; exit 9");
    let mut gate = it.gate("gate");
    it.begin().unwrap();
    eventually("one", || it.logged(LogStream::Stdout) == b"one\n");
    it.murder();
    let seen = it.observe();
    assert!(!seen.supervised && seen.status.state == State::Running);
    // While nobody reads, nothing breaks.
    gate.write_all(b"x\n").unwrap();
    it.config.adopt = true;
    let status = it.begin().unwrap();
    assert_eq!(status.init, seen.status.init);
    eventually("two", || it.logged(LogStream::Stdout) == b"one\ntwo\n");
    gate.write_all(b"x\n").unwrap();
    assert_eq!(it.wait().exit_code, 9, "{:?}", it.status());
    it.join();
    assert_eq!(it.logged(LogStream::Stdout), b"one\ntwo\nthree\n");
    let calls = ["create", "start", "adopt", "signal 18 true", "cleanup 9"];
    assert_eq!(it.calls(), calls, "thawed as it was told to run");
}

#[test]
fn an_instance_that_ended_unseen_has_no_status() {
    let mut it = Fixture::new("read x < gate; exit 9");
    let mut gate = it.gate("gate");
    it.begin().unwrap();
    let init = it.status().init.unwrap();
    it.murder();
    gate.write_all(b"x\n").unwrap();
    eventually("ended", || !cove_supervisor::state::is_alive(init).unwrap());
    // Its old supervisor may have cleaned up after it: then nothing can be looked up any more.
    it.fail_adopt = true;
    it.config.adopt = true;
    it.begin().unwrap();
    it.join();
    let status = it.status();
    assert_eq!((status.state, status.exit_code), (State::Exited, Some(255)));
    assert!(status.error.is_some());
}

#[test]
fn its_terminal_survives() {
    let mut it =
        Fixture::new("trap 'exit 33' HUP; while read line; do echo got $line; done; exit 2");
    it.config.tty = true;
    it.begin().unwrap();
    it.replace();
    let mut attachment = it.attach(ALL);
    attachment.stdin(b"hello\n").unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("got hello") {
        match next(&mut attachment) {
            Event::Stdout(bytes) => seen.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    attachment.stdin(b"\x04").unwrap();
    let (_, _, event) = collect(&mut attachment);
    assert_eq!(exited(&event), 2);
    it.join();
}

#[test]
fn its_stdin_survives() {
    let mut it = Fixture::new("cat; exit 6");
    it.config.open_stdin = true;
    it.config.stdin_once = true;
    it.begin().unwrap();
    it.replace();
    let mut attachment = it.attach(ALL);
    attachment.stdin(b"still here").unwrap();
    attachment.close_stdin().unwrap();
    let (out, _, event) = collect(&mut attachment);
    assert_eq!((out.as_slice(), exited(&event)), (&b"still here"[..], 6));
    it.join();
}

#[test]
fn a_killed_keeper_is_replaced() {
    let mut it = Fixture::new("trap 'exit 33' HUP; while read line; do echo got $line; done");
    it.config.tty = true;
    it.begin().unwrap();
    // It takes its name only after it was forked.
    eventually("a keeper", || keeper(&it).is_some());
    let keeper = keeper(&it).unwrap();
    kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    eventually("another keeper", || {
        self::keeper(&it).is_some_and(|pid| pid != keeper)
    });
    it.replace();
    let mut attachment = it.attach(ALL);
    attachment.stdin(b"hello\n\x04").unwrap();
    let (out, _, event) = collect(&mut attachment);
    assert!(String::from_utf8_lossy(&out).contains("got hello"));
    assert_eq!(exited(&event), 0);
    it.join();
}

#[test]
fn one_that_was_never_started_is_still_a_created_one() {
    let mut it = Fixture::new("exit 0");
    it.config.start = false;
    it.begin().unwrap();
    it.replace();
    it.join();
    let status = it.status();
    assert_eq!((status.state, status.init), (State::Created, None));
}

#[test]
fn a_client_waits_for_a_supervisor_that_only_begins() {
    let mut it = Fixture::new("read x < gate");
    let mut gate = it.gate("gate");
    it.begin().unwrap();
    it.murder();
    it.config.adopt = true;
    // The murdered one's socket is still there, and refuses.
    let client = it.client();
    let asked = std::thread::spawn(move || {
        // Whether it comes before or after the lock is taken is up to chance.
        client.request(&Request::Status)
    });
    it.begin().unwrap();
    match asked.join().unwrap() {
        Ok(Reply::Status(status)) => assert_eq!(status.state, State::Running),
        Err(ClientError::NoSupervisor { .. }) => {}
        other => panic!("{other:?}"),
    }
    gate.write_all(b"\n").unwrap();
    it.wait();
    it.join();
}

#[test]
fn a_freeze_that_nobody_was_told_of_is_lifted() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    it.murder();
    // As one leaves it that is killed between the freezing and the telling.
    signal(&it, Signal::STOP);
    eventually("stopped", || stopped(&it));
    it.config.adopt = true;
    assert_eq!(it.begin().unwrap().state, State::Running);
    eventually("goes on", || !stopped(&it));
    it.stop(StopTimeout::Millis(0));
    it.join();
}

#[test]
fn a_thaw_that_nobody_was_told_of_is_undone() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    assert_eq!(it.client().request(&Request::Pause).unwrap(), Reply::Done);
    it.murder();
    signal(&it, Signal::CONT);
    eventually("goes on", || !stopped(&it));
    it.config.adopt = true;
    assert_eq!(it.begin().unwrap().state, State::Paused);
    eventually("stopped", || stopped(&it));
    assert_eq!(it.client().request(&Request::Resume).unwrap(), Reply::Done);
    it.stop(StopTimeout::Millis(0));
    it.join();
}

#[test]
fn who_held_it_holds_it_no_more() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    let hold = it.client().hold().unwrap();
    eventually("stopped", || stopped(&it));
    assert_eq!(it.replace().state, State::Running);
    eventually("goes on", || !stopped(&it));
    drop(hold);
    it.stop(StopTimeout::Millis(0));
    it.join();
}

fn signal(it: &Fixture, signal: Signal) {
    let init = it.status().init.unwrap();
    kill_process_group(Pid::from_raw(init.pid).unwrap(), signal).unwrap();
}

/// Whether the first process is stopped, which is how the shell freezes.
fn stopped(it: &Fixture) -> bool {
    let path = format!("/proc/{}/stat", it.status().init.unwrap().pid);
    let stat = cove_sys::fs::read_to_string(path.as_ref(), 4096).unwrap();
    stat.rsplit(')').next().unwrap().starts_with(" T")
}

/// The keeper among the children of the supervisor.
fn keeper(it: &Fixture) -> Option<i32> {
    let children = format!("/proc/{0}/task/{0}/children", it.supervisor());
    let children = cove_sys::fs::read_to_string(children.as_ref(), 4096).unwrap();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .find(|pid: &i32| {
            let name = format!("/proc/{pid}/comm");
            cove_sys::fs::read_to_string(name.as_ref(), 64)
                .is_ok_and(|name| name == "cove-keeper\n")
        })
}

#[test]
fn a_keeper_ends_with_its_instance() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.config.tty = true;
    it.begin().unwrap();
    let keepers = |it: &Fixture| {
        let children = format!("/proc/{0}/task/{0}/children", it.supervisor());
        cove_sys::fs::read_to_string(children.as_ref(), 4096).unwrap()
    };
    let pids: Vec<i32> = keepers(&it)
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(pids.len(), 2, "the instance and its keeper");
    it.stop(StopTimeout::Millis(0));
    it.join();
    for pid in pids {
        eventually("gone", || {
            cove_supervisor::state::start_ticks(pid).unwrap().is_none()
        });
    }
}
