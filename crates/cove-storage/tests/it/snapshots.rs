//! Mounted layers, what a container changes in them, and the way back.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use cove_storage::{ChangeKind, Layer, Lease, export};

use crate::support::{Fixture, archive, assert_exact, member, names, run};

/// The mount through our own descriptor: it is in no mount table.
fn inside(mount: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", mount.as_raw_fd()).into()
}

fn layers(fixture: &Fixture) -> Vec<Layer> {
    let base = archive(&[
        member("./", b'5', "", b""),
        member("etc/", b'5', "", b""),
        member("etc/passwd", b'0', "", b"root"),
        member("etc/group", b'0', "", b"root"),
        member("old/", b'5', "", b""),
        member("old/x", b'0', "", b"x"),
        member("old/y", b'0', "", b"y"),
        member("data/f", b'0', "", b"f"),
    ]);
    let top = archive(&[
        member("etc/.wh.group", b'0', "", b""),
        member("etc/shadow", b'0', "", b"s"),
    ]);
    vec![fixture.unpack(&base), fixture.unpack(&top)]
}

#[test]
fn changes_are_seen_and_become_a_layer_that_repeats_them() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let layers = layers(&fixture);
    let mut ids: Vec<_> = layers.iter().map(|layer| layer.info().diff_id).collect();
    // An image may have one layer twice.
    ids.push(ids[1]);
    let directory = fixture.scratch("container");
    let snapshot = store.prepare(&directory, &ids).unwrap();
    let mount = store.lowers(&ids).unwrap().mount(&snapshot, false).unwrap();
    let root = inside(&mount);
    assert_eq!(
        names(&root.join("etc")),
        [
            "hostname",
            "hosts",
            "mtab",
            "passwd",
            "resolv.conf",
            "shadow"
        ]
    );
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o644);
    let lowers = store.lowers(&ids).unwrap();
    let lowers = lowers.directories();
    assert_eq!(lowers.len(), 3, "the two layers and the skeleton");
    assert_eq!(store.changes(&snapshot.upper, lowers, &[]).unwrap(), []);
    fs::write(root.join("etc/passwd"), b"changed").unwrap();
    fs::remove_file(root.join("etc/shadow")).unwrap();
    fs::remove_dir_all(root.join("old")).unwrap();
    fs::create_dir(root.join("old")).unwrap();
    fs::write(root.join("old/y"), b"new y").unwrap();
    fs::create_dir_all(root.join("new/deep")).unwrap();
    fs::write(root.join("new/deep/file"), vec![3; 9]).unwrap();
    fs::hard_link(root.join("new/deep/file"), root.join("new/again")).unwrap();
    symlink("nowhere", root.join("new/link")).unwrap();
    let sparse = fs::File::create(root.join("new/sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[5; 70], 5 << 20).unwrap();
    fs::set_permissions(root.join("new/deep"), fs::Permissions::from_mode(0o1777)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("new/deep"), "user.k", b"v", flags).unwrap();
    rustix::fs::setxattr(root.join("new/deep/file"), "user.k", b"v", flags).unwrap();
    let seen = store.changes(&snapshot.upper, lowers, &[]).unwrap();
    let lines: Vec<String> = seen
        .iter()
        .map(|change| {
            let letter = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{letter} {}", String::from_utf8_lossy(&change.path))
        })
        .collect();
    let wanted = [
        "C /etc",
        "C /etc/passwd",
        "D /etc/shadow",
        "A /new",
        "A /new/again",
        "A /new/deep",
        "A /new/deep/file",
        "A /new/link",
        "A /new/sparse",
        "C /old",
        "D /old/x",
        "C /old/y",
    ];
    assert_eq!(lines, wanted);

    let lease = Lease::new(store).unwrap();
    let staged = store.commit(&snapshot.upper, lowers, &[]).unwrap();
    let info = store.publish(&lease, vec![staged]).unwrap().remove(0);
    let mut again = Vec::new();
    store
        .write_diff(&snapshot.upper, lowers, &[], &mut again)
        .unwrap();
    let layer = store.layer(&info.diff_id).unwrap();
    assert_exact(&layer, &again);
    ids.push(info.diff_id);
    let image = store.mount_read_only(&ids).unwrap();
    assert!(fs::write(inside(&image).join("x"), b"").is_err());
    let archive_of = |mount: &OwnedFd| {
        let mut tar = Vec::new();
        export(mount, &directory, &mut tar).unwrap();
        tar
    };
    assert!(
        archive_of(&mount) == archive_of(&image),
        "the committed image differs"
    );

    // And GNU tar reads the export as we meant it.
    let target = fixture.scratch("gnu");
    fs::write(
        fixture.directory.path().join("export.tar"),
        archive_of(&image),
    )
    .unwrap();
    run(
        "tar",
        &["--xattrs", "--xattrs-include=*", "-xf", "../export.tar"],
        &target,
    );
    assert_eq!(
        names(&target),
        [
            ".dockerenv",
            "data",
            "dev",
            "etc",
            "new",
            "old",
            "proc",
            "run",
            "sys"
        ]
    );
    let sparse = fs::metadata(target.join("new/sparse")).unwrap();
    assert_eq!(sparse.len(), 8 << 20);
    assert!(sparse.blocks() < 1000, "{} blocks", sparse.blocks());
    assert_eq!(fs::metadata(target.join("new/again")).unwrap().nlink(), 2);
}

#[test]
fn images_of_one_or_no_layer_can_be_mounted() {
    let fixture = Fixture::new();
    let layer = fixture.unpack(&archive(&[member(".wh.gone", b'0', "", b"")]));
    let one = fixture
        .store
        .mount_read_only(&[layer.info().diff_id])
        .unwrap();
    assert_eq!(
        names(&inside(&one)),
        [".dockerenv", "dev", "etc", "proc", "run", "sys"]
    );
    let none = fixture.store.mount_read_only(&[]).unwrap();
    assert!(fs::write(inside(&none).join("x"), b"").is_err());
    let snapshot = fixture.store.prepare(&fixture.scratch("c"), &[]).unwrap();
    let scratch = fixture
        .store
        .lowers(&[])
        .unwrap()
        .mount(&snapshot, true)
        .unwrap();
    fs::write(inside(&scratch).join("x"), b"x").unwrap();
}

#[test]
fn overlay_attributes_of_an_image_reach_the_container_not_the_kernel() {
    let fixture = Fixture::new();
    let below = fixture.unpack(&archive(&[member("real/secret", b'0', "", b"s")]));
    let record = "38 SCHILY.xattr.trusted.overlay.redirect=/real\n";
    let record = record.replacen("38", &record.len().to_string(), 1);
    let above = fixture.unpack(&archive(&[
        member("x", b'x', "", record.as_bytes()),
        member("trap/", b'5', "", b""),
    ]));
    let ids = [below.info().diff_id, above.info().diff_id];
    let mount = fixture.store.mount_read_only(&ids).unwrap();
    assert_eq!(names(&inside(&mount).join("trap")), Vec::<String>::new());
}

#[test]
fn mount_points_are_there_without_being_changes() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let image = fixture.unpack(&archive(&[
        member("etc/hosts", b'0', "", b"the image's"),
        member("sys", b'2', "elsewhere", b""),
        member("srv/", b'5', "", b""),
    ]));
    let ids = [image.info().diff_id];
    let directory = fixture.scratch("container");
    let snapshot = store.prepare(&directory, &ids).unwrap();
    let mount = store.lowers(&ids).unwrap().mount(&snapshot, false).unwrap();
    let root = inside(&mount);
    assert_eq!(
        names(&root),
        [".dockerenv", "dev", "etc", "proc", "run", "srv", "sys"]
    );
    assert_eq!(
        names(&root.join("etc")),
        ["hostname", "hosts", "mtab", "resolv.conf"]
    );
    assert_eq!(fs::read(root.join("etc/hosts")).unwrap(), b"the image's");
    assert_eq!(fs::read(root.join("etc/hostname")).unwrap(), b"");
    assert!(fs::symlink_metadata(root.join("sys")).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(root.join("proc")).unwrap().mode() & 0o7777,
        0o555
    );
    let lowers = store.lowers(&ids).unwrap();
    let lowers = lowers.directories();
    let empty = || {
        let mut tar = Vec::new();
        store
            .write_diff(
                &snapshot.upper,
                lowers,
                &["/srv/a/b", "/opt/f", "/own"],
                &mut tar,
            )
            .unwrap();
        tar == [0; 1024]
    };
    let changes = |mounts: &[&str]| -> Vec<String> {
        let changes = store.changes(&snapshot.upper, lowers, mounts).unwrap();
        changes
            .iter()
            .map(|change| String::from_utf8_lossy(&change.path).into_owned())
            .collect()
    };
    assert!(changes(&[]).is_empty() && empty());

    // What a runtime makes for a user's mounts counts as little.
    let make = |path: &str| fs::create_dir_all(root.join(path)).unwrap();
    make("srv/a/b");
    make("opt");
    fs::write(root.join("opt/f"), b"").unwrap();
    make("own");
    let mounts = ["/srv/a/b", "/opt/f", "/own/"];
    assert!(changes(&mounts).is_empty() && empty());
    assert_eq!(
        changes(&[]),
        ["/opt", "/opt/f", "/own", "/srv", "/srv/a", "/srv/a/b"]
    );
    // Anything of one's own beside it does.
    fs::write(root.join("srv/a/mine"), b"").unwrap();
    fs::write(root.join("opt/f"), b"x").unwrap();
    fs::set_permissions(root.join("own"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        changes(&mounts),
        ["/opt", "/opt/f", "/own", "/srv", "/srv/a", "/srv/a/mine"]
    );
}
