//! Images from a registry, and registries that ask, lie or break off.

use std::path::{Path, PathBuf};

use cove_model::image::{Compression, Manifest, media_type};
use testkit::cmd::Cmd;
use testkit::cove::Cove;
use testkit::image::many::{self, Shape};
use testkit::image::{Blob, Family, Image, busybox, layer, sha256};
use testkit::leak::{Snapshot, assert_no_leaks};
use testkit::power::{Disk, SmallDisk};
use testkit::registry::{PASSWORD, Registry, USER};
use testkit::roots::Roots;

use crate::support::lines;

/// A Cove without an image.
fn empty() -> Cove {
    Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), Roots::new())
}

/// Names and digests of the images, one line each.
fn listed(cove: &Cove) -> String {
    cove.ok(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"])
}

/// What a failed pull may leave: nothing that is an image or a layer, no
/// staging, and a store that its own check finds sound.
fn nothing_left(cove: &Cove) {
    assert_eq!(cove.ok(&["images", "-aq"]), "");
    assert_eq!(cove.ok(&["system", "fsck"]), "No problems found");
    let root = cove.roots().root();
    for directory in ["tmp", "leases", "images/names", "images/by-id"] {
        let left: Vec<_> = std::fs::read_dir(root.join(directory))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, [""; 0].map(PathBuf::from), "{directory}");
    }
}

#[test]
fn every_kind_of_image_is_pulled_listed_run_and_removed() {
    let registry = Registry::with_busybox();
    for tag in ["latest", "docker", "zstd"] {
        let cove = empty();
        let name = registry.reference(&format!("busybox:{tag}"));
        let output = cove.cmd(["pull", &name]).ok();
        assert!(output.out().ends_with(&format!("{name}\n")), "{output}");
        let image = match tag {
            "docker" => busybox::image().family(Family::Docker),
            "zstd" => busybox::packed(Compression::Zstd),
            _ => busybox::image(),
        };
        let digest = image.manifest_blob().digest;
        assert_eq!(listed(&cove), format!("{name} {digest}"));
        let id = cove.ok(&["images", "-q", "--no-trunc"]);
        assert_eq!(id, image.config_blob().digest.to_string());
        assert_eq!(cove.ok(&["run", "--rm", &name, "echo", "hi"]), "hi");
        let by_digest = registry.reference(&format!("busybox@{digest}"));
        let untagged = format!("Untagged: {by_digest}");
        assert_eq!(cove.ok(&["rmi", &by_digest]), untagged);
        assert_eq!(listed(&cove), format!("{name} <none>"));
        let removed = cove.ok(&["rmi", &name]);
        assert_eq!(lines(&removed)[0], format!("Untagged: {name}"));
        nothing_left(&cove);
    }
}

#[test]
fn an_index_is_followed_to_the_platform_that_was_asked_for() {
    let registry = Registry::start();
    let image = busybox::image();
    for family in [Family::Oci, Family::Docker] {
        let image = image.clone().family(family);
        let index = registry.push_platforms("many:1", family, &image);
        let cove = empty();
        let name = registry.reference("many:1");
        let arch = || cove.ok(&["inspect", "-f", "{{.Architecture}}", &name]);
        cove.ok(&["pull", "-q", &name]);
        assert_eq!(arch(), "amd64");
        assert_eq!(listed(&cove), format!("{name} {index}"));
        cove.ok(&["pull", "-q", "--platform", "linux/arm64", &name]);
        assert_eq!(arch(), "arm64");
        let text = cove.fails(1, &["pull", "--platform", "linux/s390x", &name]);
        assert!(text.contains("s390x"), "{text}");
    }
}

#[test]
fn a_digest_names_one_image() {
    let registry = Registry::start();
    let digest = registry.push("box:1", &busybox::image());
    let cove = empty();
    let name = registry.reference(&format!("box@{digest}"));
    assert_eq!(cove.ok(&["pull", "-q", &name]), name);
    assert_eq!(cove.ok(&["run", "--rm", &name, "echo", "x"]), "x");
    // A tag beside the digest is no name that the image gets.
    let both = registry.reference(&format!("box:1@{digest}"));
    cove.ok(&["pull", "-q", &both]);
    let untagged = registry.reference("box:<none>");
    assert_eq!(listed(&cove), format!("{untagged} {digest}"));
    cove.ok(&["create", "--name", "made", &both]);
    for command in [
        &["tag", &name, &both][..],
        &["commit", "made", &both],
        &["import", "/dev/null", &both],
    ] {
        let text = cove.fails(1, command);
        assert!(text.contains("digest reference"), "{text}");
    }
    let absent = testkit::image::absent_digest();
    let absent = registry.reference(&format!("box@{absent}"));
    let text = cove.fails(1, &["pull", &absent]);
    assert!(
        text.contains(&absent) || text.contains("not found"),
        "{text}"
    );
}

#[test]
fn a_registry_that_asks_for_a_login_gets_one() {
    let registry = Registry::with_login();
    registry.push("box:1", &busybox::image());
    let cove = empty();
    let name = registry.reference("box:1");
    let host = registry.address().to_string();
    cove.fails(1, &["pull", &name]);
    let wrong = cove.cmd(["login", "-u", USER, "--password-stdin", &host]);
    assert_eq!(wrong.input("wrong\n").run().code(), 1);
    cove.fails(1, &["pull", &name]);
    let login = cove.cmd(["login", "-u", USER, "--password-stdin", &host]);
    let output = login.input(format!("{PASSWORD}\n")).ok();
    assert!(output.out().contains("Login Succeeded"), "{output}");
    assert_eq!(cove.ok(&["pull", "-q", &name]), name);
    cove.ok(&["rmi", &name]);
    cove.ok(&["logout", &host]);
    cove.fails(1, &["pull", &name]);
    nothing_left(&cove);
}

/// Pulls what was put under `box:1` in a fresh registry, which must fail with
/// one of these words and leave nothing.
fn refused(what: &str, words: &[&str], put: impl FnOnce(&Registry)) {
    let registry = Registry::start();
    put(&registry);
    let cove = empty();
    let text = cove.fails(1, &["pull", &registry.reference("box:1")]);
    assert!(
        words.iter().any(|word| text.contains(word)),
        "{what}: {text}"
    );
    nothing_left(&cove);
}

/// Puts a manifest that was changed, over honest parts.
fn bent(registry: &Registry, image: &Image, change: impl FnOnce(&mut Manifest)) {
    registry.push("box:1", image);
    let mut manifest = image.manifest();
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    replace(registry, image, bytes);
}

/// Serves other bytes as the image's manifest than were pushed: the registry
/// itself refuses what is wrong, so its files are changed beneath it.
fn replace(registry: &Registry, image: &Image, bytes: Vec<u8>) {
    let digest = image.manifest_blob().digest;
    testkit::files::write(&registry.blob_path(&digest), bytes, 0o644);
}

#[test]
fn bent_manifests_are_refused() {
    let image = busybox::image();
    let whole = image.manifest_blob().to_vec();
    refused("cut off", &["digest", "manifest"], |registry| {
        registry.push("box:1", &image);
        replace(registry, &image, whole[..whole.len() / 2].to_vec());
    });
    refused("other content", &["digest", "manifest"], |registry| {
        bent(registry, &image, |manifest| manifest.layers.clear());
    });
    refused(
        "unsupported layers",
        &["media type", "unsupported"],
        |registry| {
            let mut manifest = image.manifest();
            manifest.layers[0].media_type = "application/x-squashfs".to_owned();
            put(registry, &image, &manifest);
        },
    );
    refused(
        "a size that lies",
        &["size", "bytes", "length"],
        |registry| {
            let mut manifest = image.manifest();
            manifest.layers[0].size += 1;
            put(registry, &image, &manifest);
        },
    );
    refused("an artifact", &["config", "media type"], |registry| {
        let mut manifest = image.manifest();
        manifest.config.media_type = "application/vnd.example+json".to_owned();
        put(registry, &image, &manifest);
    });
}

/// Pushes parts and a manifest that the registry takes as it is.
fn put(registry: &Registry, image: &Image, manifest: &Manifest) {
    registry.put_parts("box", image);
    let blob = Blob::bytes(serde_json::to_vec(manifest).unwrap());
    registry.put_manifest("box", "1", media_type::OCI_MANIFEST, &blob);
}

#[test]
fn layers_that_are_not_what_the_manifest_says_are_refused() {
    let image = busybox::image();
    let path = |registry: &Registry| registry.blob_path(&image.layers[0].blob.digest);
    let bytes = image.layers[0].blob.to_vec();
    refused("one bit", &["digest", "checksum", "corrupt"], |registry| {
        registry.push("box:1", &image);
        let mut bytes = bytes.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        testkit::files::write(&path(registry), bytes, 0o644);
    });
    refused(
        "cut off",
        &["size", "length", "ended", "bytes"],
        |registry| {
            registry.push("box:1", &image);
            testkit::files::write(&path(registry), &bytes[..bytes.len() / 2], 0o644);
        },
    );
    refused("another layer", &["diff", "digest"], |registry| {
        let mut lying = image.clone();
        lying.config.rootfs.diff_ids[0] = sha256(b"something else");
        registry.push("box:1", &lying);
    });
    refused("gone", &["not found", "unknown", "404"], |registry| {
        registry.push("box:1", &image);
        std::fs::remove_file(path(registry)).unwrap();
    });
    refused("no layer for a diff id", &["layers", "diff"], |registry| {
        let mut lying = image.clone();
        let extra = layer::Layer::new(vec![0; 1024], Compression::Gzip);
        lying.config.rootfs.diff_ids.push(extra.diff_id);
        registry.push("box:1", &lying);
    });
}

#[test]
fn a_store_that_has_the_layers_judges_as_one_that_has_not() {
    let registry = Registry::start();
    let image = busybox::image();
    registry.push("box:sound", &image);
    let other = layer::Layer::new(vec![0; 1024], Compression::Gzip);
    registry.put_blob("box", &other.blob);
    let put = |tag: &str, change: &dyn Fn(&mut Manifest)| {
        let mut manifest = image.manifest();
        change(&mut manifest);
        let blob = Blob::bytes(serde_json::to_vec(&manifest).unwrap());
        registry.put_manifest("box", tag, media_type::OCI_MANIFEST, &blob);
        registry.reference(&format!("box:{tag}"))
    };
    let known = empty();
    known.ok(&["pull", "-q", &registry.reference("box:sound")]);
    for (tag, change) in [
        (
            "another-blob",
            &(|manifest: &mut Manifest| {
                manifest.layers[0].digest = other.blob.digest;
                manifest.layers[0].size = other.blob.size;
            }) as &dyn Fn(&mut Manifest),
        ),
        ("another-size", &|manifest| manifest.layers[0].size += 1),
        ("another-type", &|manifest| {
            media_type::OCI_LAYER.clone_into(&mut manifest.layers[0].media_type);
        }),
    ] {
        let name = put(tag, change);
        let told = empty().fails(1, &["pull", "-q", &name]);
        let also_told = known.fails(1, &["pull", "-q", &name]);
        // Whoever unpacks an archive may find out earlier what it is not.
        assert!(also_told == told || tag == "another-type", "{also_told}");
        assert_eq!(known.ok(&["images", "-aq"]).lines().count(), 1, "{tag}");
    }
}

#[test]
fn another_blob_of_a_layer_is_read_once() {
    let registry = Registry::start();
    let (image, packed) = (busybox::image(), busybox::packed(Compression::Zstd));
    assert_eq!(image.layers[0].diff_id, packed.layers[0].diff_id);
    registry.push("box:gzip", &image);
    registry.push("box:zstd", &packed);
    let cove = empty();
    cove.ok(&["pull", "-q", &registry.reference("box:gzip")]);
    let (name, blob) = (
        registry.reference("box:zstd"),
        registry.blob_path(&packed.layers[0].blob.digest),
    );
    let aside = blob.with_extension("aside");
    std::fs::rename(&blob, &aside).unwrap();
    let text = cove.fails(1, &["pull", "-q", &name]);
    assert!(text.contains("blob"), "{text}");
    std::fs::rename(&aside, &blob).unwrap();
    cove.ok(&["pull", "-q", &name]);
    std::fs::remove_file(&blob).unwrap();
    for tag in ["gzip", "zstd"] {
        cove.ok(&["pull", "-q", &registry.reference(&format!("box:{tag}"))]);
    }
}

#[test]
fn a_full_disk_fails_the_pull_and_nothing_else() {
    let registry = Registry::with_busybox();
    let disk = SmallDisk::new(600);
    let cove = Cove::at(
        Path::new(env!("CARGO_BIN_EXE_cove")),
        Roots::beneath(disk.path()),
    );
    cove.ok(&["images"]);
    let text = cove.fails(1, &["pull", &registry.reference("busybox:latest")]);
    assert!(text.contains("No space left on device"), "{text}");
    nothing_left(&cove);
}

#[test]
fn a_root_that_cannot_be_written_is_told() {
    let disk = SmallDisk::new(16 << 10);
    let cove = Cove::at(
        Path::new(env!("CARGO_BIN_EXE_cove")),
        Roots::beneath(disk.path()),
    );
    cove.ok(&["images"]);
    let read_only = |on: bool| {
        let flags = if on {
            rustix::mount::MountFlags::RDONLY
        } else {
            rustix::mount::MountFlags::empty()
        };
        rustix::mount::mount_remount(disk.path(), flags, "").unwrap();
    };
    read_only(true);
    let registry = Registry::with_busybox();
    let reference = registry.reference("busybox:latest");
    let text = cove.fails(1, &["pull", &reference]);
    read_only(false);
    assert!(text.contains("Read-only file system"), "{text}");
    cove.ok(&["pull", "-q", &reference]);
}

/// The redo logs of layers.
fn logs(cove: &Cove) -> Vec<PathBuf> {
    let layers = std::fs::read_dir(cove.roots().root().join("layers")).unwrap();
    let logs = layers.map(|layer| layer.unwrap().path().join("redo"));
    logs.filter(|log| log.exists()).collect()
}

#[test]
fn a_pull_is_settled_by_a_process_that_ends() {
    let registry = Registry::with_busybox();
    let cove = empty();
    cove.ok(&["images"]);
    let before = Snapshot::take(cove.roots());
    cove.ok(&["pull", "-q", &registry.reference("busybox:latest")]);
    cove.roots().wait_settled();
    assert_eq!(logs(&cove), [""; 0].map(PathBuf::from));
    assert_no_leaks(&before, cove.roots());
}

/// Pulls an image whose settler is not started.
fn pull_unsettled(cove: &Cove, name: &str) {
    let own = ["-P", "/proc/self/exe", "-e", "inject=openat:error=EACCES"];
    let strace = ["-qqq", "-o", "/dev/null"];
    let pull = cove.cmd(["pull", "-q", name]);
    pull.under("strace", &[&strace[..], &own, &["--"]].concat())
        .ok();
}

#[test]
fn a_pull_survives_the_power_cut_before_it_is_settled() {
    let registry = Registry::with_busybox();
    let shape = Shape {
        layers: 2,
        files: 300,
        bytes: 6 << 20,
        compression: Compression::Gzip,
    };
    registry.push("many:latest", &many::image(shape));
    let mut disk = Disk::new(256);
    let roots = Roots::beneath(&disk.path());
    let cove = Cove::at(Path::new(env!("CARGO_BIN_EXE_cove")), roots);
    cove.ok(&["images"]);
    Cmd::new("sync").arg("--file-system").arg(disk.path()).ok();
    let [many, busybox] = ["many:latest", "busybox:latest"].map(|name| registry.reference(name));
    pull_unsettled(&cove, &many);
    pull_unsettled(&cove, &busybox);
    assert_eq!(logs(&cove).len(), 3);
    disk.cut();
    let is_torn = |log: &PathBuf| {
        let record = testkit::files::text(&log.with_file_name("layer.json"));
        record.unwrap_or_default().is_empty()
    };
    let torn: Vec<PathBuf> = logs(&cove).into_iter().filter(is_torn).collect();
    assert!(!torn.is_empty(), "the cut has lost nothing");
    let run = ["run", "--rm", "--network", "none", &busybox];
    assert_eq!(cove.ok(&[&run[..], &["echo", "hi"]].concat()), "hi");
    assert_eq!(cove.ok(&["system", "fsck"]), "No problems found");
    // What was made anew is on the disk.
    assert!(torn.iter().all(|log| !log.exists() && !is_torn(log)));
}

#[test]
fn a_disk_that_does_not_take_a_layer_leaves_its_log() {
    let registry = Registry::with_busybox();
    let cove = empty();
    pull_unsettled(&cove, &registry.reference("busybox:latest"));
    let log = logs(&cove).pop().unwrap();
    let header = testkit::files::read(&log, 1 << 30).unwrap();
    let header = String::from_utf8_lossy(&header[..4096]).into_owned();
    let name = header.split_once("\"settler\":\"").unwrap().1;
    let name = name.split_once('"').unwrap().0;
    let program = cove.roots().home().join("cove-settle");
    std::os::unix::fs::symlink(cove.program(), &program).unwrap();
    let settle = || {
        Cmd::new("sh")
            .args(["-c", "exec \"$0\" \"$1\" \"$2\" <\"$1\""])
            .arg(&program)
            .arg(cove.roots().root())
            .arg(name)
    };
    let strace = ["-qqq", "-o", "/dev/null", "-e", "inject=syncfs:error=EIO"];
    let refused = settle().under("strace", &[&strace[..], &["--"]].concat());
    assert_eq!(refused.run().code(), 1);
    assert!(log.exists());
    settle().ok();
    assert!(!log.exists());
}

#[test]
fn nothing_listens_and_nobody_knows_the_name() {
    let cove = empty();
    let text = cove.fails(1, &["pull", "127.0.0.1:1/box"]);
    assert!(text.contains("refused"), "{text}");
    let registry = Registry::start();
    let unknown = registry.reference("nobody/knows:1");
    let text = cove.fails(1, &["pull", &unknown]);
    assert!(
        text.contains("not found") || text.contains("unknown"),
        "{text}"
    );
    // `run` fails as Docker's does: 125, before anything was made.
    cove.fails(125, &["run", "--rm", &unknown]);
    assert_eq!(cove.ok(&["ps", "-aq"]), "");
    nothing_left(&cove);
}
