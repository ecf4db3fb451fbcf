//! What an instance writes, in its log.

use std::io::Write;

use cove_model::control::{Request, WaitUntil};
use cove_supervisor::logs::{LogReader, LogStream, ReadOptions};

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

#[test]
fn a_full_disk_stops_nobody() {
    let mut it = Fixture::new(
        "i=0; while [ $i -lt 3000 ]; do echo a line that takes some room $i; i=$((i+1)); done; \
         echo full > full; read x < gate; echo after",
    );
    let mut gate = it.gate("gate");
    let disk = it.path("disk");
    std::fs::create_dir(&disk).unwrap();
    rustix::mount::mount(
        "tmpfs",
        &disk,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        c"size=64k",
    )
    .unwrap();
    it.config.log.as_mut().unwrap().path = disk.join("log");
    it.begin().unwrap();
    eventually("full", || it.path("full").exists());
    // Room again.
    rustix::mount::mount_remount(&disk, rustix::mount::MountFlags::empty(), "size=1m").unwrap();
    gate.write_all(b"\n").unwrap();
    it.join();
    let mut reader = LogReader::open(&disk.join("log"), ReadOptions::default()).unwrap();
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        lines.push(String::from_utf8(line.bytes).unwrap());
    }
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::DETACH).unwrap();
    // Up to a point, what is missing there, and on from there.
    let kept = lines
        .iter()
        .position(|line| line.starts_with("cove: "))
        .unwrap();
    let warning = lines.remove(kept);
    let dropped: usize = warning.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(
        warning.contains("log lines were dropped: No space left"),
        "{warning}"
    );
    assert!(dropped > 1000);
    for (at, line) in lines[..lines.len() - 1].iter().enumerate() {
        let number = if at < kept { at } else { at + dropped };
        assert_eq!(*line, format!("a line that takes some room {number}\n"));
    }
    assert_eq!(lines.len() - 1 + dropped, 3000);
    assert_eq!(lines[lines.len() - 1], "after\n");
    assert_eq!(
        it.status().log_lines_dropped,
        u64::try_from(dropped).unwrap()
    );
}
