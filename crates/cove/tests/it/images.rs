//! Images: lists, names, archives.

use std::path::Path;

use testkit::fault::killed_at;
use testkit::power::SmallDisk;

use crate::support::{IMAGE, cove, lines};

#[test]
fn images_are_listed_named_and_removed() {
    let cove = cove();
    let table = cove.ok(&["images"]);
    assert!(
        lines(&table)[0].starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"),
        "{table}"
    );
    assert!(
        lines(&table)[1].starts_with("busybox      test      "),
        "{table}"
    );
    assert_eq!(
        cove.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]),
        IMAGE
    );
    cove.ok(&["tag", IMAGE, "other/name:2"]);
    assert_eq!(
        cove.ok(&["images", "-q", "other/*"]),
        cove.ok(&["images", "-q", "busybox"])
    );
    assert_eq!(cove.ok(&["images", "-q", "nothing"]), "");
    assert_eq!(cove.ok(&["rmi", "other/name:2"]), "Untagged: other/name:2");
    let history = cove.ok(&["history", "--format", "{{.ID}}", IMAGE]);
    assert_eq!(lines(&history)[0], cove.ok(&["images", "-q"]));
    let removed = cove.ok(&["rmi", IMAGE]);
    assert_eq!(lines(&removed)[0], format!("Untagged: {IMAGE}"));
    assert!(lines(&removed)[1].starts_with("Deleted: sha256:"));
    assert_eq!(cove.ok(&["images", "-q"]), "");
}

#[test]
fn of_an_image_that_runs_only_the_name_goes_and_only_by_force() {
    let cove = cove();
    let id = cove.ok(&["images", "-q"]);
    let container = cove.ok(&["run", "-d", "--network", "none", IMAGE, "sleep", "1000"]);
    let in_use = format!(
        "Error: conflict: unable to delete {id} (cannot be forced) - \
         image is being used by running container {}",
        &container[..12]
    );
    assert_eq!(cove.fails(1, &["rmi", "-f", &id]), in_use);
    // What is not there excuses no other.
    let said = cove.fails(1, &["rmi", "-f", "nope", &id]);
    assert_eq!(said, format!("Error: No such image: nope:latest\n{in_use}"));
    cove.ok(&["rmi", "-f", "nope"]);
    assert!(cove.fails(1, &["rmi", IMAGE]).contains("(must force)"));
    assert_eq!(cove.ok(&["rmi", "-f", IMAGE]), format!("Untagged: {IMAGE}"));
    assert_eq!(cove.ok(&["images", "-q", "-f", "dangling=true"]), id);
    assert_eq!(cove.ok(&["kill", &container]), container);
    // Docker's kill, too, returns when it is down.
    cove.ok(&["rm", &container]);
    assert!(cove.ok(&["rmi", &id]).starts_with("Deleted: "));
}

#[test]
fn untagged_parents_go_with_an_image_unless_they_are_to_stay() {
    let cove = cove();
    let made_of = |from: &str, name: &str| {
        let id = cove.ok(&["create", from, "true"]);
        let image = cove.ok(&["commit", &id, name]);
        cove.ok(&["rm", &id]);
        image
    };
    let deleted = |flags: &[&str], name: &str| {
        let said = cove.ok(&[&["rmi"], flags, &[name]].concat());
        let ids = said
            .lines()
            .filter_map(|line| line.strip_prefix("Deleted: "));
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    let parent = made_of(IMAGE, "parent:1");
    let (first, second) = (made_of("parent:1", "kid:1"), made_of("parent:1", "kid:2"));
    let third = made_of("parent:1", "kid:3");
    // The name is another's now.
    cove.ok(&["tag", IMAGE, "parent:1"]);
    assert_eq!(deleted(&[], "kid:1"), [first], "others were made of it");
    let container = cove.ok(&["create", &parent, "true"]);
    assert_eq!(deleted(&["--no-prune"], "kid:2"), [second]);
    assert_eq!(deleted(&[], "kid:3"), [third], "a container is made of it");
    cove.ok(&["rm", &container]);
    let ids = |text: String| text.lines().any(|id| id == parent);
    assert!(ids(cove.ok(&["images", "-aq", "--no-trunc"])));

    let last = made_of(&parent, "kid:4");
    assert_eq!(deleted(&["--no-prune"], "kid:4"), [last]);
    let last = made_of(&parent, "kid:4");
    assert_eq!(deleted(&[], "kid:4"), [last, parent.clone()]);
    // What has a name stays.
    assert_eq!(cove.ok(&["images", "-q", "busybox"]).lines().count(), 1);
    assert!(!ids(cove.ok(&["images", "-aq", "--no-trunc"])));
}

#[test]
fn a_saved_image_is_loaded_with_the_same_id() {
    let cove = cove();
    let id = cove.ok(&["images", "-q", "--no-trunc"]);
    let archive = cove.cmd(["save", IMAGE]).ok().stdout;
    cove.ok(&["rmi", IMAGE]);
    let loaded = cove.cmd(["load"]).input(archive).ok();
    assert_eq!(loaded.out(), format!("Loaded image: {IMAGE}\n"));
    assert_eq!(cove.ok(&["images", "-q", "--no-trunc"]), id);
    assert_eq!(cove.ok(&["run", "--rm", IMAGE, "echo", "x"]), "x");
    assert_eq!(cove.ok(&["system", "fsck"]), "No problems found");
}

#[test]
fn an_archive_that_fails_leaves_what_was_there() {
    let cove = cove();
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("backup"), "good").unwrap();
    std::os::unix::fs::symlink("backup", path("link")).unwrap();
    for name in ["backup", "link", "new"] {
        cove.fails(1, &["save", "-o", &path(name), "nope"]);
    }
    let backup = testkit::files::text(path("backup").as_ref());
    assert_eq!(backup.as_deref(), Some("good"));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("device"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::RWXU,
        null,
    )
    .unwrap();
    for image in [IMAGE, "nope"] {
        let said = cove.fails(1, &["save", "-o", &path("device"), image]);
        assert!(said.contains("got a device"), "{said}");
    }
    // What is whole takes the place of the old one, where the link leads to.
    cove.ok(&["save", "-o", &path("link"), IMAGE]);
    assert!(std::fs::read_link(path("link")).is_ok());
    cove.ok(&["load", "-i", &path("backup")]);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 3);
}

#[test]
fn an_archive_that_a_disk_has_no_room_for_leaves_what_was_there() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", IMAGE, "true"]);
    let disk = SmallDisk::new(256);
    let path = |name: &str| disk.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("backup"), "good").unwrap();
    std::os::unix::fs::symlink("backup", path("link")).unwrap();
    let used = disk.used();
    for (command, what) in [("save", IMAGE), ("export", "box")] {
        for name in ["backup", "link", "new"] {
            let said = cove.fails(1, &[command, "-o", &path(name), what]);
            assert!(said.contains("No space left on device"), "{said}");
            let backup = testkit::files::text(path("backup").as_ref());
            // An archive is not worth showing.
            assert!(backup.as_deref() == Some("good"), "{command} {name}");
            assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 2);
            assert_eq!(disk.used(), used, "{command} {name}");
        }
    }
}

#[test]
fn a_killed_archive_leaves_what_was_there_and_nothing_else() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", IMAGE, "true"]);
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("backup"), "good").unwrap();
    for (command, what) in [("save", IMAGE), ("export", "box")] {
        for name in ["backup", "new"] {
            let cmd = cove.cmd([command, "-o", &path(name), what]);
            assert_eq!(killed_at(cmd, "write", 4).run().code(), 137);
            let backup = testkit::files::text(path("backup").as_ref());
            assert_eq!(backup.as_deref(), Some("good"), "{command} {name}");
            let count = std::fs::read_dir(place.path()).unwrap().count();
            assert_eq!(count, 1, "{command} {name}");
        }
    }
}

#[test]
fn an_archive_needs_no_file_without_a_name() {
    let cove = cove();
    let place = tempfile::tempdir().unwrap();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let archive = path(&place.path().join("archive"));
    for _new_and_old in 0..2 {
        // The directory is opened first, and then a file in it.
        let save = cove.cmd(["save", "-o", &archive, IMAGE]).under(
            "strace",
            &[
                "-o",
                &path(trace.path()),
                "-P",
                &path(place.path()),
                "-e",
                "inject=openat:error=EOPNOTSUPP:when=2",
                "--",
            ],
        );
        save.ok();
        let calls = testkit::files::text(trace.path()).unwrap();
        let refused = calls.lines().find(|call| call.contains("INJECTED"));
        assert!(refused.unwrap().contains("O_TMPFILE"), "{calls}");
        cove.ok(&["load", "-i", &archive]);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}

#[test]
fn an_imported_archive_is_an_image() {
    let cove = cove();
    cove.ok(&["create", "--name", "box", IMAGE, "true"]);
    let archive = cove.cmd(["export", "box"]).ok().stdout;
    let id = cove
        .cmd(["import", "-c", "CMD [\"echo\", \"hi\"]", "-", "made:2"])
        .input(archive)
        .ok();
    assert!(id.out().starts_with("sha256:"), "{id}");
    assert_eq!(cove.ok(&["run", "--rm", "made:2"]), "hi");
}

/// A docker-archive of these members.
fn archive(members: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        archive
            .append_data(&mut header, path, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn an_image_without_layers_is_one_like_any() {
    let cove = cove();
    for (name, rootfs) in [
        ("docker", r#"{"type":"layers"}"#),
        ("oci", r#"{"type":"layers","diff_ids":null}"#),
    ] {
        let config = format!(
            r#"{{"os":"linux","architecture":"amd64","author":"{name}","rootfs":{rootfs}}}"#
        );
        let manifest = format!(r#"[{{"Config":"c","RepoTags":["{name}:bare"],"Layers":null}}]"#);
        let members = [("c", config.as_str()), ("manifest.json", &manifest)];
        cove.cmd(["load"]).input(archive(&members)).ok();
        assert_eq!(cove.ok(&["images", "--format", "{{.Tag}}", name]), "bare");
        cove.ok(&["rmi", &format!("{name}:bare")]);
    }
    assert_eq!(cove.ok(&["images", "--format", "{{.Tag}}"]), "test");
}

#[test]
fn a_damaged_configuration_hinders_nothing_but_its_own_image() {
    let cove = cove();
    let id = cove.ok(&["images", "-q", "--no-trunc"]);
    cove.ok(&["tag", IMAGE, "damaged:1"]);
    let hex = id.trim_start_matches("sha256:");
    std::fs::write(cove.roots().root().join("blobs/sha256").join(hex), "{}").unwrap();
    let listed = cove.cmd(["images", "--format", "{{.Repository}}"]).ok();
    assert_eq!(listed.out(), "busybox\ndamaged\n");
    assert!(listed.err().starts_with("WARNING: "), "{listed}");
    assert_eq!(cove.ok(&["info", "--format", "{{.Images}}"]), "1");
    cove.ok(&["system", "df"]);
    assert!(cove.fails(1, &["system", "fsck"]).contains("1 problems"));
    cove.fails(1, &["image", "inspect", IMAGE]);
    assert_eq!(
        cove.ok(&["image", "prune", "-af", "--filter", "label!=keep"]),
        "Total reclaimed space: 0B"
    );
    assert_eq!(cove.ok(&["rmi", "damaged:1"]), "Untagged: damaged:1");
    cove.ok(&["image", "prune", "-af"]);
    assert_eq!(cove.ok(&["images", "-q"]), "");
}
