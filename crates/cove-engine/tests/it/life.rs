//! An instance from its making to its removal.

use std::fs::File;
use std::io::{Read, Write};

use cove_engine::{ErrorKind, ExecRequest, ExecStreams, LogQuery, OutputStream};
use cove_model::control::{StopTimeout, TerminalSize, WaitUntil};
use cove_model::status::State;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{ALL, Fixture, read_until};

pub(crate) fn a_run_gives_its_output_and_status() {
    let it = Fixture::new();
    let record = it.create("echo out; echo err >&2; exit 7");
    let instances = it.engine.instances();
    assert_eq!(it.get(&record.name).status.state, State::Created);
    let mut attachment = instances.start_attached(&record, ALL).unwrap();
    let (out, err, exited) = read_until(&mut attachment, |_| false);
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    assert_eq!(exited.unwrap().exit_code, 7);
    assert_eq!(instances.wait(&record, WaitUntil::NotRunning).unwrap(), 7);
    assert_eq!(it.get(&record.name).status.exit_code, Some(7));
}

pub(crate) fn input_reaches_it_and_signals_too() {
    let it = Fixture::new();
    let script =
        "trap 'echo usr; exit 3' USR1; read line; echo got $line; while :; do sleep 1; done";
    let record = it.create_as(script, |request| request.open_stdin = true);
    let instances = it.engine.instances();
    let mut attachment = instances.start_attached(&record, ALL).unwrap();
    attachment.push(b"hello\n");
    let (out, ..) = read_until(&mut attachment, |out| out.contains('\n'));
    assert_eq!(out, "got hello\n");
    instances.kill(&record, "USR1").unwrap();
    let (out, _, exited) = read_until(&mut attachment, |_| false);
    assert_eq!((out.as_str(), exited.unwrap().exit_code), ("usr\n", 3));
    let error = instances.kill(&record, "USR1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

pub(crate) fn a_log_is_followed_until_the_end() {
    let it = Fixture::new();
    let record = it.create_as("echo one; read line; echo $line >&2", |request| {
        request.open_stdin = true;
    });
    let instances = it.engine.instances();
    let mut attachment = instances.start_attached(&record, ALL).unwrap();
    let request = LogQuery {
        follow: true,
        ..LogQuery::default()
    };
    let mut log = instances.logs(&it.get(&record.name), request).unwrap();
    let line = log.next_line().unwrap().unwrap();
    assert_eq!(
        (line.bytes.as_slice(), line.stream),
        (&b"one\n"[..], OutputStream::Stdout)
    );
    attachment.push(b"two\n");
    attachment.send();
    let line = log.next_line().unwrap().unwrap();
    assert_eq!(
        (line.bytes.as_slice(), line.stream),
        (&b"two\n"[..], OutputStream::Stderr)
    );
    assert_eq!(log.next_line().unwrap(), None);
}

pub(crate) fn a_program_beside_it_has_a_terminal_of_its_own() {
    let it = Fixture::new();
    let record = it.create("sleep 1000");
    let instances = it.engine.instances();
    instances.start(&record, None).unwrap();
    let request = ExecRequest {
        argv: ["sh", "-c", "stty size; read line; stty size; exit 5"]
            .map(str::to_owned)
            .to_vec(),
        terminal: true,
        size: Some(TerminalSize {
            rows: 33,
            cols: 101,
        }),
        ..ExecRequest::default()
    };
    let mut session = instances
        .exec(&record, &request, ExecStreams::default())
        .unwrap()
        .session;
    let mut terminal = File::from(session.take_terminal().unwrap());
    let mut seen = String::new();
    let mut read = |terminal: &mut File, until: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(until) {
            match terminal.read(&mut buffer) {
                Ok(1..) => {}
                other => panic!("{other:?} after {seen:?}"),
            }
            let text = String::from_utf8_lossy(&buffer);
            seen.push_str(text.trim_end_matches('\0'));
            buffer = [0; 4096];
        }
    };
    read(&mut terminal, "33 101\r\n");
    let size = Winsize {
        ws_row: 5,
        ws_col: 6,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();
    terminal.write_all(b"\n").unwrap();
    read(&mut terminal, "5 6\r\n");
    assert_eq!(session.wait().unwrap(), 5);
    let missing = ExecRequest {
        argv: vec!["no-such-program".to_owned()],
        ..ExecRequest::default()
    };
    let error = instances.exec(&record, &missing, ExecStreams::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::CommandNotFound);
    let table = instances.top(&record, &[]).unwrap();
    assert_eq!(table.rows.len(), 1, "{table:?}");
}

pub(crate) fn what_is_removed_leaves_nothing() {
    let it = Fixture::new();
    let before = it.snapshot();
    let instances = it.engine.instances();
    let record = it.create("trap 'exit 9' TERM; while :; do sleep 1; done");
    instances.start(&record, None).unwrap();
    let error = instances.remove(&record, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    instances.stop(&record, StopTimeout::Never, None).unwrap();
    assert_eq!(it.get(&record.name).status.exit_code, Some(9));
    instances.remove(&record, false).unwrap();
    let error = instances.get(&record.name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    testkit::leak::assert_no_leaks(&before, &it.roots);
}
