//! Archives that lie, climb or explode: refused, and nothing outside changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cove_model::image::Compression;
use cove_storage::{Error, Limits, TarError, Unpack};

use crate::support::{Fixture, archive, member, names, run};

/// A directory beside the store that must stay as it is.
struct Canary {
    directory: PathBuf,
    before: Vec<(String, u64, u32, i64, i64, Vec<u8>)>,
}

impl Canary {
    fn new(fixture: &Fixture) -> Self {
        let directory = fixture.scratch("canary");
        std::fs::write(directory.join("secret"), b"canary").unwrap();
        let before = Self::look(&directory);
        Self { directory, before }
    }

    fn look(directory: &Path) -> Vec<(String, u64, u32, i64, i64, Vec<u8>)> {
        let mut all = Vec::new();
        for name in names(directory) {
            let path = directory.join(&name);
            let m = std::fs::symlink_metadata(&path).unwrap();
            let content = run("cat", &[path.to_str().unwrap()], directory);
            all.push((name, m.ino(), m.mode(), m.mtime(), m.ctime(), content));
        }
        all
    }

    fn assert_untouched(&self) {
        assert_eq!(Self::look(&self.directory), self.before);
    }
}

fn path(canary: &Canary) -> String {
    canary.directory.to_str().unwrap().to_owned()
}

#[test]
fn nothing_outside_the_layer_is_touched() {
    let fixture = Fixture::new();
    let canary = Canary::new(&fixture);
    let outside = path(&canary);
    let secret = format!("{outside}/secret");
    let long = |name: &str, kind, link: &str, content: &[u8]| {
        // Names beyond 100 bytes would need a prefix.
        assert!(name.len() <= 100 && link.len() <= 100, "{name} {link}");
        member(name, kind, link, content)
    };
    let climbing = "../".repeat(12);
    let refused = [
        archive(&[long("../../canary/secret", b'0', "", b"x")]),
        archive(&[long("a/../../x", b'0', "", b"x")]),
        archive(&[long("..", b'5', "", b"")]),
        archive(&[long(".wh...", b'0', "", b"")]),
        archive(&[long(".wh..", b'0', "", b"")]),
        archive(&[long(".wh.", b'0', "", b"")]),
        archive(&[long("a/.wh...", b'0', "", b"")]),
        archive(&[long(".wh.d/f", b'0', "", b"")]),
        archive(&[long("h", b'1', &secret, b"")]),
        archive(&[long("h", b'1', "../secret", b"")]),
        archive(&[
            long("s", b'2', &outside, b""),
            long("s/new", b'0', "", b"x"),
        ]),
        archive(&[
            long("s", b'2', &outside, b""),
            long("s/d/e/", b'5', "", b""),
        ]),
        archive(&[
            long("s", b'2', &outside, b""),
            long("s/.wh.secret", b'0', "", b""),
        ]),
        archive(&[
            long("s", b'2', &outside, b""),
            long("h", b'1', "s/secret", b""),
        ]),
        archive(&[
            long("s", b'2', &climbing, b""),
            long("s/nowhere/x", b'1', "s/y", b""),
        ]),
        archive(&[long("s", b'2', "s", b""), long("s/x", b'0', "", b"")]),
        archive(&[long("f", b'0', "", b""), long("f/x", b'0', "", b"")]),
        archive(&[long(".wh.f", b'0', "", b""), long("h", b'1', "f", b"")]),
        archive(&[long("d/", b'5', "", b""), long("h", b'1', "d", b"")]),
        archive(&[long("h", b'1', "h", b"")]),
        archive(&[long("./", b'0', "", b"")]),
    ];
    for (number, tar) in refused.iter().enumerate() {
        let error = fixture.stage(tar).expect_err(&format!("case {number}"));
        assert!(
            matches!(error, Error::Tar { .. }),
            "case {number}: {error:?}"
        );
        canary.assert_untouched();
    }
    // These are fine, inside the layer.
    for tar in [
        archive(&[long(&secret, b'0', "", b"x")]),
        archive(&[long("s", b'2', &secret, b""), long("s", b'0', "", b"x")]),
        archive(&[long("s", b'2', &secret, b""), long("h", b'1', "s", b"")]),
        archive(&[long("s", b'2', &outside, b""), long(".wh.s", b'0', "", b"")]),
        archive(&[long("s", b'2', &outside, b""), long("s/", b'5', "", b"")]),
    ] {
        let layer = fixture.unpack(&tar);
        crate::support::assert_exact(&layer, &tar);
        canary.assert_untouched();
    }
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

fn patched(mut tar: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    tar[at..at + bytes.len()].copy_from_slice(bytes);
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|&b| u32::from(b)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest + 1..)
            .find(|n| rest + n.to_string().len() == *n)
            .unwrap();
        body.push_str(&format!("{length} {key}={value}\n"));
    }
    member("pax", b'x', "", body.as_bytes())
}

#[test]
fn ambiguous_and_broken_archives_are_refused() {
    let fixture = Fixture::new();
    let file = || member("f", b'0', "", b"content");
    let plain = archive(&[file()]);
    let hidden = [file(), archive(&[member("inner", b'0', "", b"")])].concat();
    let mut bad_sum = plain.clone();
    bad_sum[0] ^= 1;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("truncated in a header", plain[..300].to_vec()),
        ("truncated in a payload", plain[..515].to_vec()),
        ("truncated in padding", plain[..600].to_vec()),
        ("checksum", bad_sum),
        (
            "size over everything",
            patched(plain.clone(), 124, b"77777777777\0"),
        ),
        ("negative size", patched(plain.clone(), 124, &[0xff; 12])),
        (
            "unreadable size",
            patched(plain.clone(), 124, b"0000000000x\0"),
        ),
        (
            "pax size smaller",
            archive(&[pax(&[("size", "0")]), file(), hidden.clone()]),
        ),
        (
            "pax size larger",
            archive(&[pax(&[("size", "1024")]), file()]),
        ),
        (
            "two sizes",
            archive(&[pax(&[("size", "7"), ("size", "7")]), file()]),
        ),
        (
            "two headers",
            archive(&[pax(&[("path", "a")]), pax(&[("path", "b")]), file()]),
        ),
        ("pax before the end", archive(&[pax(&[("path", "a")])])),
        (
            "global size",
            archive(&[member("g", b'g', "", b"10 size=99\n"), file()]),
        ),
        (
            "long name and pax",
            archive(&[member("l", b'L', "", b"n\0"), pax(&[("path", "a")]), file()]),
        ),
        (
            "payload of a link",
            archive(&[member("l", b'2', "f", &plain)]),
        ),
        (
            "payload of a directory",
            archive(&[member("d/", b'5', "", &plain)]),
        ),
        (
            "payload of a hard link",
            archive(&[file(), member("l", b'1', "f", &plain)]),
        ),
        (
            "file with a slash",
            archive(&[member("d/", b'0', "", b"x")]),
        ),
        ("unknown type", archive(&[member("v", b'V', "", b"")])),
        ("data behind the end", [plain.clone(), file()].concat()),
        ("lone zero block", [vec![0; 512], plain.clone()].concat()),
        (
            "sparse without map",
            archive(&[pax(&[("GNU.sparse.size", "9")]), file()]),
        ),
        (
            "sparse map too long",
            archive(&[
                pax(&[("GNU.sparse.size", "9"), ("GNU.sparse.map", "5,9")]),
                file(),
            ]),
        ),
        (
            "uid of nobody",
            archive(&[pax(&[("uid", "4294967295")]), file()]),
        ),
        ("empty name", archive(&[member("", b'0', "", b"")])),
    ];
    for (what, tar) in cases {
        let error = fixture.stage(&tar).expect_err(what);
        assert!(matches!(error, Error::Tar { .. }), "{what}: {error:?}");
    }
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

#[test]
fn bombs_end_with_a_clear_error() {
    let fixture = Fixture::new();
    let limits = Limits {
        bytes: 1 << 20,
        ratio: 20,
        ratio_from: 64 << 10,
        entries: 10,
        directory_names: 1000,
        name: 200,
        depth: 4,
        extended_header: 4096,
        file: 1 << 30,
        segments: 3,
        replaced: 2,
    };
    let many = |n: usize| {
        (0..n)
            .map(|i| member(&format!("f{i}"), b'0', "", b""))
            .collect::<Vec<_>>()
    };
    let directories: Vec<_> = (0..9)
        .map(|i| member(&format!("{}{i}/", "d".repeat(90)), b'5', "", b""))
        .collect();
    let stage = |tar: &[u8], compression| {
        let what = Unpack {
            limits,
            ..Unpack::new(compression)
        };
        fixture.store.unpack(tar, &what).unwrap_err()
    };
    let big = archive(&[member("f", b'0', "", &vec![0; 2 << 20])]);
    assert!(matches!(
        stage(&big, Compression::None),
        Error::TooLarge { .. }
    ));
    let bomb = zstd::encode_all(&big[..900 << 10], 19).unwrap();
    assert!(matches!(
        stage(&bomb, Compression::Zstd),
        Error::Ratio { ratio: 20 }
    ));
    for tar in [
        archive(&many(11)),
        archive(&directories),
        archive(&[
            pax(&[("path", &"/a".repeat(101))]),
            member("f", b'0', "", b""),
        ]),
        archive(&[member("a/b/c/d/e", b'0', "", b"")]),
        archive(&vec![member("f", b'0', "", b"x"); 4]),
        archive(&[
            pax(&[("comment", &"x".repeat(5000))]),
            member("f", b'0', "", b""),
        ]),
        archive(&[
            pax(&[("GNU.sparse.size", "2000000000"), ("GNU.sparse.map", "0,0")]),
            member("f", b'0', "", b""),
        ]),
        archive(&[
            pax(&[
                ("GNU.sparse.size", "9"),
                ("GNU.sparse.map", "0,0,1,0,2,0,3,0"),
            ]),
            member("f", b'0', "", b""),
        ]),
    ] {
        let error = stage(&tar, Compression::None);
        let Error::Tar {
            source: TarError::Limit { .. },
            ..
        } = error
        else {
            panic!("{error:?}")
        };
    }
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

#[test]
fn every_flipped_bit_is_caught_and_none_crashes() {
    let fixture = Fixture::new();
    let tar = archive(&[
        member("d/", b'5', "", b""),
        pax(&[("mtime", "1.5"), ("SCHILY.xattr.user.a", "b")]),
        member("d/f", b'0', "", b"content"),
        member("d/l", b'2', "f", b""),
        member("d/h", b'1', "d/f", b""),
    ]);
    let mut what = Unpack::new(Compression::None);
    what.diff_id = Some(cove_storage::digest_of(&tar));
    for at in (0..tar.len()).step_by(7) {
        let mut flipped = tar.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(
            fixture.store.unpack(flipped.as_slice(), &what).is_err(),
            "byte {at}"
        );
    }
    assert_eq!(fixture.staged(), Vec::<String>::new());
}
