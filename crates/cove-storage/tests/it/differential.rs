//! Two independent readers agree on what is accepted: ours and the `tar`
//! crate, on archives that are valid, bent and glued together.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use crate::support::{Fixture, member};

type Listing = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the `tar` crate finds: files by name with their content, the last
/// one of a name, or nothing when it refuses.
fn listed(bytes: &[u8]) -> Option<Listing> {
    use std::io::Read;
    let mut found = Listing::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let path = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        if kind.is_file() && !path.ends_with(b"/") {
            found.insert(path, content);
        }
    }
    Some(found)
}

fn walk(directory: &std::path::Path, prefix: &[u8], found: &mut Listing) {
    for name in crate::support::names(directory) {
        let path = directory.join(&name);
        let shown = [prefix, path.file_name().unwrap().as_bytes()].concat();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            walk(&path, &[&shown[..], b"/"].concat(), found);
        } else if metadata.is_file() {
            let bytes = crate::support::run("cat", &[path.to_str().unwrap()], directory);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

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
        let fixture = Fixture::new();
        if fixture.stage(&bytes).is_err() {
            return Ok(());
        }
        let layer = fixture.unpack(&bytes);
        crate::support::assert_exact(&layer, &bytes);
        let mut ours = Listing::new();
        walk(&layer.diff(), b"", &mut ours);
        let theirs = listed(&bytes);
        prop_assert!(theirs.is_some(), "only we accept it");
        prop_assert_eq!(ours, theirs.unwrap_or_default());
    }
}
