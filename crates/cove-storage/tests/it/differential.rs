//! Two independent readers agree on what is accepted: ours and the `tar`
//! crate, on archives that are valid, bent and glued together.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use crate::support::{Fixture, archive, member};

type Listing = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the `tar` crate finds: files by name with their content, or nothing
/// when it refuses. The last member of a name decides what is there, whatever
/// its kind: GNU tar and Docker too put a directory in a file's place.
fn listed(bytes: &[u8]) -> Option<Listing> {
    use std::io::Read;
    let mut found = Listing::new();
    let mut reader = tar::Archive::new(bytes);
    for entry in reader.entries().ok()? {
        let mut entry = entry.ok()?;
        // Everybody unpacks below the directory, whatever the name begins with, and
        // but for this crate, takes a long name to end with its first NUL.
        let path = entry.path_bytes();
        let name = path.split(|b| *b == 0).next().unwrap_or_default();
        let parts: Vec<_> = name.split(|b| *b == b'/').filter(|p| *p != b"").collect();
        let path = parts.join(&b'/');
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        if entry.header().entry_type().is_file() {
            found.insert(path, content);
        } else {
            found.remove(&path);
        }
    }
    Some(found)
}

fn walk(directory: &std::path::Path, prefix: &[u8], found: &mut Listing) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let shown = [prefix, entry.file_name().as_bytes()].concat();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), &[&shown[..], b"/"].concat(), found);
        } else if kind.is_file() {
            let bytes = cove_sys::fs::read(&entry.path(), 1 << 20).unwrap();
            found.insert(shown, bytes);
        }
    }
}

fn pax_size(size: usize) -> Vec<u8> {
    let size = size.to_string();
    let length = 8 + size.len() + usize::from(8 + size.len() + 1 > 9);
    member("x", b'x', "", format!("{length} size={size}\n").as_bytes())
}

#[derive(Debug, Clone)]
enum Part {
    File(u8, Vec<u8>),
    Directory(u8),
    PaxSize(usize),
    LongName(u8),
    Inner(Vec<u8>),
    Zero,
}

fn part() -> impl Strategy<Value = Part> {
    let content = prop::collection::vec(any::<u8>(), 0..1200);
    prop_oneof![
        6 => (0..6_u8, content.clone()).prop_map(|(name, content)| Part::File(name, content)),
        1 => (6..9_u8).prop_map(Part::Directory),
        2 => (0..1500_usize).prop_map(Part::PaxSize),
        1 => (0..6_u8).prop_map(Part::LongName),
        1 => content.prop_map(Part::Inner),
        1 => Just(Part::Zero),
    ]
}

fn bytes_of(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(match part {
            Part::File(name, content) => member(&format!("f{name}"), b'0', "", content),
            Part::Directory(name) => member(&format!("d{name}/"), b'5', "", b""),
            Part::PaxSize(size) => pax_size(*size),
            Part::LongName(name) => member("long", b'L', "", format!("f{name}\0").as_bytes()),
            // An archive inside of a file, which a confused reader enters.
            Part::Inner(content) => member("outer", b'0', "", &member("inner", b'0', "", content)),
            Part::Zero => vec![0; 512],
        });
    }
    bytes.extend([0; 1024]);
    bytes
}

/// What we unpack, or nothing when we refuse; what we accept comes back exact.
fn unpacked(bytes: &[u8]) -> Option<Listing> {
    let fixture = Fixture::new();
    fixture.stage(bytes).ok()?;
    let layer = fixture.unpack(bytes);
    crate::support::assert_exact(&layer, bytes);
    let mut found = Listing::new();
    walk(&layer.diff(), b"", &mut found);
    Some(found)
}

#[test]
fn odd_names_are_those_that_gnu_tar_sees() {
    let file = |n| Part::File(n, vec![n]);
    let long = |name| archive(&[member("x", b'L', "", name), member("y", b'0', "", b"1")]);
    for bytes in [
        // The last member of a name decides.
        bytes_of(&[file(4), Part::LongName(4), Part::Directory(6)]),
        bytes_of(&[Part::LongName(4), Part::Directory(6), file(4)]),
        bytes_of(&[file(4), Part::LongName(4), file(5)]),
        long(b"f\0\0"),
        long(b"f"),
        long(b"//f\0"),
        long(b"f\xff\n\0"),
    ] {
        let gnu = tempfile::tempdir().unwrap();
        let tar = gnu.path().join("tar");
        std::fs::write(&tar, &bytes).unwrap();
        let target = gnu.path().join("to");
        std::fs::create_dir(&target).unwrap();
        crate::support::run("tar", &["-xf", tar.to_str().unwrap()], &target);
        let mut theirs = Listing::new();
        walk(&target, b"", &mut theirs);
        assert_eq!(listed(&bytes).as_ref(), Some(&theirs));
        assert_eq!(unpacked(&bytes), Some(theirs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_accept_the_other_reads_the_same(
        parts in prop::collection::vec(part(), 0..8),
        bend in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = bytes_of(&parts);
        if let Some((at, value)) = bend {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(ours) = unpacked(&bytes) {
            let theirs = listed(&bytes);
            prop_assert!(theirs.is_some(), "only we accept it");
            prop_assert_eq!(ours, theirs.unwrap_or_default());
        }
    }
}
