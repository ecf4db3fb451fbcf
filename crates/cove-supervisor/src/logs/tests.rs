//! The writer and the reader of a log together.

use std::path::Path;

use super::{LogReader, LogStream, LogWriter, ReadOptions};
use crate::config::LogConfig;

fn writer(path: &Path, max_size: u64, max_files: u32) -> LogWriter {
    LogWriter::open(&LogConfig {
        max_size,
        max_files,
        ..LogConfig::new(path.to_owned())
    })
    .unwrap()
}

fn read(path: &Path, options: ReadOptions) -> Vec<String> {
    let mut reader = LogReader::open(path, options).unwrap();
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        let stream = if line.stream == LogStream::Stdout {
            "o"
        } else {
            "e"
        };
        lines.push(format!("{stream}:{}", String::from_utf8_lossy(&line.bytes)));
    }
    lines
}

#[test]
fn partial_records_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = writer(&path, 1 << 20, 2);
    log.write(LogStream::Stdout, b"a");
    log.write(LogStream::Stderr, b"x\n\ny");
    log.write(LogStream::Stdout, b"b\nc");
    assert_eq!(
        read(&path, ReadOptions::default()),
        ["e:x\n", "e:\n", "o:ab\n", "o:c", "e:y"]
    );
}

#[test]
fn the_last_lines_are_found_over_files_and_streams() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = writer(&path, 2000, 100);
    let mut all = Vec::new();
    let mut begun = false;
    for i in 0..500 {
        if i % 7 == 3 {
            // A line of stderr begins here and ends some lines later.
            log.write(LogStream::Stderr, if begun { b"end\n" } else { b"begin " });
            if begun {
                all.push("e:begin end\n".to_owned());
            }
            begun = !begun;
        }
        log.write(LogStream::Stdout, format!("line {i}\n").as_bytes());
        all.push(format!("o:line {i}\n"));
    }
    if begun {
        log.write(LogStream::Stderr, b"end\n");
        all.push("e:begin end\n".to_owned());
    }
    assert!(dir.path().join("log.10").exists());
    assert_eq!(read(&path, ReadOptions::default()), all);
    for tail in [0, 1, 2, 3, 10, 33, 100, 499, 570, 571, 572, 10_000] {
        let options = ReadOptions {
            tail: Some(tail),
            ..ReadOptions::default()
        };
        let from = all.len().saturating_sub(usize::try_from(tail).unwrap());
        assert_eq!(read(&path, options), all[from..], "{tail}");
    }
}

#[test]
fn an_unfinished_line_is_chosen_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = writer(&path, 1 << 20, 1);
    log.write(LogStream::Stdout, b"prompt> ");
    let since = |text: &str| ReadOptions {
        since: Some(text.to_owned()),
        ..ReadOptions::default()
    };
    assert_eq!(read(&path, since("1970")), ["o:prompt> "]);
    assert!(read(&path, since("9999")).is_empty());
    let hidden = ReadOptions {
        no_stdout: true,
        ..ReadOptions::default()
    };
    assert!(read(&path, hidden).is_empty());
}

#[test]
fn only_so_many_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for (files, expected) in [(1, 1), (3, 3)] {
        let mut log = writer(&path, 1000, files);
        for i in 0..200 {
            log.write(LogStream::Stdout, format!("line {i}\n").as_bytes());
        }
        let there: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .collect();
        assert_eq!(there.len(), expected);
        assert!(
            there
                .iter()
                .all(|entry| entry.metadata().unwrap().len() <= 1000)
        );
        assert_eq!(
            read(&path, ReadOptions::default()).last().unwrap(),
            "o:line 199\n"
        );
    }
}

#[test]
fn no_line_is_missed_where_a_rotation_left_a_number_free() {
    let dir = tempfile::tempdir().unwrap();
    for free in 1..=5 {
        let path = dir.path().join(format!("log-{free}"));
        let file = |n: u32| super::files::name(&path, n);
        let mut log = writer(&path, 60, 100);
        for i in 0..6 {
            log.write(LogStream::Stdout, format!("line {i}\n").as_bytes());
        }
        let mut early = LogReader::open(&path, ReadOptions::default()).unwrap();
        let first = early.next_line().unwrap().unwrap();
        assert_eq!(first.bytes, b"line 0\n");
        // A rotation, or the end of one whose writer was killed.
        for n in (free..6).rev() {
            std::fs::rename(file(n), file(n + 1)).unwrap();
        }
        let next = || early.next_line().unwrap();
        let rest: Vec<_> = std::iter::from_fn(next).map(|line| line.bytes).collect();
        assert_eq!(rest.len(), 5, "{free}");
        assert_eq!(read(&path, ReadOptions::default()).len(), 6, "{free}");
        log.write(LogStream::Stdout, b"line 6\n");
        let all: Vec<_> = (0..7).map(|i| format!("o:line {i}\n")).collect();
        assert_eq!(read(&path, ReadOptions::default()), all);
        let there: Vec<_> = (0..8).map(|n| file(n).exists()).collect();
        let whole = [true, true, true, true, true, true, true, false];
        assert_eq!(there, whole, "{free}");
    }
}

#[test]
fn a_torn_record_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    writer(&path, 1000, 2).write(LogStream::Stdout, b"whole\n");
    let mut bytes = cove_sys::fs::read(&path, 1000).unwrap();
    bytes.extend_from_slice(b"2026-01-01T00:00:00.000000000Z stdout F to");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read(&path, ReadOptions::default()), ["o:whole\n"]);
    writer(&path, 1000, 2).write(LogStream::Stdout, b"next\n");
    assert_eq!(
        read(&path, ReadOptions::default()),
        ["o:whole\n", "o:next\n"]
    );
}

#[test]
fn windows_of_time_and_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let stamp = |second: u32| format!("2026-01-01T00:00:{second:02}.000000000Z");
    let mut text = String::new();
    for second in 0..10 {
        let stream = if second % 2 == 0 { "stdout" } else { "stderr" };
        text.push_str(&format!("{} {stream} F {second}\n", stamp(second)));
    }
    std::fs::write(&path, text).unwrap();
    let window = ReadOptions {
        since: Some(stamp(2)),
        until: Some(stamp(5)),
        ..ReadOptions::default()
    };
    assert_eq!(read(&path, window), ["o:2\n", "e:3\n", "o:4\n"]);
    let errors = ReadOptions {
        no_stdout: true,
        tail: Some(3),
        ..ReadOptions::default()
    };
    assert_eq!(read(&path, errors), ["e:7\n", "e:9\n"]);
}

/// Writes each text to a log that has room or not, then reads what is there.
fn with_and_without_room(writes: &[(bool, LogStream, &str)]) -> (Vec<String>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    // Every record asks for a new file, which a directory in its place refuses.
    let mut log = writer(&path, 1, 100);
    let obstacle = dir.path().join("log.new");
    for (room, stream, text) in writes {
        if *room {
            std::fs::remove_dir(&obstacle).unwrap_or(());
        } else {
            std::fs::create_dir(&obstacle).unwrap_or(());
        }
        log.write(*stream, text.as_bytes());
    }
    let lines = read(&path, ReadOptions::default());
    let reason = "Is a directory (os error 21)";
    let short = |line: String| line.replace(&format!(" log lines were dropped: {reason}"), "");
    (lines.into_iter().map(short).collect(), log.dropped())
}

#[test]
fn a_dropped_line_counts_once_however_it_was_read() {
    use LogStream::{Stderr as E, Stdout as O};
    for (writes, lines, dropped) in [
        // Whole lines.
        (
            &[
                (true, O, "a\n"),
                (false, O, "b\nc\n"),
                (false, E, "d\n"),
                (true, O, "e\n"),
            ][..],
            &["o:a\n", "e:cove: 3\n", "o:e\n"][..],
            3,
        ),
        // Lines in pieces, of both streams at once, one of them without an end.
        (
            &[
                (true, O, "a\n"),
                (false, O, "b"),
                (false, E, "x"),
                (false, O, "b"),
                (false, O, "b\nc"),
                (false, E, "x\n"),
                (true, E, "e\n"),
            ],
            &["o:a\n", "e:cove: 3\n", "e:e\n"],
            3,
        ),
        // Only the beginning is lost; then the same line has another gap, told as well.
        (
            &[
                (true, O, "a\n"),
                (false, O, "b"),
                (true, O, "1"),
                (false, O, "b"),
                (false, O, "\nc\n"),
                (true, O, "2\n"),
            ],
            &["o:a\n", "e:cove: 1\n", "o:1\n", "e:cove: 2\n", "o:2\n"],
            3,
        ),
        // Only the end is lost: what comes later is another line.
        (
            &[
                (true, O, "be"),
                (true, E, "x\n"),
                (false, O, "gun\nb\n"),
                (true, O, "c\n"),
            ],
            &["e:x\n", "o:be\n", "e:cove: 2\n", "o:c\n"],
            2,
        ),
        // A line that lost nothing stays whole, and the warning a line of its own.
        (
            &[
                (true, O, "be"),
                (true, E, "to"),
                (false, E, "rn\n"),
                (true, O, "gun\n"),
                (true, E, "e\n"),
            ],
            &["e:to\n", "e:cove: 1\n", "o:begun\n", "e:e\n"],
            1,
        ),
    ] {
        let (found, count) = with_and_without_room(writes);
        assert_eq!(found, lines, "{writes:?}");
        assert_eq!(count, dropped, "{writes:?}");
    }
}
