//! Lines of many writers, torn ones, files that are set aside.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;

use cove_model::event::{Event, Executed, Happening, InstanceChange};
use rustix::event::{PollFd, PollFlags, poll};

use super::{Decoder, Journal, LINE_LIMIT, Reader, Since};

fn journal(limit: u64) -> (tempfile::TempDir, Journal) {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::at(directory.path());
    journal.limit = limit;
    (directory, journal)
}

fn of(name: &str, change: InstanceChange) -> Happening {
    Happening::Instance {
        id: "i".to_owned(),
        name: name.to_owned(),
        image: "busybox".to_owned(),
        labels: BTreeMap::new(),
        change,
    }
}

fn name(event: &Event) -> &str {
    match &event.what {
        Happening::Instance { name, .. } => name,
        other => panic!("{other:?}"),
    }
}

fn rest(reader: &mut Reader) -> Vec<String> {
    std::iter::from_fn(|| reader.next_event().unwrap())
        .map(|event| name(&event).to_owned())
        .collect()
}

fn wait(reader: &Reader) {
    let fd = reader.as_fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, None).unwrap();
}

#[test]
fn what_is_written_is_read_in_order_and_with_its_time() {
    let (_directory, journal) = journal(1 << 20);
    assert_eq!(rest(&mut journal.read(Since::Time(0)).unwrap()), [""; 0]);
    let changes = [
        InstanceChange::Create,
        InstanceChange::Die { exit_code: 3 },
        InstanceChange::ExecStart(Executed {
            exec: "e".to_owned(),
            argv: vec!["a\n".to_owned(), "{\"v\":1".to_owned()],
        }),
    ];
    let before = super::writer::now();
    let what = changes.clone().map(|change| of("one", change)).to_vec();
    journal.append(what.clone()).unwrap();
    let mut reader = journal.read(Since::Time(before)).unwrap();
    for what in what {
        let event = reader.next_event().unwrap().unwrap();
        assert_eq!(event.what, what);
        assert!(event.time >= before && event.time <= super::writer::now());
    }
    assert_eq!(reader.next_event().unwrap(), None);
    let later = Since::Time(super::writer::now() + 1);
    assert_eq!(rest(&mut journal.read(later).unwrap()), [""; 0]);
}

#[test]
fn a_follower_sees_what_comes_and_only_that() {
    let (_directory, journal) = journal(1 << 20);
    let mut from_nothing = journal.read(Since::Now).unwrap();
    journal
        .append(vec![of("old", InstanceChange::Create)])
        .unwrap();
    let mut reader = journal.read(Since::Now).unwrap();
    assert_eq!(rest(&mut reader), [""; 0]);
    journal
        .append(vec![of("new", InstanceChange::Create)])
        .unwrap();
    wait(&reader);
    assert_eq!(rest(&mut reader), ["new"]);
    assert_eq!(rest(&mut from_nothing), ["old", "new"]);
}

#[test]
fn a_torn_line_costs_that_line_only() {
    let (directory, journal) = journal(1 << 20);
    let path = directory.path().join("journal");
    journal
        .append(vec![of("a", InstanceChange::Start)])
        .unwrap();
    // The first writer was killed in its write; the next one's line follows at once.
    let whole = cove_sys::fs::read(&path, 1 << 20).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole[..whole.len() / 2]).unwrap();
    journal
        .append(vec![of("b", InstanceChange::Start)])
        .unwrap();
    file.write_all(b"no line of ours\n{\"v\":2,\"new\":1}\n\0\0\0\n")
        .unwrap();
    journal
        .append(vec![of("c", InstanceChange::Start)])
        .unwrap();
    file.write_all(&whole[..whole.len() - 1]).unwrap();
    let mut reader = journal.read(Since::Time(0)).unwrap();
    assert_eq!(rest(&mut reader), ["a", "b", "c"]);
    file.write_all(b"\n").unwrap();
    assert_eq!(rest(&mut reader), ["a"]);
}

#[test]
fn pieces_of_any_length_make_the_same_events() {
    let (directory, journal) = journal(1 << 20);
    let names = ["a", "b", "c"];
    for name in names {
        journal
            .append(vec![of(name, InstanceChange::Create)])
            .unwrap();
    }
    let bytes = cove_sys::fs::read(&directory.path().join("journal"), 1 << 20).unwrap();
    for length in [1, 2, 7, 64, 1000] {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(length) {
            decoder.push(piece);
            while let Some(event) = decoder.next_event() {
                found.push(name(&event).to_owned());
            }
        }
        assert_eq!(found, names, "{length}");
        assert_eq!(decoder.skipped(), 0);
    }
}

#[test]
fn a_long_line_loses_what_users_choose_the_length_of() {
    let (_directory, journal) = journal(1 << 20);
    let mut what = of(
        "long",
        InstanceChange::ExecCreate(Executed {
            exec: "e".to_owned(),
            argv: vec!["sh".to_owned(), "x".repeat(2 * LINE_LIMIT)],
        }),
    );
    journal.append(vec![what.clone()]).unwrap();
    what.shorten();
    let event = journal.read(Since::Time(0)).unwrap().next_event().unwrap();
    assert_eq!(event.unwrap().what, what);
}

#[test]
fn two_files_are_kept_and_read_as_one() {
    let (directory, journal) = journal(1000);
    for number in 0..100 {
        let name = number.to_string();
        journal
            .append(vec![of(&name, InstanceChange::Create)])
            .unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            assert!(entry.metadata().unwrap().len() < 1200);
            entry.file_name()
        })
        .collect();
    names.sort();
    assert_eq!(names, ["journal", "journal.1"]);
    let read = rest(&mut journal.read(Since::Time(0)).unwrap());
    let expected: Vec<String> = (100 - read.len()..100).map(|n| n.to_string()).collect();
    assert_eq!(read, expected);
    assert!(read.len() > 7);
}

/// Writers race for a file that is full after a few lines, while readers follow.
#[test]
fn no_line_is_lost_between_files() {
    const WRITERS: usize = 4;
    const LINES: usize = 300;
    let (_directory, journal) = journal(3000);
    let mut reader = journal.read(Since::Now).unwrap();
    let read = std::thread::scope(|scope| {
        let (turn, turns) = std::sync::mpsc::sync_channel::<()>(8);
        for writer in 0..WRITERS {
            let (journal, turn) = (&journal, turn.clone());
            scope.spawn(move || {
                for line in 0..LINES {
                    // No faster than the reader goes on, which may be two files behind at most.
                    turn.send(()).unwrap();
                    journal
                        .append(vec![of(&format!("{writer} {line}"), InstanceChange::Start)])
                        .unwrap();
                }
            });
        }
        let mut read = Vec::new();
        while read.len() < WRITERS * LINES {
            let found = rest(&mut reader);
            for _ in &found {
                // A line is there before its turn is taken back.
                turns.try_recv().unwrap_or(());
            }
            if found.is_empty() {
                turns.try_recv().unwrap_or(());
            }
            read.extend(found);
        }
        drop(turns);
        read
    });
    for writer in 0..WRITERS {
        let prefix = format!("{writer} ");
        let own: Vec<_> = read
            .iter()
            .filter(|name| name.starts_with(&prefix))
            .collect();
        let expected: Vec<_> = (0..LINES).map(|line| format!("{prefix}{line}")).collect();
        assert!(own.into_iter().eq(&expected), "writer {writer}");
    }
}
