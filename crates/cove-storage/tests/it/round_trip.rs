//! Archives of GNU tar and others: exact as files, exact as bytes again.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use cove_model::image::Compression;
use cove_storage::{Lease, Unpack, digest_of};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::support::{Fixture, archive, assert_exact, member, run, tar_of};

/// A tree with one of everything that a layer may hold.
fn everything(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("usr/bin/tool"), vec![7; 100_000]).unwrap();
    fs::set_permissions(
        root.join("usr/bin/tool"),
        fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/alias")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("/outside/and/dangling", root.join("dangling")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    std::os::unix::fs::chown(root.join("empty"), Some(4_000_000), Some(3_000_000_000)).unwrap();
    let long = "long-name-".repeat(20);
    fs::create_dir(root.join(&long)).unwrap();
    fs::write(root.join(&long).join(&long), b"deep").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(10 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[1; 5000], 4 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[2; 5000], 9 << 20).unwrap();
    let file = fs::File::open(root.join("usr/bin/tool")).unwrap();
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    rustix::fs::fsetxattr(
        &file,
        "security.capability",
        capability,
        XattrFlags::empty(),
    )
    .unwrap();
    rustix::fs::fsetxattr(&file, "user.note", b"line\nline\0", XattrFlags::empty()).unwrap();
    let device = rustix::fs::makedev(1, 3);
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        mode,
        device,
    )
    .unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, mode, 0).unwrap();
    for (path, nanoseconds) in [
        ("usr/bin/tool", 123_456_789),
        ("usr", 1),
        ("bin", 999_999_999),
    ] {
        let time = Timespec {
            tv_sec: 1_234_567_890,
            tv_nsec: nanoseconds,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut all = Vec::new();
    for name in list[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let name = String::from_utf8(name.to_vec()).unwrap();
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
        value.truncate(length);
        all.push((name, value));
    }
    all.sort();
    all
}

fn assert_same(a: &Path, b: &Path, exact_times: bool) {
    let mut names = crate::support::names(a);
    assert_eq!(names, crate::support::names(b), "in {}", a.display());
    names.push(String::new());
    for name in names {
        let (left, right) = (a.join(&name), b.join(&name));
        let (l, r) = (
            fs::symlink_metadata(&left).unwrap(),
            fs::symlink_metadata(&right).unwrap(),
        );
        assert_eq!(l.mode(), r.mode(), "{}", left.display());
        assert_eq!((l.uid(), l.gid()), (r.uid(), r.gid()), "{}", left.display());
        assert_eq!(l.rdev(), r.rdev());
        assert_eq!(l.mtime(), r.mtime(), "{}", left.display());
        if exact_times {
            assert_eq!(l.mtime_nsec(), r.mtime_nsec(), "{}", left.display());
            assert_eq!(attributes(&left), attributes(&right));
        }
        if l.is_file() {
            assert!(fs::metadata(&left).unwrap().len() == r.len());
            assert_eq!(l.nlink(), r.nlink());
            assert!(
                run("cat", &[left.to_str().unwrap()], a)
                    == run("cat", &[right.to_str().unwrap()], b)
            );
        } else if l.is_symlink() {
            assert_eq!(
                fs::read_link(&left).unwrap(),
                fs::read_link(&right).unwrap()
            );
        } else if l.is_dir() && !name.is_empty() {
            assert_same(&left, &right, exact_times);
        } else {
            assert!(l.is_dir() || l.file_type().is_char_device() || l.file_type().is_fifo());
        }
    }
}

#[test]
fn gnu_tar_archives_of_every_format_come_back_byte_for_byte() {
    let fixture = Fixture::new();
    let source = fixture.scratch("source");
    everything(&source);
    let all = ["--xattrs", "--xattrs-include=*", "-c", "."];
    for (options, exact) in [
        (&["--format=pax"][..], true),
        (&["--format=pax", "--sparse", "--sparse-version=0.0"], true),
        (&["--format=pax", "--sparse", "--sparse-version=0.1"], true),
        (&["--format=pax", "--sparse", "--sparse-version=1.0"], true),
        (&["--format=gnu"], false),
        (&["--format=gnu", "--sparse"], false),
    ] {
        let tar = if exact {
            run("tar", &[options, &all[..]].concat(), &source)
        } else {
            run("tar", &[options, &["-c", "."][..]].concat(), &source)
        };
        let layer = fixture.unpack(&tar);
        assert_same(&source, &layer.diff(), exact);
        assert_exact(&layer, &tar);
        if options.contains(&"--sparse") {
            let blocks = fs::metadata(layer.diff().join("sparse")).unwrap().blocks();
            assert!(blocks < 1000, "{options:?}: {blocks} blocks");
        }
    }
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

#[test]
fn compressed_streams_of_several_members_are_read_whole() {
    use std::io::Write;
    let fixture = Fixture::new();
    let tar = archive(&[member("f", b'0', "", &vec![b'x'; 3_000_000])]);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let (head, tail) = tar.split_at(1_000_001);
    for (compression, blob) in [
        (Compression::Gzip, [gzip(head), gzip(tail)].concat()),
        (Compression::Zstd, [zstd(head), zstd(tail)].concat()),
        (Compression::None, tar.clone()),
    ] {
        let lease = Lease::new(&fixture.store).unwrap();
        let mut what = Unpack::new(compression);
        let size = blob.len() as u64;
        what.compressed = Some((digest_of(&blob), size));
        what.diff_id = Some(digest_of(&tar));
        let staged = fixture.store.unpack(blob.as_slice(), &what).unwrap();
        let info = fixture
            .store
            .publish(&lease, vec![staged])
            .unwrap()
            .remove(0);
        assert_eq!(
            (info.tar_size, info.compressed_size),
            (tar.len() as u64, size)
        );
        assert_eq!(
            fixture.store.layer_of_blob(&digest_of(&blob)),
            Some(digest_of(&tar))
        );
        // Cut short, a bit flipped, or something behind: all refused.
        let cut = &blob[..blob.len() - 1];
        assert!(fixture.store.unpack(cut, &what).is_err());
        let mut flipped = blob.clone();
        flipped[blob.len() / 2] ^= 4;
        assert!(fixture.store.unpack(flipped.as_slice(), &what).is_err());
        let longer = [blob.as_slice(), b"\0"].concat();
        assert!(fixture.store.unpack(longer.as_slice(), &what).is_err());
        what.diff_id = Some(digest_of(b"else"));
        assert!(fixture.store.unpack(blob.as_slice(), &what).is_err());
    }
    assert_eq!(fixture.staged(), Vec::<String>::new());
}

#[test]
fn a_later_member_takes_an_earlier_ones_place_and_both_come_back() {
    let fixture = Fixture::new();
    let tar = archive(&[
        member("a", b'0', "", b"first"),
        member("a", b'0', "", b"second"),
        member("d/x", b'0', "", b"in a directory"),
        member("d/y", b'1', "d/x", b""),
        member("d", b'0', "", b"a file now"),
        member("l", b'2', "a", b""),
        member("l", b'0', "", b"not through the link"),
        member("a/", b'5', "", b""),
        member("a/in", b'0', "", b"third"),
    ]);
    let layer = fixture.unpack(&tar);
    assert_exact(&layer, &tar);
    let diff = layer.diff();
    assert_eq!(crate::support::names(&diff), ["a", "d", "l"]);
    assert_eq!(fs::metadata(diff.join("a/in")).unwrap().len(), 5);
    assert_eq!(fs::metadata(diff.join("d")).unwrap().len(), 10);
    assert_eq!(tar_of(&layer), tar);
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let fixture = Fixture::new();
    let tar = archive(&[
        member("etc/.wh.passwd", b'0', "", b""),
        member("opaque/.wh..wh..opq", b'0', "", b"payload of a whiteout"),
        member("opaque/new", b'0', "", b"new"),
        member(".wh.again", b'0', "", b""),
        member("again/", b'5', "", b""),
        member("kept/f", b'0', "", b"kept"),
        member("kept/.wh.f", b'0', "", b""),
        member(".wh.implicit", b'0', "", b""),
        member("implicit/f", b'0', "", b""),
    ]);
    let layer = fixture.unpack(&tar);
    assert_exact(&layer, &tar);
    let diff = layer.diff();
    let hidden = fs::symlink_metadata(diff.join("etc/passwd")).unwrap();
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    for directory in ["opaque", "again", "implicit"] {
        let found = attributes(&diff.join(directory));
        assert_eq!(
            found,
            [("trusted.overlay.opaque".to_owned(), b"y".to_vec())],
            "{directory}"
        );
    }
    assert_eq!(attributes(&diff.join("kept")), []);
    assert!(diff.join("kept/f").is_file());
    assert!(!layer.info().opaque_root);
    let root = archive(&[member(".wh..wh..opq", b'0', "", b"")]);
    assert!(fixture.unpack(&root).info().opaque_root);
}

#[test]
fn parents_that_are_links_of_the_layer_lead_inside_it() {
    let fixture = Fixture::new();
    let tar = archive(&[
        member("usr/lib/", b'5', "", b""),
        member("lib", b'2', "usr/lib", b""),
        member("abs", b'2', "/usr", b""),
        member("up", b'2', "../../../usr", b""),
        member("lib/a", b'0', "", b"a"),
        member("abs/lib/b", b'0', "", b"b"),
        member("up/lib/c", b'0', "", b"c"),
    ]);
    let layer = fixture.unpack(&tar);
    assert_eq!(
        crate::support::names(&layer.diff().join("usr/lib")),
        ["a", "b", "c"]
    );
    assert_exact(&layer, &tar);
}
