//! Logs that another process writes, and files that another process compresses.

use std::io::Write;

use cove_model::control::{Reply, Request};
use cove_supervisor::config::LogConfig;
use cove_supervisor::logs::{Format, LogReader, ReadOptions};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Fixture, eventually};

/// Children of the supervisor that bear this name.
fn helper(it: &Fixture, name: &str) -> Option<Pid> {
    let supervisor = it.supervisor().to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().find_map(|process| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let path = process.path().join("stat");
        let stat = cove_sys::fs::read_to_string(&path, 4096).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let parent = rest.split(' ').nth(1)?;
        let state = rest.split(' ').next()?;
        (head.ends_with(name) && parent == supervisor && state != "Z").then_some(())?;
        Pid::from_raw(pid)
    })
}

/// How a process is, in the letter of its `stat`.
fn state(process: Pid) -> String {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = cove_sys::fs::read_to_string(path.as_ref(), 4096).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

fn lines(it: &Fixture, format: Format) -> Vec<String> {
    let options = ReadOptions {
        format,
        ..ReadOptions::default()
    };
    let mut reader = LogReader::open(&it.path("log"), options).unwrap();
    let lines = std::iter::from_fn(|| reader.next_line().unwrap());
    lines
        .map(|line| String::from_utf8(line.bytes).unwrap())
        .collect()
}

fn dropped(it: &Fixture) -> usize {
    match it.client().request(&Request::Status) {
        Ok(Reply::Status(status)) => usize::try_from(status.log_lines_dropped).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_disk_that_hangs_does_not_hold_up_a_program_that_must_not_wait() {
    let mut it = Fixture::new(
        "echo first; read x < go; i=0; while [ $i -lt 20000 ]; do \
         echo a line that takes some room $i; i=$((i+1)); done; echo; \
         echo all > written; read x < gate; echo after",
    );
    let mut go = it.gate("go");
    let mut gate = it.gate("gate");
    it.config.log.as_mut().unwrap().buffer = Some(64 << 10);
    it.begin().unwrap();
    eventually("the first line", || lines(&it, Format::Cri) == ["first\n"]);
    let writer = helper(&it, "cove-log").unwrap();
    kill_process(writer, Signal::STOP).unwrap();
    // What it still took would make room between what is dropped.
    eventually("the writer is stopped", || state(writer) == "T");
    go.write_all(b"\n").unwrap();
    // Six times the buffer: the program ends writing although nobody takes it.
    eventually("all written", || it.path("written").exists());
    eventually("most dropped", || dropped(&it) > 15_000);
    kill_process(writer, Signal::CONT).unwrap();
    let all = |lines: &[String]| lines.len() + dropped(&it) >= 20_002;
    eventually("the rest is written", || all(&lines(&it, Format::Cri)));
    gate.write_all(b"\n").unwrap();
    it.join();
    let lines = lines(&it, Format::Cri);
    let (first, rest) = lines.split_first().unwrap();
    let (after, rest) = rest.split_last().unwrap();
    assert_eq!((first.as_str(), after.as_str()), ("first\n", "after\n"));
    // Each line is there in its place, or counted there: where the writer goes on before the last
    // line was read, room comes between what is dropped.
    let (mut next, mut kept, mut dropped) = (0, 0, 0);
    for line in rest {
        if let Some(told) = line.strip_prefix("cove: ") {
            let (count, text) = told.split_once(' ').unwrap();
            assert_eq!(
                text,
                "log lines were dropped: the buffer of --log-opt max-buffer-size was full\n"
            );
            let count: u64 = count.parse().unwrap();
            (next, dropped) = (next + count, dropped + count);
            continue;
        }
        let due = match next {
            20_000 => "\n".to_owned(),
            _ => format!("a line that takes some room {next}\n"),
        };
        assert_eq!(*line, due);
        (next, kept) = (next + 1, kept + 1);
    }
    assert_eq!(next, 20_001);
    assert_eq!(dropped, it.status().log_lines_dropped);
    // The buffer was used, and bounded.
    assert!(kept > 500 && kept < 5_002, "{kept}");
}

#[test]
fn nothing_is_dropped_while_there_is_room_and_all_is_there_at_the_end() {
    for format in [Format::Cri, Format::Json] {
        let mut it = Fixture::new(
            "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; printf end",
        );
        let log = it.config.log.as_mut().unwrap();
        log.buffer = Some(1 << 20);
        log.format = format;
        it.begin().unwrap();
        it.join();
        let mut expected: Vec<_> = (0..500).map(|i| format!("line {i}\n")).collect();
        expected.push("end".to_owned());
        assert_eq!(lines(&it, format), expected);
        assert_eq!(it.status().log_lines_dropped, 0);
    }
}

#[test]
fn a_killed_writer_and_a_killed_supervisor_are_followed_by_others() {
    let mut it = Fixture::new(
        "echo one; read x < a; echo two; read x < b; echo three; read x < c; echo four",
    );
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| it.gate(name));
    it.config.log.as_mut().unwrap().buffer = Some(1 << 20);
    it.begin().unwrap();
    let expect = |it: &Fixture, expected: &[&str]| {
        eventually("logged", || lines(it, Format::Cri) == expected);
    };
    expect(&it, &["one\n"]);
    kill_process(helper(&it, "cove-log").unwrap(), Signal::KILL).unwrap();
    eventually("it is gone", || helper(&it, "cove-log").is_none());
    a.write_all(b"\n").unwrap();
    expect(&it, &["one\n", "two\n"]);
    it.replace();
    b.write_all(b"\n").unwrap();
    expect(&it, &["one\n", "two\n", "three\n"]);
    c.write_all(b"\n").unwrap();
    it.join();
    expect(&it, &["one\n", "two\n", "three\n", "four\n"]);
}

#[test]
fn rotated_files_are_compressed_beside_the_program() {
    let mut it = Fixture::new(
        "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read x < gate",
    );
    let mut gate = it.gate("gate");
    let path = it.path("log");
    it.config.log = Some(LogConfig {
        max_size: 32 << 10,
        max_files: 100,
        compress: true,
        format: Format::Json,
        ..LogConfig::new(path.clone())
    });
    it.begin().unwrap();
    let expected: Vec<_> = (0..3000).map(|i| format!("line {i}\n")).collect();
    eventually("all logged", || lines(&it, Format::Json) == expected);
    eventually("all compressed", || !it.path("log.1").exists());
    assert!(it.path("log.1.gz").exists() && it.path("log.5.gz").exists());
    assert!(!it.path("log.2").exists());
    gate.write_all(b"\n").unwrap();
    it.join();
    assert_eq!(lines(&it, Format::Json), expected);
}
