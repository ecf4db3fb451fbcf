//! Packing what somebody else writes to at the same time.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cove_storage::{export, pack};
use testkit::race::beside;

use crate::support::Fixture;

/// An archive that has an end, every member as long as its header says.
fn check(archive: &[u8]) -> usize {
    let mut members = 0;
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, entry.size());
        members += 1;
    }
    assert!(archive.ends_with(&[0; 1024]));
    members
}

fn pack_and_check(directory: &Path, name: &[u8]) -> usize {
    let root = File::open(directory).unwrap();
    let mut archive = Vec::new();
    pack(&root, name, b"copy", true, directory, &mut archive).unwrap();
    check(&archive)
}

/// Data and holes in turn, so that looking for them takes a while.
fn with_holes(file: &File) {
    for piece in 0..200 {
        file.write_all_at(b"data", piece * (32 << 10)).unwrap();
    }
}

#[test]
fn a_file_that_shrinks_and_grows_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("file")).unwrap();
    let work = || {
        with_holes(&file);
        file.set_len(1).unwrap();
    };
    beside(work, || {
        for _ in 0..1000 {
            assert_eq!(pack_and_check(directory.path(), b"file"), 1);
            let root = File::open(directory.path()).unwrap();
            let mut archive = Vec::new();
            export(&root, directory.path(), &mut archive).unwrap();
            assert_eq!(check(&archive), 1);
        }
    });
}

#[test]
fn what_vanishes_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("stays"), "x").unwrap();
    let work = || {
        for n in 0..20 {
            let deep = tree.join(format!("{n}/deep"));
            fs::create_dir_all(&deep).unwrap();
            fs::write(deep.join("file"), "content").unwrap();
            fs::hard_link(deep.join("file"), tree.join(format!("{n}-again"))).unwrap();
            std::os::unix::fs::symlink("to", deep.join("link")).unwrap();
        }
        for n in 0..20 {
            fs::remove_dir_all(tree.join(n.to_string())).unwrap();
            fs::remove_file(tree.join(format!("{n}-again"))).unwrap();
        }
    };
    let fixture = Fixture::new();
    beside(work, || {
        for _ in 0..150 {
            assert!(pack_and_check(directory.path(), b"tree") >= 2);
            let changes = fixture.store.changes(directory.path(), &[], &[]).unwrap();
            assert!(!changes.is_empty());
            let mut archive = Vec::new();
            fixture
                .store
                .write_diff(directory.path(), &[], &[], &mut archive)
                .unwrap();
            assert!(check(&archive) >= 2);
        }
    });
}

#[test]
fn the_second_name_of_a_file_does_not_refer_to_a_first_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("a"), directory.path().join("b"));
    fs::write(&second, "content").unwrap();
    // So that the second is one of several names whether the first is there or not.
    fs::hard_link(&second, directory.path().join("c")).unwrap();
    let work = || {
        fs::hard_link(&second, &first).unwrap();
        fs::remove_file(&first).unwrap();
    };
    beside(work, || {
        for _ in 0..3000 {
            let root = File::open(directory.path()).unwrap();
            let mut archive = Vec::new();
            export(&root, directory.path(), &mut archive).unwrap();
            let mut seen = Vec::new();
            for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
                let entry = entry.unwrap();
                if let Some(target) = entry.link_name().unwrap() {
                    assert!(seen.contains(&target.into_owned()), "{seen:?}");
                }
                seen.push(entry.path().unwrap().into_owned());
            }
        }
    });
}
