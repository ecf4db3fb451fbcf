//! What an instance writes, in its log.

use std::ffi::CStr;
use std::io::Write;
use std::path::PathBuf;

use cove_model::control::{Reply, Request, WaitUntil};
use cove_supervisor::config::LogConfig;
use cove_supervisor::logs::{Line, LogReader, LogStream, LogWriter, ReadOptions};
use rustix::mount::MountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Fixture, eventually};

#[test]
fn bytes_are_exact() {
    let mut it = Fixture::new("cat data; exec cat data >&2");
    let mut data = Vec::new();
    for i in 0..200_000_u32 {
        // Every byte value, lines of all lengths, some longer than a record and than a read.
        let length = if i % 10_007 == 0 { 100_000 } else { i % 97 };
        let byte = u8::try_from(i * 31 % 256).unwrap();
        data.extend(std::iter::repeat_n(byte, usize::try_from(length).unwrap()));
        data.push(b'\n');
    }
    data.extend_from_slice(b"no end of line");
    std::fs::write(it.path("data"), &data).unwrap();
    it.config.log.as_mut().unwrap().max_size = 1 << 30;
    it.begin().unwrap();
    it.join();
    assert!(it.logged(LogStream::Stdout) == data);
    assert!(it.logged(LogStream::Stderr) == data);
}

#[test]
fn a_grandchild_that_keeps_the_output_open_holds_up_nothing() {
    let mut it = Fixture::new("setsid sh -c 'read x < gate' & echo last; exit 0");
    let mut gate = it.gate("gate");
    it.begin().unwrap();
    it.join();
    assert_eq!(it.logged(LogStream::Stdout), b"last\n");
    gate.write_all(b"\n").unwrap();
}

#[test]
fn followers_see_all_over_rotations() {
    let mut it = Fixture::new("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done");
    let log = it.config.log.as_mut().unwrap();
    log.max_size = 16 << 10;
    log.max_files = 100;
    it.config.start = false;
    it.begin().unwrap();
    let wait = it
        .client()
        .begin(&Request::Wait {
            until: WaitUntil::Removed,
        })
        .unwrap();
    let alive = rustix::io::dup(&wait).unwrap();
    let path = it.path("log");
    let mut follower = LogReader::follow(&path, ReadOptions::default(), alive).unwrap();
    it.client().request(&Request::Start).unwrap();
    let mut number = 0;
    while let Some(line) = follower.next_line().unwrap() {
        assert_eq!(
            String::from_utf8(line.bytes).unwrap(),
            format!("line {number}\n")
        );
        number += 1;
    }
    assert_eq!(number, 5000);
    it.join();
    assert!(it.path("log.5").exists());
}

/// A disk of a size, and then of another.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, size: &CStr) -> Self {
        std::fs::create_dir(&path).unwrap();
        rustix::mount::mount("tmpfs", &path, "tmpfs", MountFlags::empty(), size).unwrap();
        Self(path)
    }

    fn resize(&self, size: &str) {
        rustix::mount::mount_remount(&self.0, MountFlags::empty(), size).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn lines(&self) -> Vec<String> {
        let mut reader = LogReader::open(&self.log(), ReadOptions::default()).unwrap();
        let next = || reader.next_line().unwrap();
        let text = |line: Line| String::from_utf8(line.bytes).unwrap();
        std::iter::from_fn(next).map(text).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

const FULL: &str = "log lines were dropped: No space left on device (os error 28)\n";

#[test]
fn a_disk_that_fills_takes_whole_records_only() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path().join("disk"), c"size=4k");
    let mut log = LogWriter::open(&LogConfig::new(disk.log())).unwrap();
    // 41 bytes of every record are not content: 125 are left of the page, then 80. The
    // last line would fit, were it not behind one that does not.
    let first = "x".repeat(3930) + "\n";
    log.write(LogStream::Stdout, first.as_bytes());
    let torn = format!("kept\n{}\nshort\n", "y".repeat(100));
    log.write(LogStream::Stdout, torn.as_bytes());
    assert_eq!(log.dropped(), 2);
    assert_eq!(std::fs::metadata(disk.log()).unwrap().len(), 4096 - 80);
    log.write(LogStream::Stdout, b"still no room");
    assert_eq!(disk.lines(), [&first, "kept\n"]);
    disk.resize("size=8k");
    log.write(LogStream::Stdout, b"after\n");
    let warning = format!("cove: 3 {FULL}");
    assert_eq!(disk.lines(), [&first, "kept\n", &warning, "after\n"]);
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_full_disk_stops_nobody() {
    let mut it = Fixture::new(
        "read x < go; i=0; while [ $i -lt 3000 ]; do \
         echo a line that takes some room $i; i=$((i+1)); done; echo; \
         echo full > full; read x < gate; echo after",
    );
    let mut go = it.gate("go");
    let mut gate = it.gate("gate");
    let disk = Disk::new(it.path("disk"), c"size=64k");
    it.config.log.as_mut().unwrap().path = disk.log();
    it.begin().unwrap();
    // A supervisor that got no time finds more than it reads at once; a read
    // then ends within a line.
    let supervisor = Pid::from_raw(it.supervisor()).unwrap();
    kill_process(supervisor, Signal::STOP).unwrap();
    go.write_all(b"\n").unwrap();
    eventually("full", || it.path("full").exists());
    kill_process(supervisor, Signal::CONT).unwrap();
    // The empty line, which no read can divide, is the last.
    let dropped = || match it.client().request(&Request::Status) {
        Ok(Reply::Status(status)) => usize::try_from(status.log_lines_dropped).unwrap(),
        other => panic!("{other:?}"),
    };
    eventually("all read", || disk.lines().len() + dropped() >= 3001);
    // Room again.
    disk.resize("size=1m");
    gate.write_all(b"\n").unwrap();
    it.join();
    // Up to a point, what is missing there, and on from there.
    let lines = disk.lines();
    let kept = lines.len() - 2;
    for (number, line) in lines[..kept].iter().enumerate() {
        assert_eq!(*line, format!("a line that takes some room {number}\n"));
    }
    let dropped = 3001 - kept;
    assert!(dropped > 1000);
    assert_eq!(
        lines[kept..],
        [format!("cove: {dropped} {FULL}"), "after\n".to_owned()]
    );
    assert_eq!(
        it.status().log_lines_dropped,
        u64::try_from(dropped).unwrap()
    );
}
