//! Records under races and crashes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use cove_model::Digest;
use cove_model::instance::{Driver, ImageUse, InstanceSpec};

use cove_model::InstanceId;
use cove_model::instance::Record;

use super::*;

type State = Collection<Record>;

fn id(byte: u8) -> InstanceId {
    InstanceId::from_random([byte; 32])
}

fn record(id: &InstanceId, name: &str) -> Record {
    Record {
        id: id.clone(),
        name: name.to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        driver: Driver::Process,
        image: ImageUse {
            name: "busybox".to_owned(),
            id: Digest::from_bytes([0; 32]),
            layers: Vec::new(),
        },
        spec: InstanceSpec::default(),
    }
}

fn create(state: &State, byte: u8, name: &str) -> Record {
    let reservation = state.reserve(id(byte), Some(name)).unwrap();
    let record = record(&id(byte), name);
    reservation.commit(&record).unwrap();
    record
}

#[test]
fn an_instance_is_found_by_id_name_and_prefix() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let one = create(&state, 0xaa, "one");
    create(&state, 0xab, "two");
    assert_eq!(state.find("one").unwrap(), one);
    assert_eq!(state.find("/one").unwrap(), one);
    assert_eq!(state.find("aaa").unwrap(), one);
    assert_eq!(state.find(one.id.as_str()).unwrap(), one);
    assert!(matches!(state.find("a"), Err(Error::Ambiguous { .. })));
    assert!(matches!(state.find("nope"), Err(Error::NotFound { .. })));
    assert!(matches!(state.find("../one"), Err(Error::NotFound { .. })));
    assert_eq!(state.list().unwrap().all().unwrap().len(), 2);
}

#[test]
fn of_many_who_want_a_name_one_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let winners = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for byte in 0..16 {
            let (state, winners) = (&state, &winners);
            scope.spawn(move || match state.reserve(id(byte), Some("same")) {
                Ok(reservation) => {
                    winners.fetch_add(1, Ordering::Relaxed);
                    reservation.commit(&record(&id(byte), "same")).unwrap();
                }
                Err(Error::NameInUse { name, .. }) => assert_eq!(name, "same"),
                Err(other) => panic!("{other}"),
            });
        }
    });
    assert_eq!(winners.into_inner(), 1);
    assert_eq!(state.list().unwrap().all().unwrap().len(), 1);
    assert_eq!(state.ids().unwrap().len(), 1, "a loser left its directory");
}

#[test]
fn a_dropped_reservation_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    drop(state.reserve(id(1), Some("gone")).unwrap());
    assert!(state.ids().unwrap().is_empty());
    create(&state, 2, "gone");
}

#[test]
fn a_creation_that_was_killed_is_swept_and_its_name_is_free() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let reservation = state.reserve(id(1), Some("crashed")).unwrap();
    // Nobody else may sweep it while its creator lives.
    state.sweep().unwrap();
    assert_eq!(state.ids().unwrap().len(), 1);
    // What kill -9 leaves: everything on disk, the lock free.
    let directory = reservation.directory();
    let kept = root.path().join("kept");
    fs::rename(&directory, &kept).unwrap();
    drop(reservation);
    fs::rename(&kept, &directory).unwrap();
    symlink(id(1).as_str(), root.path().join("names/crashed")).unwrap();
    create(&state, 2, "crashed");
    state.sweep().unwrap();
    assert_eq!(state.ids().unwrap(), [id(2)]);
    assert_eq!(state.find("crashed").unwrap().id, id(2));
}

#[test]
fn renaming_frees_the_old_name_and_respects_the_new() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let one = create(&state, 1, "one");
    create(&state, 2, "two");
    assert!(matches!(
        state.rename(&one.id, "two"),
        Err(Error::NameInUse { .. })
    ));
    assert!(matches!(
        state.rename(&one.id, "t/o"),
        Err(Error::InvalidName { .. })
    ));
    state.rename(&one.id, "uno").unwrap();
    assert_eq!(state.find("uno").unwrap().id, one.id);
    assert!(state.find("one").is_err());
    create(&state, 3, "one");
    // Who knew it by its old name changes it, and removes it, under the new one.
    let later = |record: &mut Record| {
        *record = one.clone();
        "later".clone_into(&mut record.created);
    };
    state.lock(&one.id).unwrap().change(later).unwrap();
    assert_eq!(state.find("uno").unwrap().created, "later");
    state.remove(&one.id, &root.path().join("trash")).unwrap();
    assert!(!root.path().join("names/uno").is_symlink());
}

#[test]
fn a_removed_instance_is_gone_with_its_name() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let one = create(&state, 1, "one");
    let trash = root.path().join("trash");
    state.remove(&one.id, &trash).unwrap();
    assert!(trash.join("record.json").exists());
    assert!(matches!(
        state.remove(&one.id, &trash),
        Err(Error::NotFound { .. })
    ));
    create(&state, 2, "one");
}

fn record_path(state: &State, byte: u8) -> std::path::PathBuf {
    state.directory(&id(byte)).join("record.json")
}

/// The record of an instance as it lies on the disk.
fn stored(state: &State, byte: u8) -> serde_json::Value {
    serde_json::from_reader(fs::File::open(record_path(state, byte)).unwrap()).unwrap()
}

#[test]
fn a_damaged_record_is_named_hides_no_other_and_can_be_removed() {
    for damage in ["{", "[]", "{\"version\":1}", "\0\0\0"] {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(root.path()).unwrap();
        create(&state, 1, "one");
        let two = create(&state, 2, "two");
        fs::write(record_path(&state, 1), damage).unwrap();
        let listing = state.list().unwrap();
        assert_eq!(listing.records, [two]);
        let [error] = &listing.unreadable[..] else {
            panic!("{listing:?}");
        };
        assert!(error.to_string().contains(id(1).as_str()), "{error}");
        // It is still there, with its name, and says what it is.
        for text in ["one", id(1).as_str(), id(1).short()] {
            assert!(matches!(state.find(text), Err(Error::Damaged { .. })));
            assert_eq!(state.find_id(text).unwrap(), id(1));
        }
        state.sweep().unwrap();
        let taken = state.reserve(id(3), Some("one"));
        assert!(matches!(taken, Err(Error::NameInUse { .. })), "{taken:?}");
        drop(taken);
        state.remove(&id(1), &root.path().join("trash")).unwrap();
        assert_eq!(links(root.path()), 1);
        create(&state, 4, "one");
    }
}

#[test]
fn a_record_of_a_newer_program_is_listed_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    create(&state, 1, "one");
    // What it says besides is nothing that this program could read.
    let newer = serde_json::json!({"spec": [7], "id": id(1), "name": "one", "version": 2});
    fs::write(record_path(&state, 1), newer.to_string()).unwrap();
    let is_newer = |error: &Error| matches!(error, Error::Newer { version: 2, .. });
    assert!(is_newer(&state.list().unwrap().unreadable[0]));
    assert!(is_newer(&state.find("one").unwrap_err()));
    let change = state.lock(&id(1)).unwrap().change(|_| {});
    assert!(is_newer(&change.unwrap_err()));
    assert!(is_newer(&state.rename(&id(1), "uno").unwrap_err()));
    let taken = state.reserve(id(2), Some("one"));
    assert!(matches!(taken, Err(Error::NameInUse { .. })), "{taken:?}");
    drop(taken);
    state.sweep().unwrap();
    assert_eq!(stored(&state, 1), newer);
    // Its links are known, too: the one that it does not carry is nobody's.
    link(root.path(), "stale", &id(1));
    assert!(matches!(state.find("stale"), Err(Error::NotFound { .. })));
    create(&state, 3, "stale");
    // Its own supervisor, which may be of an older program, removes it.
    state.remove(&id(1), &root.path().join("trash")).unwrap();
    create(&state, 4, "one");
}

#[test]
fn a_change_keeps_what_another_program_knows() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    create(&state, 1, "one");
    // As a program wrote it that has more fields, and one that had no versions.
    let mut fields = stored(&state, 1);
    assert_eq!(fields["version"], 1);
    fields.as_object_mut().unwrap().shift_remove("version");
    fields["later"] = serde_json::json!({"a": 1});
    fields["spec"]["limits"]["later"] = 2.into();
    fields["spec"]["restart"] = serde_json::json!({"name": "on-failure", "max": 3});
    fields["spec"]
        .as_object_mut()
        .unwrap()
        .shift_remove("ulimits");
    fs::write(record_path(&state, 1), fields.to_string()).unwrap();
    let always = cove_model::instance::RestartPolicy::Always;
    let change = |record: &mut Record| {
        record.spec.limits.pids = Some(7);
        record.spec.restart = always;
    };
    state.lock(&id(1)).unwrap().change(change).unwrap();
    state.rename(&id(1), "uno").unwrap();
    fields["version"] = 1.into();
    fields["name"] = "uno".into();
    fields["spec"]["limits"]["pids"] = 7.into();
    fields["spec"]["restart"] = serde_json::to_value(always).unwrap();
    assert_eq!(stored(&state, 1), fields);
    assert_eq!(state.find("uno").unwrap().spec.limits.pids, Some(7));
}

#[test]
fn of_changes_at_once_none_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    create(&state, 1, "one");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let state = &state;
            scope.spawn(move || {
                for round in 0..50 {
                    let change = |record: &mut Record| {
                        *record.spec.limits.pids.get_or_insert(0) += 1;
                    };
                    state.lock(&id(1)).unwrap().change(change).unwrap();
                    let name = format!("t{thread}r{round}");
                    state.rename(&id(1), &name).unwrap();
                }
            });
        }
    });
    assert_eq!(state.get(&id(1)).unwrap().spec.limits.pids, Some(200));
    assert_eq!(links(root.path()), 1);
}

#[test]
fn what_is_being_created_is_not_swept() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                state.sweep().unwrap();
            }
        });
        for byte in 0..200 {
            let name = format!("c{byte}x");
            create(&state, byte, &name);
            assert_eq!(state.find(&name).unwrap().id, id(byte));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(state.list().unwrap().all().unwrap().len(), 200);
}

#[test]
fn a_record_that_a_power_cut_emptied_is_swept_with_its_name() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let torn = create(&state, 1, "torn");
    create(&state, 2, "whole");
    fs::write(state.directory(&torn.id).join("record.json"), "").unwrap();
    assert_eq!(state.list().unwrap().all().unwrap().len(), 1);
    state.sweep().unwrap();
    assert_eq!(state.ids().unwrap(), [id(2)]);
    assert!(!root.path().join("names/torn").is_symlink());
}

/// What a rename of `id` that was killed leaves beside the names it had or has.
fn link(root: &Path, name: &str, id: &InstanceId) {
    symlink(id.as_str(), root.join("names").join(name)).unwrap();
}

fn links(root: &Path) -> usize {
    fs::read_dir(root.join("names")).unwrap().count()
}

#[test]
fn of_a_rename_that_was_killed_the_record_decides() {
    for (carried, stale) in [("one", "uno"), ("uno", "one")] {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(root.path()).unwrap();
        let one = create(&state, 1, carried);
        link(root.path(), stale, &one.id);
        assert_eq!(state.find(carried).unwrap().id, one.id);
        assert!(
            matches!(state.find(stale), Err(Error::NotFound { .. })),
            "{stale} is no name of it"
        );
        // Its owner may have it, another may, and the next command removes it.
        state.rename(&one.id, stale).unwrap();
        assert_eq!(state.find(stale).unwrap().id, one.id);
        assert_eq!(links(root.path()), 1);
        link(root.path(), carried, &one.id);
        create(&state, 2, carried);
        assert_eq!(state.find(carried).unwrap().id, id(2));
        link(root.path(), "third", &one.id);
        state.sweep().unwrap();
        assert_eq!(links(root.path()), 2);
        assert_eq!(state.find(stale).unwrap().id, one.id);
    }
}

#[test]
fn a_stale_name_that_looks_like_an_id_hides_none() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let one = create(&state, 0xaa, "one");
    create(&state, 0xbb, "two");
    link(root.path(), "aaaa", &id(0xbb));
    assert_eq!(state.find("aaaa").unwrap(), one);
}

#[test]
fn renames_creations_and_sweeps_at_once_leave_each_instance_its_name() {
    const NAMES: [&str; 3] = ["red", "green", "blue"];
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let attempt = |result: Result<()>| match result {
        Ok(()) | Err(Error::NameInUse { .. } | Error::NotFound { .. }) => {}
        Err(other) => panic!("{other}"),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                state.sweep().unwrap();
            }
        });
        let workers: Vec<_> = (0..4_u8)
            .map(|byte| {
                let (state, root) = (&state, root.path());
                scope.spawn(move || {
                    let trash = root.join(format!("trash{byte}"));
                    for round in 0..60_u8 {
                        // As in life, no id comes twice.
                        let own = id(byte * 60 + round);
                        let name = |offset: u8| NAMES[usize::from(byte + offset) % 3];
                        let made = state.reserve(own.clone(), Some(name(round)));
                        let made = made
                            .and_then(|reservation| reservation.commit(&record(&own, name(round))));
                        attempt(made);
                        attempt(state.rename(&own, name(round + 1)));
                        if let Ok(now) = state.get(&own) {
                            // Nobody else changes it: what its record says is true.
                            assert_eq!(state.find(&now.name).unwrap().id, own);
                            state.remove(&now.id, &trash).unwrap();
                            fs::remove_dir_all(&trash).unwrap();
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = workers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    assert_eq!(state.ids().unwrap(), []);
    state.sweep().unwrap();
    assert_eq!(links(root.path()), 0);
}
