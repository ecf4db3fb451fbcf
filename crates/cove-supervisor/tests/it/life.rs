//! Created, started, stopped, ended, started again.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use cove_model::control::{Attach, Reply, Request, Step, StopTimeout, WaitUntil};
use cove_model::error::ErrorKind;
use cove_model::restart::RestartPolicy;
use cove_model::status::State;
use cove_supervisor::client::ClientError;
use cove_supervisor::spawn::SpawnError;

use crate::fixture::{ALL, Fixture, eventually};

#[test]
fn runs_to_its_end() {
    let mut it = Fixture::new("exit 7");
    let status = it.begin().unwrap();
    assert_eq!(status.state, State::Running);
    assert_eq!(it.join(), 0);
    let seen = it.observe();
    assert!(!seen.supervised);
    assert_eq!(
        (seen.status.state, seen.status.exit_code),
        (State::Exited, Some(7))
    );
    assert!(seen.status.started_at < seen.status.finished_at);
    assert_eq!(it.calls(), ["create", "start", "cleanup 7"]);
    assert!(!it.path("control.sock").exists());
    // Nobody answers any more: the status does.
    assert_eq!(
        it.client().wait(WaitUntil::NotRunning).unwrap().exit_code,
        7
    );
}

#[test]
fn what_becomes_of_it_is_told_in_order() {
    let mut it = Fixture::new("trap 'exit 5' TERM; echo up > up; while :; do read x < gate; done");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    eventually("up", || it.path("up").exists());
    for request in [Request::Pause, Request::Resume] {
        assert_eq!(it.client().request(&request).unwrap(), Reply::Done);
    }
    rustix::fs::unlink(it.path("up")).unwrap();
    let (timeout, signal) = (StopTimeout::Never, None);
    let restart = Request::Restart { timeout, signal };
    assert_eq!(it.client().request(&restart).unwrap(), Reply::Done);
    eventually("up", || it.path("up").exists());
    assert_eq!(it.stop(StopTimeout::Millis(0)), 137);
    it.join();
    let told = [
        "Start",
        "Pause",
        "Unpause",
        "Kill { signal: 15 }",
        "Die { exit_code: 5 }",
        "Stop",
        "Start",
        "Restart",
        "Kill { signal: 15 }",
        "Kill { signal: 9 }",
        "Die { exit_code: 137 }",
    ];
    assert_eq!(it.told(), told);

    // Killed at once it is killed once.
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    let (timeout, signal) = (StopTimeout::Millis(0), Some(9));
    it.client()
        .request(&Request::Stop { timeout, signal })
        .unwrap();
    it.join();
    let told = ["Start", "Kill { signal: 9 }", "Die { exit_code: 137 }"];
    assert_eq!(it.told(), told);

    // What never ran does not end.
    let mut it = Fixture::new("true");
    it.fail_start = true;
    it.begin().unwrap_err();
    it.join();
    assert_eq!(it.told(), [""; 0]);
}

#[test]
fn create_and_start_are_two_steps() {
    let mut it = Fixture::new("exit 3");
    it.config.start = false;
    let begun = it.begin().unwrap();
    assert_eq!(begun.state, State::Created);
    assert_eq!(begun.warnings, ["created"]);
    assert!(it.observe().supervised);
    let waiting = it
        .client()
        .begin(&Request::Wait {
            until: WaitUntil::NextExit,
        })
        .unwrap();
    assert_eq!(it.client().request(&Request::Start).unwrap(), Reply::Done);
    let Reply::Exited(exited) = waiting.finish().unwrap() else {
        panic!()
    };
    assert_eq!(exited.exit_code, 3);
    it.join();
    assert_eq!(it.status().warnings, ["created", "started"]);
}

#[test]
fn who_starts_it_by_attaching_is_told_what_is_not_as_asked() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.config.start = false;
    it.begin().unwrap();
    let attach = |start| {
        let attach = Attach {
            start,
            ..Attach::default()
        };
        it.client().attach(attach).unwrap().warnings().to_vec()
    };
    assert_eq!(attach(true), ["created", "started"]);
    assert_eq!(attach(false), [""; 0]);
    it.stop(StopTimeout::Never);
    it.join();
}

#[test]
fn failures_are_reported_and_leave_nothing() {
    let mut it = Fixture::new("true");
    it.fail_create = true;
    let Err(SpawnError::Failed(failure)) = it.begin() else {
        panic!()
    };
    assert_eq!(
        (failure.step, failure.message.as_str()),
        (Step::Create, "no such root")
    );
    assert_eq!(it.join(), 125);

    let mut it = Fixture::new("true");
    it.fail_start = true;
    let Err(SpawnError::Failed(failure)) = it.begin() else {
        panic!()
    };
    assert_eq!(
        (failure.step, failure.kind),
        (Step::Start, ErrorKind::CommandNotFound)
    );
    it.join();
    let status = it.status();
    assert_eq!(
        (status.state, status.exit_code),
        (State::Created, Some(127))
    );
    assert_eq!(
        it.calls(),
        ["create", "start", "signal 9 true", "cleanup 127"]
    );

    // The same through the socket.
    let mut it = Fixture::new("true");
    it.fail_start = true;
    it.config.start = false;
    it.begin().unwrap();
    let Err(ClientError::Refused(failure)) = it.client().request(&Request::Start) else {
        panic!()
    };
    assert_eq!(failure.kind, ErrorKind::CommandNotFound);
    it.join();
}

#[test]
fn a_second_supervisor_is_refused() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    let mut second = Fixture::new("true");
    second.config = it.config.clone();
    let Err(SpawnError::Failed(failure)) = second.begin() else {
        panic!()
    };
    assert_eq!(
        (failure.step, failure.kind),
        (Step::Lock, ErrorKind::Conflict)
    );
    second.join();
}

#[test]
fn stop_is_gentle_first() {
    let mut it = Fixture::new("trap 'exit 5' TERM; echo up > up; while :; do read x < gate; done");
    let _gate = it.gate("gate");
    it.config.restart = RestartPolicy::Always;
    it.begin().unwrap();
    eventually("up", || it.path("up").exists());
    assert_eq!(it.stop(StopTimeout::Configured), 5);
    it.join();
    let status = it.status();
    assert_eq!((status.state, status.restart_count), (State::Exited, 0));
    assert!(status.manually_stopped);
}

#[test]
fn stop_kills_in_the_end() {
    let mut it = Fixture::new("trap '' TERM; echo up > up; while :; do read x < gate; done");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    eventually("up", || it.path("up").exists());
    assert_eq!(it.stop(StopTimeout::Millis(50)), 137);
    it.join();
}

#[test]
fn a_terminated_supervisor_stops_its_instance() {
    let mut it = Fixture::new("trap 'exit 4' TERM; echo up > up; while :; do read x < gate; done");
    let _gate = it.gate("gate");
    it.config.restart = RestartPolicy::Always;
    it.begin().unwrap();
    eventually("up", || it.path("up").exists());
    let pid = rustix::process::Pid::from_raw(it.supervisor()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    it.join();
    let status = it.status();
    assert_eq!(
        (status.exit_code, status.manually_stopped),
        (Some(4), false)
    );
}

#[test]
fn restarts_by_policy() {
    let mut it = Fixture::new("echo run; exit 2");
    it.config.restart = RestartPolicy::OnFailure { max: Some(2) };
    it.config.auto_remove = false;
    it.begin().unwrap();
    assert_eq!(it.wait().exit_code, 2);
    it.join();
    assert_eq!(it.status().restart_count, 2);
    assert_eq!(
        it.logged(cove_supervisor::logs::LogStream::Stdout),
        b"run\nrun\nrun\n"
    );
}

#[test]
fn restarts_when_asked_and_keeps_the_new_policy() {
    let mut it =
        Fixture::new("trap 'exit 0' TERM; echo up; echo up > up; while :; do read x < gate; done");
    let _gate = it.gate("gate");
    it.config.stop_signal = Some(15);
    it.begin().unwrap();
    let first = it.status().init;
    eventually("up", || it.path("up").exists());
    let timeout = StopTimeout::Configured;
    let restart = Request::Restart {
        timeout,
        signal: None,
    };
    assert_eq!(it.client().request(&restart).unwrap(), Reply::Done);
    let status = it.status();
    assert_eq!(status.state, State::Running);
    assert_ne!(status.init, first);
    let policy = RestartPolicy::Always;
    assert_eq!(
        it.client()
            .request(&Request::UpdateRestart { policy })
            .unwrap(),
        Reply::Done
    );
    let signal = Request::Signal {
        signal: 1,
        all: false,
    };
    assert_eq!(it.client().request(&signal).unwrap(), Reply::Done);
    eventually("restarted", || it.status().restart_count == 1);
    it.stop(StopTimeout::Millis(0));
    it.join();
}

#[test]
fn pauses() {
    let mut it = Fixture::new("read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    assert_eq!(it.client().request(&Request::Pause).unwrap(), Reply::Done);
    assert_eq!(it.status().state, State::Paused);
    assert!(matches!(
        it.client().request(&Request::Pause),
        Err(ClientError::Refused(failure)) if failure.kind == ErrorKind::Conflict
    ));
    assert_eq!(it.client().request(&Request::Resume).unwrap(), Reply::Done);
    assert_eq!(it.client().request(&Request::Pause).unwrap(), Reply::Done);
    // A stop does not wait for a frozen process.
    assert_eq!(it.stop(StopTimeout::Never), 143);
    it.join();
}

#[test]
fn removes_itself() {
    let mut it = Fixture::new("exit 0");
    it.config.auto_remove = true;
    it.begin().unwrap();
    it.join();
    assert!(it.path("removed").exists());
    assert_eq!(it.calls(), ["create", "start", "cleanup 0", "remove"]);
}

#[test]
fn reaps_orphans() {
    let mut it = Fixture::new("(sh -c 'echo $$ > orphan' &) ; read x < gate");
    let _gate = it.gate("gate");
    it.begin().unwrap();
    eventually("orphan", || {
        std::fs::metadata(it.path("orphan")).is_ok_and(|meta| meta.len() > 0)
    });
    let pid = cove_sys::fs::read_to_string(&it.path("orphan"), 64).unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    eventually("reaped", || !proc.exists());
}

#[test]
fn who_asks_while_it_ends_is_answered() {
    let mut it = Fixture::new("read x < gate; exit 4");
    let mut gate = it.gate("gate");
    it.begin().unwrap();
    // They have come, and say what they want once it is over.
    let late = [(); 2].map(|()| UnixStream::connect(it.path("control.sock")).unwrap());
    assert!(matches!(
        it.client().request(&Request::Status),
        Ok(Reply::Status(_))
    ));
    gate.write_all(b"x\n").unwrap();
    eventually("down", || it.status().state == State::Exited);
    let stop = Request::Stop {
        timeout: StopTimeout::Configured,
        signal: None,
    };
    for (mut socket, request) in late.into_iter().zip([stop, Request::Attach(ALL)]) {
        let text = serde_json::to_vec(&request).unwrap();
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        socket.write_all(&[&length[..], &text].concat()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"exit_code\":4"), "{answer:?}");
    }
    it.join();
}
