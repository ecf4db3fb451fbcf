//! Checking what is stored, and dropping what is damaged.

use std::collections::BTreeSet;
use std::path::Path;

use cove_model::Digest;
use cove_storage::{Error, Fate, Format, ImageRecord, Object, Problem, Store};

use crate::support::{Fixture, archive, image, member, nothing_used, reference, saved};

/// Says that a registry has the image.
fn pulled(store: &Store, record: &ImageRecord) {
    let mut record = record.clone();
    let digest = format!("docker.io/library/one@{}", record.manifest);
    record.repo_digests.insert(digest);
    store.put_image(&record, &[]).unwrap();
}

/// The findings about the only thing that is damaged.
fn findings(problems: &[Problem]) -> String {
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].findings.join("\n")
}

#[test]
fn what_is_damaged_is_named_and_what_a_pull_brings_back_is_dropped() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let one = image(store, "one:1", &["some content", "more"]);
    assert_eq!(store.fsck(false, nothing_used).unwrap(), []);
    let mut bytes = Vec::new();
    store
        .save(&saved(&[(&one, "one:1")]), Format::Docker, &mut bytes)
        .unwrap();
    let layer = one.layers[0].diff_id;
    let diff = store.layer(&layer).unwrap().diff();
    std::fs::write(diff.join("a/f"), "some c0ntent").unwrap();
    std::fs::write(diff.join("a/extra"), "").unwrap();
    let problems = store.fsck(false, nothing_used).unwrap();
    let found = findings(&problems);
    assert!(
        found.contains("digest") && found.contains("a/extra"),
        "{found}"
    );
    assert_eq!(problems[0].object, Object::Layer(layer));
    assert_eq!(problems[0].images, [one.id]);
    assert_eq!(problems[0].fate, Fate::Left);
    let mut sink = Vec::new();
    let refused = store.save(&saved(&[(&one, "one:1")]), Format::Docker, &mut sink);
    assert!(matches!(refused, Err(Error::Digest { .. })));

    let fate = |used: &[Digest]| {
        let used: BTreeSet<Digest> = used.iter().copied().collect();
        store.fsck(true, || Ok(used.clone())).unwrap()[0].fate
    };
    assert_eq!(fate(&[]), Fate::OnlyHere);
    pulled(store, &one);
    assert_eq!(fate(&[layer]), Fate::InUse);
    assert!(store.has_layer(&layer));
    assert_eq!(fate(&[]), Fate::Pullable);
    assert!(!store.has_layer(&layer));
    let missing = store.fsck(false, nothing_used).unwrap();
    assert_eq!(findings(&missing), "it is missing");
    store.load(bytes.as_slice()).unwrap();
    assert_eq!(store.fsck(false, nothing_used).unwrap(), []);
}

#[test]
fn deletions_that_are_not_there_any_more_are_seen() {
    let fixture = Fixture::new();
    let layer = fixture.unpack(&archive(&[
        member("./", b'5', "", b""),
        member("d/.wh.x", b'0', "", b""),
        member("e/.wh..wh..opq", b'0', "", b""),
        member("f/.wh.g", b'0', "", b""),
        member("f/g/h", b'0', "", b""),
        // A device that overlayfs takes for a deletion.
        member("i/j", b'3', "", b""),
    ]));
    let store = &fixture.store;
    assert_eq!(store.fsck(false, nothing_used).unwrap(), []);
    let overlay = if store.user_xattr() {
        "user"
    } else {
        "trusted"
    };
    let opaque = format!("{overlay}.overlay.opaque");
    let diff = layer.diff();
    std::fs::remove_file(diff.join("d/x")).unwrap();
    for directory in ["e", "f/g"] {
        rustix::fs::removexattr(diff.join(directory), opaque.as_str()).unwrap();
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(diff.join("d"), opaque.as_str(), b"y", flags).unwrap();
    let found = findings(&store.fsck(false, nothing_used).unwrap());
    for words in [
        "d/x: its deletion is not there",
        "e: no longer hides",
        "f/g: no longer hides",
        "d: hides",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
}

#[test]
fn what_a_layers_record_says_of_the_root_is_checked() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    for (from, to) in [
        ("\"mode\":420", "\"mode\":511"),
        ("\"opaque_root\":false", "\"opaque_root\":true"),
    ] {
        let layer = fixture.unpack(&archive(&[member("./", b'5', "", b"")]));
        let path = layer.diff().with_file_name("layer.json");
        edit(&path, from, to);
        let found = findings(&store.fsck(false, nothing_used).unwrap());
        assert!(found.contains("layer.json"), "{found}");
        edit(&path, to, from);
    }
}

/// Rewrites a file; the text must be in it.
fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn records_are_checked_against_what_they_repeat() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let one = image(store, "one:1", &["base", "more"]);
    let record = store.root().join("images/by-id");
    let record = record.join(format!("{}.json", one.id.hex()));
    let whole = std::fs::read_to_string(&record).unwrap();

    // Base and top change places.
    let [base, top] = [0, 1].map(|n| one.layers[n].diff_id.hex());
    let swapped = whole.replace(&base, "?").replace(&top, &base);
    std::fs::write(&record, swapped.replace('?', &top)).unwrap();
    let problems = store.fsck(true, nothing_used).unwrap();
    assert!(findings(&problems).contains("differ"), "{problems:?}");
    assert_eq!(problems[0].object, Object::Image(one.id));
    assert_eq!(problems[0].fate, Fate::OnlyHere);

    // Of what cannot be read the configuration says nearly all.
    std::fs::write(&record, "{").unwrap();
    let problems = store.fsck(true, nothing_used).unwrap();
    findings(&problems);
    assert_eq!(problems[0].fate, Fate::Remade);
    assert_eq!(store.fsck(false, nothing_used).unwrap(), []);
    assert_eq!(store.find_image("one:1").unwrap().record.layers, one.layers);

    let names = store.root().join("images/names");
    let name = std::fs::read_dir(&names).unwrap().next().unwrap().unwrap();
    edit(&name.path(), "one:1", "two:1");
    let problems = store.fsck(true, nothing_used).unwrap();
    findings(&problems);
    assert_eq!(problems[0].fate, Fate::Removed);
    assert_eq!(store.fsck(false, nothing_used).unwrap(), []);
    store.tag(&one.id, &reference("three:1")).unwrap();
    std::fs::remove_file(&record).unwrap();
    let found = findings(&store.fsck(true, nothing_used).unwrap());
    assert!(found.contains("three:1"), "{found}");
    assert_eq!(store.fsck(false, nothing_used).unwrap(), []);
}
