//! What is left when supervisors are killed.

use cove_model::status::State;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::support::{ALL, Fixture, read_until};

pub(crate) fn an_attachment_outlives_a_supervisor() {
    let it = Fixture::new();
    let script = "echo up; read line; echo got $line; exit 4";
    let record = it.create_as(script, |request| request.open_stdin = true);
    let instances = it.engine.instances();
    let mut attachment = instances.start_attached(&record, ALL).unwrap();
    read_until(&mut attachment, |out| out.contains("up"));
    kill_supervisor(&it, &record.name);
    attachment.push(b"still\n");
    let (out, _, exited) = read_until(&mut attachment, |_| false);
    assert_eq!(
        (out.as_str(), exited.unwrap().exit_code),
        ("got still\n", 4)
    );
}

pub(crate) fn what_a_killed_supervisor_left_is_cleared_away() {
    let it = Fixture::new();
    let before = it.snapshot();
    let record = it.create("sleep 1000");
    let instances = it.engine.instances();
    instances.start(&record, None).unwrap();
    kill_supervisor(&it, &record.name);
    // A record that is gone while its instance runs: what runs is ended by whoever comes next.
    let record_file = instances.directory(&record);
    std::fs::remove_dir_all(record_file).unwrap();
    it.engine.recover().unwrap();
    assert!(instances.list().unwrap().instances.is_empty());
    testkit::leak::assert_no_leaks(&before, &it.roots);
}

fn kill_supervisor(it: &Fixture, name: &str) {
    let status = it.get(name).status;
    assert_eq!(status.state, State::Running);
    let supervisor = Pid::from_raw(status.supervisor).unwrap();
    let ended = pidfd_open(supervisor, PidfdFlags::empty()).unwrap();
    kill_process(supervisor, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&ended, PollFlags::IN)], None).unwrap();
}
