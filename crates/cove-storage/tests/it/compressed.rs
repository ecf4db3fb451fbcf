//! Archives and layers in every compression that people have.

use cove_model::image::Compression;
use cove_storage::{Error, Lease, Limits, Unpack, digest_of};

use crate::support::{Fixture, archive, compressed, member};

const ALL: [Compression; 4] = [
    Compression::Gzip,
    Compression::Zstd,
    Compression::Xz,
    Compression::Bzip2,
];

fn tar() -> Vec<u8> {
    let content: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .collect();
    archive(&[member("file", b'0', "", &content)])
}

/// Imports an archive; the digest of what was found in it.
fn import(fixture: &Fixture, bytes: &[u8]) -> cove_storage::Result<cove_model::Digest> {
    fixture
        .store
        .import(bytes)
        .map(|staged| staged.info().diff_id)
}

#[test]
fn archives_of_every_compression_are_imported() {
    let fixture = Fixture::new();
    let tar = tar();
    let (first, second) = tar.split_at(tar.len() / 3);
    for how in ALL {
        let whole = compressed(how, &tar, &[]);
        assert_eq!(
            import(&fixture, &whole).unwrap(),
            digest_of(&tar),
            "{how:?}"
        );
        // As parallel compressors write them, and `cat a b`.
        let parts = [compressed(how, first, &[]), compressed(how, second, &[])].concat();
        assert_eq!(
            import(&fixture, &parts).unwrap(),
            digest_of(&tar),
            "{how:?}"
        );
    }
    // Streams of xz may be padded.
    let padded = [compressed(Compression::Xz, &tar, &[]), vec![0; 8]].concat();
    assert_eq!(import(&fixture, &padded).unwrap(), digest_of(&tar));
    for arguments in [
        &["-9e", "-C", "crc32"][..],
        &["-0", "-C", "sha256"],
        &["-C", "none"],
        &["-T2", "--block-size=64KiB"],
        &["--x86", "--lzma2=preset=1"],
    ] {
        let xz = compressed(Compression::Xz, &tar, arguments);
        assert_eq!(
            import(&fixture, &xz).unwrap(),
            digest_of(&tar),
            "{arguments:?}"
        );
    }
    assert!(fixture.staged().is_empty());
}

#[test]
fn what_is_cut_damaged_or_followed_by_something_else_is_refused() {
    let fixture = Fixture::new();
    let tar = tar();
    for how in ALL {
        let whole = compressed(how, &tar, &[]);
        for length in [7, 20, whole.len() / 2, whole.len() - 1] {
            let cut = import(&fixture, &whole[..length]);
            assert!(cut.is_err(), "{how:?} of {length} bytes");
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        assert!(import(&fixture, &damaged).is_err(), "{how:?}, damaged");
        for garbage in [&b"garbage!"[..], b"x"] {
            let more = [&whole, garbage].concat();
            assert!(import(&fixture, &more).is_err(), "{how:?}, {garbage:?}");
        }
    }
    assert!(fixture.staged().is_empty());
}

#[test]
fn bombs_of_every_compression_are_refused() {
    let fixture = Fixture::new();
    let zeros = vec![0; 8 << 20];
    for how in ALL {
        let bomb = compressed(how, &zeros, &[]);
        let mut what = Unpack::new(how);
        what.limits = Limits {
            ratio_from: 64 << 10,
            ..Limits::default()
        };
        let error = fixture.store.unpack(bomb.as_slice(), &what).unwrap_err();
        assert!(matches!(error, Error::Ratio { .. }), "{how:?}: {error:?}");
        what.limits = Limits {
            bytes: 1 << 20,
            ratio_from: u64::MAX,
            ..Limits::default()
        };
        let error = fixture.store.unpack(bomb.as_slice(), &what).unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { .. }),
            "{how:?}: {error:?}"
        );
    }
    // What only wants memory is told by its header.
    let greedy = compressed(Compression::Xz, b"x", &["--lzma2=dict=1GiB"]);
    let error = import(&fixture, &greedy).unwrap_err();
    let Error::Decompress {
        format: "xz",
        source,
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(source.to_string().contains("memory"), "{source}");
}

#[test]
fn a_layer_is_what_its_first_bytes_say() {
    let fixture = Fixture::new();
    let tar = tar();
    for how in ALL {
        let blob = compressed(how, &tar, &[]);
        let lease = Lease::new(&fixture.store).unwrap();
        // Registries have one type for the layers of Docker.
        let what = Unpack {
            compressed: Some((digest_of(&blob), blob.len() as u64)),
            ..Unpack::new(Compression::Gzip)
        };
        let staged = fixture.store.unpack(blob.as_slice(), &what).unwrap();
        let published = fixture.store.publish(&lease, vec![staged]).unwrap();
        assert_eq!(published[0].diff_id, digest_of(&tar), "{how:?}");
    }
}

#[test]
fn no_damage_makes_a_decoder_panic() {
    let fixture = Fixture::new();
    let tar = archive(&[member("file", b'0', "", &[b'x'; 700])]);
    let mut rng = testkit::rng::Rng::new(7);
    let mut refused = 0;
    for how in ALL {
        let whole = compressed(how, &tar, &[]);
        for round in 0..150 {
            let mut stream = whole.clone();
            let changes = 1 + round % 3;
            for _ in 0..changes {
                let at = usize::try_from(rng.below(stream.len() as u64)).unwrap();
                stream[at] ^= 1 << rng.below(8);
            }
            // A changed header may still say the same; then it is the archive.
            match import(&fixture, &stream) {
                Ok(found) => assert_eq!(found, digest_of(&tar), "{how:?}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 300, "{refused}");
    assert!(fixture.staged().is_empty());
}
