//! Clients at the stdio of an instance.

use std::io::Write;

use cove_model::control::{Attach, Reply, Request, StopTimeout, TerminalSize, WaitUntil, WhenSlow};
use cove_model::error::ErrorKind;
use cove_supervisor::client::ClientError;
use cove_supervisor::logs::LogStream;

use crate::fixture::{ALL, Event, Fixture, collect, eventually, exited, next, pidfd};

#[test]
fn a_foreground_run_loses_nothing() {
    let mut it = Fixture::new("echo out; echo err >&2; printf end; exit 11");
    it.config.start = false;
    it.begin().unwrap();
    let mut attachment = it.attach(Attach { start: true, ..ALL });
    assert!(!attachment.tty());
    let (out, err, event) = collect(&mut attachment);
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (&b"out\nend"[..], &b"err\n"[..])
    );
    assert_eq!(exited(&event), 11);
    it.join();
}

#[test]
fn a_start_that_fails_is_told_to_who_attached() {
    let mut it = Fixture::new("true");
    it.config.start = false;
    it.fail_start = true;
    it.begin().unwrap();
    let refused = it.client().attach(Attach { start: true, ..ALL });
    let Err(ClientError::Refused(failure)) = refused else {
        panic!()
    };
    assert_eq!(failure.kind, ErrorKind::CommandNotFound);
    it.join();
}

#[test]
fn stdin_ends_with_its_first_writer() {
    let mut it = Fixture::new("cat; exit 1");
    it.config.open_stdin = true;
    it.config.stdin_once = true;
    it.config.start = false;
    it.begin().unwrap();
    let mut reader = it.attach(Attach {
        start: true,
        stdin: false,
        when_slow: WhenSlow::Wait,
        ..ALL
    });
    let mut writer = it.attach(Attach {
        stdout: false,
        stderr: false,
        ..ALL
    });
    // More than FIFO and sockets hold.
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    let sent = data.clone();
    let thread = std::thread::spawn(move || {
        writer.stdin(&sent).unwrap();
        // Gone without a word.
        drop(writer);
    });
    let (out, _, event) = collect(&mut reader);
    thread.join().unwrap();
    assert!(out == data, "{} of {} bytes", out.len(), data.len());
    assert_eq!(exited(&event), 1);
    it.join();
    assert!(it.logged(LogStream::Stdout) == data);
}

#[test]
fn stdin_stays_open_when_it_is_to() {
    let mut it = Fixture::new("read a; read b; echo $a $b");
    it.config.open_stdin = true;
    it.begin().unwrap();
    let mut first = it.attach(ALL);
    first.stdin(b"one\n").unwrap();
    first.close_stdin().unwrap();
    drop(first);
    let mut second = it.attach(ALL);
    second.stdin(b"two\n").unwrap();
    let (out, _, event) = collect(&mut second);
    assert_eq!((out.as_slice(), exited(&event)), (&b"one two\n"[..], 0));
    it.join();
}

#[test]
fn a_terminal_has_a_size_and_one_output() {
    let mut it = Fixture::new("stty size; echo err >&2; read x < gate; stty size");
    let mut gate = it.gate("gate");
    it.config.tty = true;
    it.config.start = false;
    it.begin().unwrap();
    let size = Some(TerminalSize {
        rows: 33,
        cols: 101,
    });
    let mut attachment = it.attach(Attach {
        start: true,
        size,
        ..ALL
    });
    assert!(attachment.tty());
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("err\r\n") {
        match next(&mut attachment) {
            Event::Stdout(bytes) => seen.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    it.client()
        .request(&Request::Resize(TerminalSize { rows: 5, cols: 6 }))
        .unwrap();
    gate.write_all(b"\n").unwrap();
    let (out, err, event) = collect(&mut attachment);
    seen.extend(out);
    assert_eq!(String::from_utf8_lossy(&seen), "33 101\r\nerr\r\n5 6\r\n");
    assert_eq!((err.len(), exited(&event)), (0, 0));
    it.join();
}

#[test]
fn a_terminal_that_nobody_has_for_a_while_is_not_given_up() {
    let script = "t=$(tty); exec <&- >/dev/null 2>&1; \
        read x < gate; echo one > $t; read x < gate; seq 20000 > $t";
    let mut it = Fixture::new(script);
    let mut gate = it.gate("gate");
    it.config.tty = true;
    it.begin().unwrap();
    let mut attachment = it.attach(ALL);
    let init = it.status().init.unwrap().pid;
    for line in ["one\r\n", "\r\n20000\r\n"] {
        eventually("let go", || {
            let fds = std::fs::read_dir(format!("/proc/{init}/fd")).unwrap();
            let mut fds = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
            !fds.any(|file| file.starts_with("/dev/pts"))
        });
        // By its answer the supervisor has seen that, too.
        it.client().request(&Request::Status).unwrap();
        gate.write_all(b"\n").unwrap();
        eventually("logged", || {
            it.logged(LogStream::Stdout).ends_with(line.as_bytes())
        });
    }
    let (out, _, event) = collect(&mut attachment);
    assert_eq!((out.len(), exited(&event)), (128_899, 0));
    it.join();
}

#[test]
fn the_stdin_of_a_terminal_is_not_lost_with_a_slow_reader() {
    const SENT: usize = 150_000;
    let script = "stty raw -echo; echo raw; read x < gate; head -c 3000000 /dev/zero | tr '\\0' x; \
        read x < gate; head -c 150000 | wc -c";
    let mut it = Fixture::new(script);
    let mut gate = it.gate("gate");
    it.config.tty = true;
    it.begin().unwrap();
    let rounds = |count| {
        for _ in 0..count {
            it.client().request(&Request::Status).unwrap();
        }
    };
    let mut reader = it.attach(Attach {
        stdin: false,
        when_slow: WhenSlow::Wait,
        ..ALL
    });
    let mut writer = it.attach(Attach {
        stdout: false,
        stderr: false,
        ..ALL
    });
    // More than a terminal holds: with every answer the supervisor has taken some of it.
    eventually("raw", || it.logged(LogStream::Stdout) == b"raw\n");
    writer.stdin(&vec![b'a'; SENT]).unwrap();
    rounds(40);
    // More than a reader may fall behind.
    gate.write_all(b"\n").unwrap();
    eventually("written", || it.logged(LogStream::Stdout).len() > 1 << 19);
    rounds(400);
    let reading = std::thread::spawn(move || collect(&mut reader));
    gate.write_all(b"\n").unwrap();
    eventually("all of it", || {
        it.logged(LogStream::Stdout).ends_with(b"x150000\n")
    });
    let (out, _, event) = reading.join().unwrap();
    // The first line may have come before it was attached.
    let rest = out.strip_prefix(b"raw\n").unwrap_or(&out);
    assert_eq!((rest.len(), exited(&event)), (3_000_000 + 7, 0));
    it.join();
}

#[test]
fn who_does_not_read_is_cut_off_and_holds_up_nobody() {
    let mut it = Fixture::new("head -c 20000000 /dev/zero | tr '\\0' x; echo; exit 0");
    it.config.start = false;
    it.begin().unwrap();
    let mut slow = it.attach(ALL);
    let mut fast = it.attach(Attach {
        start: true,
        when_slow: WhenSlow::Wait,
        ..ALL
    });
    let (out, _, event) = collect(&mut fast);
    assert_eq!((out.len(), exited(&event)), (20_000_001, 0));
    let (out, _, event) = collect(&mut slow);
    assert!(out.len() < 4_000_000, "{}", out.len());
    assert!(matches!(event, Event::Cut), "{event:?}");
    it.join();
}

#[test]
fn an_instance_waits_for_who_says_so_and_can_still_be_stopped() {
    let mut it = Fixture::new("exec cat /dev/zero");
    it.config.log = None;
    it.config.start = false;
    it.begin().unwrap();
    let mut slow = it.attach(Attach {
        start: true,
        when_slow: WhenSlow::Wait,
        ..ALL
    });
    assert_eq!(it.stop(StopTimeout::Configured), 143);
    let (out, _, event) = collect(&mut slow);
    assert!(out.len() < 4_000_000, "{}", out.len());
    assert_eq!(exited(&event), 143);
    it.join();
}

#[test]
fn a_thousand_clients_cost_little() {
    let mut it = Fixture::new("read x < gate; head -c 30000000 /dev/zero; read x < gate");
    let mut gate = it.gate("gate");
    it.config.log = None;
    it.begin().unwrap();
    let limit = usize::try_from(
        rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(1 << 20),
    )
    .unwrap();
    let count = 1000.min(limit - 200);
    let clients: Vec<_> = (0..count).map(|_| it.attach(ALL)).collect();
    gate.write_all(b"\n").unwrap();
    // All have fallen behind; those who are cut off are let go after a while.
    let peak = || rss(it.supervisor());
    let mut most = 0;
    eventually("cut off", || {
        most = most.max(peak());
        let fds = std::fs::read_dir(format!("/proc/{}/fd", it.supervisor()))
            .unwrap()
            .count();
        fds < 40
    });
    assert!(most < 48 << 10, "{most} KiB with {count} clients");
    drop(clients);
    gate.write_all(b"\n").unwrap();
    it.wait();
    it.join();
}

fn rss(pid: i32) -> u64 {
    let status = cove_sys::fs::read_to_string(format!("/proc/{pid}/status").as_ref(), 1 << 16);
    let status = status.unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or("VmRSS: 0 kB");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn waiting_ends_when_it_ends() {
    let mut it = Fixture::new("read x < gate; exit 8");
    let mut gate = it.gate("gate");
    it.begin().unwrap();
    let supervisor = pidfd(it.supervisor());
    let waits: Vec<_> = [
        WaitUntil::NotRunning,
        WaitUntil::NextExit,
        WaitUntil::Removed,
    ]
    .map(|until| it.client().begin(&Request::Wait { until }).unwrap())
    .into();
    gate.write_all(b"\n").unwrap();
    for wait in waits {
        let Reply::Exited(exit) = wait.finish().unwrap() else {
            panic!()
        };
        assert_eq!(exit.exit_code, 8);
    }
    let mut fds = [rustix::event::PollFd::new(
        &supervisor,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut fds, None).unwrap();
    it.join();
}
