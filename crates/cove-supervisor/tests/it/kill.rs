//! Signals from users, and what they leave of a restart policy: as dockerd
//! 20.10 was seen to do it.

use cove_model::control::{Reply, Request, StopTimeout};
use cove_model::restart::RestartPolicy;
use cove_model::status::State;
use cove_supervisor::client::ClientError;

use crate::fixture::{Fixture, eventually};

const HUP: i32 = 1;
const KILL: i32 = 9;
const USR1: i32 = 10;
const TERM: i32 = 15;

const SCRIPT: &str = "trap 'exit 3' HUP; trap 'exit 4' TERM; trap 'echo > seen' USR1; \
                      echo > up; while :; do read x < gate; done";

fn send(it: &Fixture, signal: i32) {
    let request = Request::Signal { signal, all: false };
    assert_eq!(it.client().request(&request).unwrap(), Reply::Done);
}

/// Waits until it is finally down.
fn down(it: &mut Fixture, what: &str) {
    eventually(what, || it.status().state == State::Exited);
    it.join();
}

#[test]
fn a_signal_that_asks_for_the_end_calls_off_restarts() {
    let on_failure = RestartPolicy::OnFailure { max: None };
    for (policy, stop_signal, signal, again) in [
        // Without a stop signal of its own, any signal may be meant to end it.
        (RestartPolicy::Always, None, HUP, false),
        (RestartPolicy::UnlessStopped, None, HUP, false),
        (on_failure, None, HUP, false),
        (RestartPolicy::Always, Some(TERM), HUP, true),
        (RestartPolicy::UnlessStopped, Some(TERM), HUP, false),
        (on_failure, Some(TERM), HUP, true),
        (RestartPolicy::Always, Some(TERM), TERM, false),
        (RestartPolicy::Always, Some(HUP), HUP, false),
        (RestartPolicy::Always, Some(HUP), KILL, false),
    ] {
        let what = format!("{policy} {stop_signal:?} {signal}");
        let mut it = Fixture::new(SCRIPT);
        let _gate = it.gate("gate");
        it.config.restart = policy;
        it.config.stop_signal = stop_signal;
        it.begin().unwrap();
        eventually("up", || it.path("up").exists());
        std::fs::remove_file(it.path("up")).unwrap();
        send(&it, signal);
        if again {
            eventually(&what, || it.path("up").exists());
            // The program is up a little before the supervisor has told so.
            eventually(&what, || it.status().restart_count == 1);
            assert!(!it.status().manually_stopped, "{what}");
            it.stop(StopTimeout::Millis(0));
        }
        down(&mut it, &what);
        let status = it.status();
        let restarts = u32::from(again);
        assert_eq!(
            (status.state, status.restart_count),
            (State::Exited, restarts),
            "{what}"
        );
    }
}

#[test]
fn restarts_stay_called_off_after_a_signal_that_did_not_end_it() {
    for replaced in [false, true] {
        let mut it = Fixture::new(SCRIPT);
        let _gate = it.gate("gate");
        it.config.restart = RestartPolicy::Always;
        it.begin().unwrap();
        eventually("up", || it.path("up").exists());
        send(&it, USR1);
        eventually("seen", || it.path("seen").exists());
        if replaced {
            it.replace();
        }
        let init = rustix::process::Pid::from_raw(it.status().init.unwrap().pid);
        rustix::process::kill_process(init.unwrap(), rustix::process::Signal::HUP).unwrap();
        down(&mut it, "down");
        assert_eq!(
            (it.status().exit_code, it.status().restart_count),
            (Some(3), 0)
        );
    }
}

#[test]
fn an_instance_that_waits_for_its_restart_can_be_killed() {
    let mut it = Fixture::new("exit 2");
    it.config.restart = RestartPolicy::Always;
    it.config.stop_signal = Some(TERM);
    it.begin().unwrap();
    // Late enough that the next run is a while away.
    eventually("waits", || {
        let status = it.status();
        status.state == State::Restarting && status.restart_count > 4
    });
    send(&it, USR1);
    assert_eq!(it.status().state, State::Restarting);
    send(&it, KILL);
    down(&mut it, "down");
    let status = it.status();
    assert_eq!((status.state, status.exit_code), (State::Exited, Some(2)));
}

#[test]
fn only_a_signal_that_asks_for_the_end_thaws() {
    let mut it = Fixture::new(SCRIPT);
    let _gate = it.gate("gate");
    it.config.stop_signal = Some(TERM);
    it.begin().unwrap();
    eventually("up", || it.path("up").exists());
    assert_eq!(it.client().request(&Request::Pause).unwrap(), Reply::Done);
    send(&it, USR1);
    assert_eq!(it.status().state, State::Paused);
    send(&it, TERM);
    down(&mut it, "thawed");
    assert_eq!(it.status().exit_code, Some(4));
}

#[test]
fn one_that_does_not_run_takes_no_signal() {
    let mut it = Fixture::new(SCRIPT);
    it.config.start = false;
    it.begin().unwrap();
    let request = Request::Signal {
        signal: HUP,
        all: false,
    };
    assert!(matches!(
        it.client().request(&request),
        Err(ClientError::Refused(_))
    ));
    it.stop(StopTimeout::Millis(0));
    it.join();
}
