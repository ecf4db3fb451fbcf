//! Packing from and extracting into directories that are in use.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use cove_storage::{Error, Extract, Owner, extract, pack};

use crate::support::{archive, member, names, run};

const HOST: Extract<'static> = Extract {
    owner: Owner::Caller,
    devices: false,
    follow: None,
};

const CONTAINER: Extract<'static> = Extract {
    owner: Owner::Archive,
    devices: true,
    follow: None,
};

fn into(directory: &Path, tar: &[u8], options: &Extract<'_>) -> cove_storage::Result<Vec<String>> {
    let fd = fs::File::open(directory).unwrap();
    extract(&fd, directory, tar, options)
}

fn packed(directory: &Path, name: &str, base: &str) -> Vec<u8> {
    let fd = fs::File::open(directory).unwrap();
    let mut tar = Vec::new();
    assert!(
        pack(
            &fd,
            name.as_bytes(),
            base.as_bytes(),
            true,
            directory,
            &mut tar
        )
        .unwrap()
        .found
    );
    tar
}

#[test]
fn a_tree_goes_out_and_comes_in_under_another_name() {
    let from = tempfile::tempdir().unwrap();
    let source = from.path().join("tree");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/file"), "content").unwrap();
    fs::hard_link(source.join("sub/file"), source.join("again")).unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    run("mkfifo", &["fifo"], &source);
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    fs::set_permissions(source.join("sub/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(source.join("sub"), Some(1234), Some(5678)).unwrap();
    let tar = packed(from.path(), "tree", "other");

    let to = tempfile::tempdir().unwrap();
    assert!(into(to.path(), &tar, &CONTAINER).unwrap().is_empty());
    assert_eq!(names(to.path()), ["other"]);
    let copy = to.path().join("other");
    assert_eq!(names(&copy), names(&source));
    for name in ["sub", "sub/file", "again", "link", "fifo", "sparse", "null"] {
        let [a, b] = [&source, &copy].map(|tree| fs::symlink_metadata(tree.join(name)).unwrap());
        let of = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.rdev(), m.mtime());
        assert_eq!(of(&a), of(&b), "{name}");
        if a.is_file() {
            assert_eq!((a.len(), a.nlink()), (b.len(), b.nlink()), "{name}");
        }
    }
    assert_eq!(
        fs::read_link(copy.join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert!(fs::metadata(copy.join("sparse")).unwrap().blocks() < 100);

    // Who wants what a link leads to never gets a link.
    let fd = fs::File::open(&source).unwrap();
    for (name, packed) in [(b"link".as_slice(), false), (b"sub", true)] {
        assert_eq!(
            pack(&fd, name, b"x", false, &source, Vec::new())
                .unwrap()
                .found,
            packed
        );
    }

    // The host gets neither devices nor other users' files unasked.
    let host = tempfile::tempdir().unwrap();
    assert_eq!(
        into(host.path(), &tar, &HOST).unwrap(),
        ["device other/null"]
    );
    let file = fs::metadata(host.path().join("other/sub/file")).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o4755);
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(
        fs::metadata(host.path().join("other/sub")).unwrap().uid(),
        own
    );

    // Contents only, twice: what is there is replaced, the target untouched.
    let before = fs::metadata(host.path()).unwrap().mode();
    let contents = packed(&source, ".", ".");
    for _ in 0..2 {
        into(host.path(), &contents, &HOST).unwrap();
    }
    assert_eq!(fs::metadata(host.path()).unwrap().mode(), before);
    assert_eq!(fs::read(host.path().join("again")).unwrap(), b"content");
}

#[test]
fn what_is_there_decides_what_may_come() {
    let canary = tempfile::tempdir().unwrap();
    let outside = canary.path().join("f");
    fs::write(&outside, "canary").unwrap();
    // The kind that comes, what is there, whether that works.
    for (kind, there, works) in [
        (b'0', "nothing", true),
        (b'0', "file", true),
        (b'0', "link to a file", true),
        (b'0', "link to a directory", true),
        (b'0', "fifo", true),
        (b'0', "directory", false),
        (b'2', "file", true),
        (b'2', "link to a directory", true),
        (b'2', "directory", false),
        (b'5', "nothing", true),
        (b'5', "directory", true),
        (b'5', "file", false),
        (b'5', "link to a directory", false),
        (b'1', "file", true),
        (b'1', "directory", false),
    ] {
        let target = tempfile::tempdir().unwrap();
        let name = target.path().join("x");
        match there {
            "file" => fs::write(&name, "old").unwrap(),
            "link to a file" => symlink(&outside, &name).unwrap(),
            "link to a directory" => symlink(canary.path(), &name).unwrap(),
            "fifo" => drop(run("mkfifo", &["x"], target.path())),
            "directory" => {
                fs::create_dir(&name).unwrap();
                fs::write(name.join("kept"), "").unwrap();
            }
            _ => {}
        }
        let content: &[u8] = if kind == b'0' { b"new" } else { b"" };
        let link = match kind {
            b'1' => "first",
            b'2' => "target",
            _ => "",
        };
        let first = member("first", b'0', "", b"first");
        let tar = archive(&[first, member("x", kind, link, content)]);
        let case = format!("{} over {there}", char::from(kind));
        match into(target.path(), &tar, &HOST) {
            Ok(_) => assert!(works, "{case}"),
            Err(Error::Overwrite { path, .. }) => {
                assert!(!works, "{case}");
                assert_eq!(path, name, "{case}");
            }
            Err(error) => panic!("{case}: {error:?}"),
        }
        let now = fs::symlink_metadata(&name).unwrap();
        if works {
            match kind {
                b'0' => assert_eq!(fs::read(&name).unwrap(), b"new", "{case}"),
                b'1' => assert_eq!(fs::read(&name).unwrap(), b"first", "{case}"),
                b'2' => assert!(now.is_symlink(), "{case}"),
                _ => assert!(now.is_dir(), "{case}"),
            }
        }
        if there == "directory" {
            assert!(name.join("kept").exists(), "{case}");
        }
        assert_eq!(fs::read(&outside).unwrap(), b"canary", "{case}");
        assert_eq!(names(canary.path()), ["f"], "{case}");
    }
}

#[test]
fn nothing_leaves_the_target() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    fs::write(outside.path().join("secret"), "canary").unwrap();
    for tar in [
        archive(&[
            member("l", b'2', out, b""),
            member("l/planted", b'0', "", b"x"),
        ]),
        archive(&[
            member("l", b'2', out, b""),
            member("l/deep/planted", b'0', "", b"x"),
        ]),
        archive(&[
            member("l", b'2', out, b""),
            member("l/planted/", b'5', "", b""),
        ]),
        archive(&[
            member("l", b'2', out, b""),
            member("stolen", b'1', "l/secret", b""),
        ]),
        archive(&[member("../planted", b'0', "", b"x")]),
        archive(&[member("stolen", b'1', "../secret", b"")]),
    ] {
        let target = outside.path().join("target");
        fs::create_dir(&target).unwrap();
        let error = into(&target, &tar, &CONTAINER).unwrap_err();
        assert!(matches!(error, Error::Tar { .. }), "{error:?}");
        assert!(!target.join("stolen").exists());
        fs::remove_dir_all(&target).unwrap();
        assert_eq!(names(outside.path()), ["secret"]);
    }
    // Absolute names are names in the target.
    let target = tempfile::tempdir().unwrap();
    into(
        target.path(),
        &archive(&[member("/a/b", b'0', "", b"x")]),
        &HOST,
    )
    .unwrap();
    assert_eq!(fs::read(target.path().join("a/b")).unwrap(), b"x");
}

#[test]
fn a_link_among_the_parents_leads_where_the_caller_says() {
    let target = tempfile::tempdir().unwrap();
    let usr = target.path().join("usr-lib");
    fs::create_dir(&usr).unwrap();
    symlink("/usr-lib", target.path().join("lib")).unwrap();
    let follow = |path: &[u8]| {
        assert_eq!(path, b"lib");
        Ok(fs::File::open(&usr).unwrap().into())
    };
    let options = Extract {
        follow: Some(&follow),
        ..CONTAINER
    };
    let tar = archive(&[member("lib/new/f", b'0', "", b"x")]);
    into(target.path(), &tar, &options).unwrap();
    assert_eq!(fs::read(usr.join("new/f")).unwrap(), b"x");
}

#[test]
fn compression_is_noticed() {
    let tar = archive(&[member("f", b'0', "", b"content")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    for stream in [
        tar.clone(),
        gzip.finish().unwrap(),
        zstd::encode_all(tar.as_slice(), 1).unwrap(),
    ] {
        let target = tempfile::tempdir().unwrap();
        into(target.path(), &stream, &HOST).unwrap();
        assert_eq!(fs::read(target.path().join("f")).unwrap(), b"content");
    }
    let target = tempfile::tempdir().unwrap();
    assert!(into(target.path(), b"", &HOST).unwrap().is_empty());
    assert!(into(target.path(), b"nonsense", &HOST).is_err());
}

#[test]
fn the_kernels_own_trees_are_neither_packed_nor_written() {
    let proc = fs::File::open("/").unwrap();
    let mut tar = Vec::new();
    let packed = pack(&proc, b"proc", b"proc", true, Path::new("/"), &mut tar).unwrap();
    assert!(!packed.found);
    let tar = archive(&[member("sysrq-trigger", b'0', "", b"x")]);
    assert!(into(Path::new("/proc/self"), &tar, &CONTAINER).is_err());
}

#[test]
fn sockets_are_left_out_and_told() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir(from.path().join("tree")).unwrap();
    fs::write(from.path().join("tree/file"), "x").unwrap();
    let _bound = std::os::unix::net::UnixListener::bind(from.path().join("tree/sock")).unwrap();
    let fd = fs::File::open(from.path()).unwrap();
    for (name, told, members) in [
        (&b"tree"[..], "socket copy/sock", 2),
        (b"tree/sock", "socket copy", 0),
    ] {
        let mut tar = Vec::new();
        let packed = pack(&fd, name, b"copy", true, from.path(), &mut tar).unwrap();
        assert!(packed.found);
        assert_eq!(packed.skipped, [told]);
        let entries = tar::Archive::new(tar.as_slice()).entries().unwrap().count();
        assert_eq!(entries, members);
    }
    let gone = pack(&fd, b"gone", b"copy", true, from.path(), Vec::new()).unwrap();
    assert_eq!(gone, cove_storage::Packed::default());
}
