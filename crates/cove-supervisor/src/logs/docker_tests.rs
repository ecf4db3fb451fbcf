//! Logs in Docker's format, and files that are compressed.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Format, LogReader, LogStream, LogWriter, ReadOptions};
use crate::config::LogConfig;

fn config(path: &Path) -> LogConfig {
    LogConfig {
        format: Format::Json,
        ..LogConfig::new(path.to_owned())
    }
}

fn options() -> ReadOptions {
    ReadOptions {
        format: Format::Json,
        ..ReadOptions::default()
    }
}

fn read(path: &Path, options: ReadOptions) -> Vec<String> {
    let mut reader = LogReader::open(path, options).unwrap();
    let lines = std::iter::from_fn(|| reader.next_line().unwrap());
    lines
        .map(|line| String::from_utf8(line.bytes).unwrap())
        .collect()
}

/// The entries of the file, without their times.
fn entries(path: &Path) -> Vec<String> {
    let text = cove_sys::fs::read_to_string(path, 1 << 20).unwrap();
    let without_time = |line: &str| {
        line.split(",\"time\"")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    text.lines().map(without_time).collect()
}

#[test]
fn an_entry_is_a_whole_line_whenever_its_parts_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogWriter::open(&config(&path)).unwrap();
    log.write(LogStream::Stdout, b"a");
    log.write(LogStream::Stderr, b"x\n\ny");
    assert_eq!(read(&path, options()), ["x\n", "\n"]);
    log.write(LogStream::Stdout, b"b\nc");
    log.end();
    assert_eq!(
        entries(&path),
        [
            "{\"log\":\"x\\n\",\"stream\":\"stderr\"",
            "{\"log\":\"\\n\",\"stream\":\"stderr\"",
            "{\"log\":\"ab\\n\",\"stream\":\"stdout\"",
            "{\"log\":\"c\",\"stream\":\"stdout\"",
            "{\"log\":\"y\",\"stream\":\"stderr\"",
        ]
    );
    assert_eq!(read(&path, options()), ["x\n", "\n", "ab\n", "c", "y"]);
}

#[test]
fn long_lines_are_divided_where_docker_divides_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let output = [&[b'x'; 16384][..], b"\n", &[b'y'; 40000], b"\n"].concat();
    // However much is read at once.
    for step in [1, 1000, 16384, 100_000] {
        std::fs::write(&path, "").unwrap();
        let mut log = LogWriter::open(&config(&path)).unwrap();
        for piece in output.chunks(step) {
            log.write(LogStream::Stdout, piece);
        }
        let text = cove_sys::fs::read_to_string(&path, 1 << 20).unwrap();
        let records: Vec<_> = text
            .lines()
            .map(|line| Format::Json.parse(line.as_bytes()).unwrap())
            .collect();
        let shapes: Vec<_> = records
            .iter()
            .map(|record| (record.content.len(), record.full))
            .collect();
        assert_eq!(
            shapes,
            [
                (16384, false),
                (0, true),
                (16384, false),
                (16384, false),
                (7232, true)
            ],
            "{step}"
        );
        // The pieces of a line bear one time, that of its first byte.
        assert_eq!(records[0].timestamp, records[1].timestamp);
        assert_eq!(records[2].timestamp, records[4].timestamp);
        let whole = [
            format!("{}\n", "x".repeat(16384)),
            format!("{}\n", "y".repeat(40000)),
        ];
        assert_eq!(read(&path, options()), whole);
    }
    // A character that lies across the edge stays whole.
    std::fs::write(&path, "").unwrap();
    let mut log = LogWriter::open(&config(&path)).unwrap();
    let line = format!("{}ü{}\n", "x".repeat(16383), "z".repeat(20));
    log.write(LogStream::Stdout, line.as_bytes());
    assert_eq!(read(&path, options()), [line]);
}

#[test]
fn attributes_are_in_every_entry_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let attributes = BTreeMap::from([("tag".to_owned(), "a\"b".to_owned())]);
    let mut config = config(&path);
    config.attributes.clone_from(&attributes);
    LogWriter::open(&config)
        .unwrap()
        .write(LogStream::Stdout, b"x\n");
    let entry = "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"a\\\"b\"}";
    assert_eq!(entries(&path), [entry]);
    let mut reader = LogReader::open(&path, options()).unwrap();
    assert_eq!(reader.next_line().unwrap().unwrap().attributes, attributes);
}

#[test]
fn a_torn_entry_is_cut_off_however_long() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let write = |text: &str| {
        LogWriter::open(&config(&path))
            .unwrap()
            .write(LogStream::Stdout, text.as_bytes());
    };
    write("whole\n");
    let whole = cove_sys::fs::read(&path, 1000).unwrap();
    // Control characters take six bytes each; a power cut leaves zeros.
    for torn in [
        "{\"log\":\"t".to_owned(),
        "\\u0001".repeat(30_000),
        "\0".repeat(5000),
    ] {
        std::fs::write(&path, [&whole, torn.as_bytes()].concat()).unwrap();
        assert_eq!(read(&path, options()), ["whole\n"]);
        write("next\n");
        assert_eq!(read(&path, options()), ["whole\n", "next\n"]);
    }
}

/// A log of several files. A test has threads and forks no compressor: it does the work itself.
fn compressed_log(path: &Path, format: Format, lines: u32) -> LogConfig {
    let config = LogConfig {
        format,
        max_size: 4000,
        max_files: 1000,
        compress: true,
        ..LogConfig::new(path.to_owned())
    };
    let mut log = LogWriter::open(&config).unwrap();
    for i in 0..lines {
        log.write(LogStream::Stdout, format!("line {i}\n").as_bytes());
        // What the supervisor has done by a process of its own.
        if path.with_extension("1").exists() {
            super::rotate::compress(path, format).unwrap();
        }
    }
    config
}

#[test]
fn compressed_files_are_read_like_others() {
    for format in [Format::Cri, Format::Json] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        compressed_log(&path, format, 500);
        assert!(dir.path().join("log.5.gz").exists());
        assert!(!dir.path().join("log.1").exists());
        let all: Vec<_> = (0..500).map(|i| format!("line {i}\n")).collect();
        for tail in [None, Some(1), Some(60), Some(250), Some(499), Some(1000)] {
            let options = ReadOptions {
                format,
                tail,
                ..ReadOptions::default()
            };
            let last = tail.map_or(500, |tail: u64| usize::try_from(tail).unwrap().min(500));
            assert_eq!(read(&path, options), all[500 - last..], "{tail:?}");
        }
        // A damaged one gives what can be read of it, and the others are whole.
        let damaged = dir.path().join("log.3.gz");
        let bytes = cove_sys::fs::read(&damaged, 1 << 20).unwrap();
        std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
        let options = ReadOptions {
            format,
            ..ReadOptions::default()
        };
        let left = read(&path, options);
        assert!(left.len() > 400 && left.len() < 500, "{}", left.len());
        assert_eq!(left.last(), all.last());
    }
}

#[test]
fn a_reader_goes_on_where_the_file_it_reads_is_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let format = Format::Json;
    let config = compressed_log(&path, format, 200);
    let mut reader = LogReader::open(&path, options()).unwrap();
    let first = reader.next_line().unwrap().unwrap();
    assert_eq!(first.bytes, b"line 0\n");
    // Inodes are used again by new files; the reader has a compressed file open.
    let mut log = LogWriter::open(&config).unwrap();
    for i in 200..400 {
        log.write(LogStream::Stdout, format!("line {i}\n").as_bytes());
        if path.with_extension("1").exists() {
            super::rotate::compress(&path, format).unwrap();
        }
    }
    let rest = std::iter::from_fn(|| reader.next_line().unwrap());
    let rest: Vec<_> = rest
        .map(|line| String::from_utf8(line.bytes).unwrap())
        .collect();
    assert_eq!(
        rest,
        (1..400).map(|i| format!("line {i}\n")).collect::<Vec<_>>()
    );
}

#[test]
fn a_number_is_compressed_or_not_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let config = LogConfig {
        max_size: 60,
        max_files: 4,
        compress: true,
        ..config(&path)
    };
    let mut log = LogWriter::open(&config).unwrap();
    let name = |suffix: &str| dir.path().join(format!("log{suffix}"));
    for i in 0..40 {
        log.write(LogStream::Stdout, format!("line {i}\n").as_bytes());
        // A compressor that failed now and then.
        if name(".1").exists() && i % 3 != 0 {
            super::rotate::compress(&path, Format::Json).unwrap();
        }
        let both =
            (1..=4).any(|n| name(&format!(".{n}")).exists() && name(&format!(".{n}.gz")).exists());
        assert!(!both, "{i}");
    }
    let count = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(count, 4);
    let last: Vec<_> = (36..40).map(|i| format!("line {i}\n")).collect();
    assert_eq!(read(&path, options()), last);
}
