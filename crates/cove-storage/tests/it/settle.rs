//! What is durable by its redo log: settled in its boot, made anew after it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cove_model::Digest;
use cove_model::image::Compression;
use cove_storage::{Error, Fate, Layer, Lease, Settler, StagedLayer, Store, Unpack, digest_of};

use crate::support::{archive, assert_exact, compressed, member, names, nothing_used};

/// A durable store in a directory that goes with it.
struct Durable {
    store: Store,
    _directory: tempfile::TempDir,
}

impl Durable {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        Self {
            store,
            _directory: directory,
        }
    }

    /// Brings a layer as a pull does.
    fn pull(&self, tar: &[u8]) -> (Digest, Settler) {
        let settler = self.store.settler(tar.len() as u64).unwrap().unwrap();
        let lease = Lease::new(&self.store).unwrap();
        let layers = vec![self.stage(tar, Compression::Zstd, &settler)];
        let id = self.store.publish(&lease, layers).unwrap()[0].diff_id;
        (id, settler)
    }

    fn stage(&self, tar: &[u8], compression: Compression, settler: &Settler) -> StagedLayer {
        let blob = match compression {
            Compression::None => tar.to_vec(),
            Compression::Gzip | Compression::Zstd | Compression::Xz | Compression::Bzip2 => {
                compressed(compression, tar, &["-1"])
            }
        };
        let mut what = Unpack::new(compression);
        what.compressed = Some((digest_of(&blob), blob.len() as u64));
        what.settler = Some(settler);
        self.store.unpack(blob.as_slice(), &what).unwrap()
    }

    /// A layer that a cut has torn, and its archive.
    fn torn(&self) -> (Digest, Vec<u8>) {
        let tar = tar();
        let (id, _killed) = self.pull(&tar);
        std::fs::remove_file(self.layer_directory(&id).join("diff/d/small")).unwrap();
        self.under_another(&id, "kernel");
        (id, tar)
    }

    /// Lets the layer have been unpacked under another `kernel` or `mount`.
    fn under_another(&self, id: &Digest, what: &str) {
        let mut log = std::fs::read(self.log(id)).unwrap();
        let text = String::from_utf8_lossy(&log[..4096]).into_owned();
        let value = text.find(&format!("\"{what}\":")).unwrap() + what.len() + 3;
        // A digit of it, after the quotation mark if there is one.
        let digit = value + text[value..].find(|c: char| c.is_ascii_hexdigit()).unwrap();
        log[digit] = if log[digit] == b'1' { b'2' } else { b'1' };
        std::fs::write(self.log(id), log).unwrap();
    }

    fn layer_directory(&self, diff_id: &Digest) -> PathBuf {
        self.store.root().join("layers").join(diff_id.hex())
    }

    /// The layer's redo log.
    fn log(&self, diff_id: &Digest) -> PathBuf {
        self.layer_directory(diff_id).join("redo")
    }
}

/// An archive whose blob takes more than one buffer of the log.
fn tar() -> Vec<u8> {
    let mut noise = 1_u64;
    let mut next = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.to_be_bytes()[0]
    };
    let content: Vec<u8> = (0..3_000_000).map(|_| next()).collect();
    archive(&[
        member("d/", b'5', "", b""),
        member("d/big", b'0', "", &content),
        member("d/small", b'0', "", b"some words"),
        member("d/again", b'1', "d/small", b""),
        member("l", b'2', "d/small", b""),
    ])
}

fn inode(layer: &Layer) -> u64 {
    std::fs::metadata(layer.diff()).unwrap().ino()
}

#[test]
fn a_layer_is_settled_by_its_own_settler() {
    let durable = Durable::new();
    let tar = tar();
    let (id, settler) = durable.pull(&tar);
    let (other, others) = durable.pull(&archive(&[member("f", b'0', "", b"another")]));
    assert!(durable.log(&id).metadata().unwrap().len() > 3_000_000);
    let before = inode(&durable.store.layer(&id).unwrap());
    durable
        .store
        .settle(settler.name(), settler.hears())
        .unwrap();
    assert_eq!(
        names(&durable.layer_directory(&id)),
        ["diff", "layer.json", "tar.recipe"]
    );
    let layer = durable.store.layer(&id).unwrap();
    assert_exact(&layer, &tar);
    assert_eq!(inode(&layer), before);
    // Of the other layer's errors this one may not have heard.
    assert!(durable.log(&other).exists());
    durable.store.settle(others.name(), others.hears()).unwrap();
    assert!(!durable.log(&other).exists());
    // Nothing to do is no error.
    durable.store.settle(others.name(), others.hears()).unwrap();
}

#[test]
fn what_was_written_before_the_boot_ended_is_left_as_it_is() {
    let durable = Durable::new();
    let tar = tar();
    let (id, _killed) = durable.pull(&tar);
    let before = inode(&durable.store.layer(&id).unwrap());
    durable.under_another(&id, "kernel");
    let layer = durable.store.layer(&id).unwrap();
    assert_exact(&layer, &tar);
    assert_eq!(inode(&layer), before);
    assert!(!durable.log(&id).exists());
}

#[test]
fn under_another_mount_a_layer_is_looked_at_and_keeps_its_log() {
    let durable = Durable::new();
    let tar = tar();
    let (id, settler) = durable.pull(&tar);
    durable.under_another(&id, "mount");
    let layer = durable.store.layer(&id).unwrap();
    // The page cache may be all that has it.
    assert!(durable.log(&id).exists());
    let before = inode(&layer);
    std::fs::write(layer.diff().join("d/big"), "").unwrap();
    let layer = durable.store.layer(&id).unwrap();
    assert_exact(&layer, &tar);
    assert_ne!(inode(&layer), before);
    assert!(!durable.log(&id).exists());
    durable
        .store
        .settle(settler.name(), settler.hears())
        .unwrap();
}

/// What a power cut does to a layer's directory.
type Tear = fn(&Path);

#[test]
fn whatever_is_torn_is_made_anew_from_the_log() {
    let tar = tar();
    let tear: [(&str, Tear); 6] = [
        ("content", |layer| {
            std::fs::write(layer.join("diff/d/big"), "").unwrap();
        }),
        ("a file", |layer| {
            std::fs::remove_file(layer.join("diff/d/small")).unwrap();
        }),
        ("the time that a file gets last", |layer| {
            let file = std::fs::File::open(layer.join("diff/d/small")).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
        }),
        ("the record", |layer| {
            std::fs::write(layer.join("layer.json"), [0; 100]).unwrap();
        }),
        ("the recipe", |layer| {
            std::fs::remove_file(layer.join("tar.recipe")).unwrap();
        }),
        ("all", |layer| {
            std::fs::remove_dir_all(layer.join("diff")).unwrap();
            std::fs::remove_file(layer.join("layer.json")).unwrap();
        }),
    ];
    for (what, tear) in tear {
        let durable = Durable::new();
        let (id, _killed) = durable.pull(&tar);
        tear(&durable.layer_directory(&id));
        durable.under_another(&id, "kernel");
        // Nobody says that it is missing, and so nobody fetches it again.
        assert!(durable.store.has_layer(&id), "{what}");
        let layer = durable.store.layer(&id).unwrap();
        assert_exact(&layer, &tar);
        assert_eq!(
            durable.store.fsck(false, nothing_used).unwrap(),
            [],
            "{what}"
        );
        assert!(!durable.log(&id).exists(), "{what}");
        assert_eq!(names(&durable.store.root().join("tmp")), [""; 0], "{what}");
    }
}

#[test]
fn many_that_find_a_torn_layer_at_once_all_get_it_whole() {
    let durable = Durable::new();
    let (id, tar) = durable.torn();
    let inodes: Vec<u64> = std::thread::scope(|scope| {
        let one = || {
            let layer = durable.store.layer(&id).unwrap();
            assert_exact(&layer, &tar);
            inode(&layer)
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    // One of them made it.
    assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
}

#[test]
fn a_log_that_is_damaged_too_is_told_and_dropped() {
    let durable = Durable::new();
    let (id, _) = durable.torn();
    let mut log = std::fs::read(durable.log(&id)).unwrap();
    log[1_000_000] ^= 1;
    std::fs::write(durable.log(&id), log).unwrap();
    assert!(durable.store.layer(&id).is_err());
    let problems = durable.store.fsck(true, nothing_used).unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].fate, Fate::Removed);
    assert!(matches!(
        durable.store.layer(&id),
        Err(Error::NotFound { .. })
    ));
    assert_eq!(names(&durable.store.root().join("tmp")), [""; 0]);
}

#[test]
fn fsck_makes_anew_what_was_damaged_before_it_was_settled() {
    let durable = Durable::new();
    let tar = tar();
    let (id, _killed) = durable.pull(&tar);
    let layer = durable.store.layer(&id).unwrap();
    std::fs::write(layer.diff().join("d/big"), "").unwrap();
    let fate = |used: BTreeSet<Digest>| {
        let problems = durable.store.fsck(true, || Ok(used.clone())).unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].fate
    };
    assert_eq!(fate([id].into()), Fate::InUse);
    assert_eq!(inode(&durable.store.layer(&id).unwrap()), inode(&layer));
    assert_eq!(fate(BTreeSet::new()), Fate::Remade);
    assert_exact(&durable.store.layer(&id).unwrap(), &tar);
    assert_eq!(durable.store.fsck(true, nothing_used).unwrap(), []);
    assert_eq!(names(&durable.store.root().join("tmp")), [""; 0]);
}

#[test]
fn an_unused_layer_goes_with_its_log() {
    let durable = Durable::new();
    let (id, _) = durable.torn();
    let collected = durable.store.collect(nothing_used).unwrap();
    assert_eq!(collected.layers, [id]);
    assert_eq!(names(&durable.store.root().join("layers")), [""; 0]);
}

#[test]
fn where_a_layer_is_synced_none_has_a_log() {
    let durable = Durable::new();
    let settler = durable.store.settler(1 << 20).unwrap().unwrap();
    let lease = Lease::new(&durable.store).unwrap();
    let plain = archive(&[member("f", b'0', "", b"not compressed")]);
    let staged = vec![
        durable.stage(&tar(), Compression::Zstd, &settler),
        durable.stage(&plain, Compression::None, &settler),
    ];
    for layer in durable.store.publish(&lease, staged).unwrap() {
        assert!(!durable.log(&layer.diff_id).exists());
    }
}

#[test]
fn nothing_is_settled_later_where_there_is_little_room() {
    let durable = Durable::new();
    assert!(durable.store.settler(1 << 60).unwrap().is_none());
    let directory = tempfile::tempdir().unwrap();
    let unsynced = Store::open_with(directory.path(), false).unwrap();
    assert!(unsynced.settler(0).unwrap().is_none());
}
