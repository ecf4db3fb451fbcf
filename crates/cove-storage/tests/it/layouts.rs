//! OCI layouts as others write them: several platforms, indexes of indexes.

use std::collections::BTreeMap;

use cove_model::image::{Descriptor, ImageConfig, Index, Manifest, Platform, media_type};
use cove_model::{Digest, Reference};
use cove_storage::{Error, digest_of};

use crate::support::{Fixture, archive, assert_exact, member, run};

/// The members of a layout so far.
#[derive(Default)]
struct Layout(Vec<Vec<u8>>);

impl Layout {
    fn blob(&mut self, kind: &str, bytes: &[u8]) -> Descriptor {
        let digest = digest_of(bytes);
        let path = format!("blobs/sha256/{}", digest.hex());
        self.0.push(member(&path, b'0', "", bytes));
        Descriptor::new(kind, digest, bytes.len() as u64)
    }

    /// An image of one layer for `platform`; the entry and the layer.
    fn image(&mut self, platform: &Platform) -> (Descriptor, Digest) {
        let content = platform.architecture.as_bytes();
        let tar = archive(&[member("f", b'0', "", content)]);
        let layer = self.blob(media_type::OCI_LAYER, &tar);
        let mut config = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            ..ImageConfig::default()
        };
        config.rootfs.diff_ids.push(layer.digest);
        let config = serde_json::to_vec(&config).unwrap();
        let manifest = Manifest {
            schema_version: 2,
            media_type: None,
            config: self.blob(media_type::OCI_CONFIG, &config),
            layers: vec![layer.clone()],
            annotations: BTreeMap::new(),
        };
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut entry = self.blob(media_type::OCI_MANIFEST, &manifest);
        entry.platform = Some(platform.clone());
        (entry, layer.digest)
    }

    fn index(&mut self, manifests: Vec<Descriptor>) -> Descriptor {
        let bytes = index(manifests);
        self.blob(media_type::OCI_INDEX, &bytes)
    }

    fn archive(mut self, manifests: Vec<Descriptor>) -> Vec<u8> {
        let bytes = index(manifests);
        self.0.push(member("index.json", b'0', "", &bytes));
        archive(&self.0)
    }
}

fn index(manifests: Vec<Descriptor>) -> Vec<u8> {
    let index = Index {
        schema_version: 2,
        media_type: None,
        manifests,
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&index).unwrap()
}

fn named(mut entry: Descriptor, name: &str) -> Descriptor {
    let key = "io.containerd.image.name".to_owned();
    entry.annotations.insert(key, name.to_owned());
    entry
}

fn other() -> Platform {
    Platform::parse("linux/s390x").unwrap()
}

#[test]
fn of_several_platforms_the_hosts_gets_the_name() {
    for nested in [true, false] {
        let mut layout = Layout::default();
        let (ours, layer) = layout.image(&Platform::host());
        let (theirs, their_layer) = layout.image(&other());
        let mut attestation = layout.image(&Platform::parse("none/none").unwrap()).0;
        attestation.platform = Platform::parse("unknown/unknown");
        let entries = vec![ours.clone(), theirs, attestation];
        let entries = if nested {
            vec![named(layout.index(entries), "app:1")]
        } else {
            entries
                .into_iter()
                .map(|entry| named(entry, "app:1"))
                .collect()
        };
        let to = Fixture::new();
        let loaded = to.store.load(layout.archive(entries).as_slice()).unwrap();
        assert_eq!(loaded.len(), 1, "nested: {nested}");
        assert_eq!(loaded[0].names, [Reference::parse_docker("app:1").unwrap()]);
        let record = to.store.find_image("app:1").unwrap().record;
        assert_eq!(record.manifest, ours.digest);
        assert!(to.store.has_layer(&layer));
        // What no image uses is not kept.
        assert!(!to.store.has_layer(&their_layer));
        assert_eq!(to.staged(), Vec::<String>::new());
    }
}

#[test]
fn the_only_image_is_taken_whatever_it_is_for() {
    let mut layout = Layout::default();
    let theirs = layout.image(&other()).0;
    let mut absent = theirs.clone();
    absent.platform = Some(Platform::host());
    absent.digest = digest_of(b"not in the archive");
    let index = layout.index(vec![absent, theirs.clone()]);
    // The same image by two names, as `save` writes it.
    let entries = vec![named(index.clone(), "app:1"), named(index, "app:2"), theirs];
    let to = Fixture::new();
    let loaded = to.store.load(layout.archive(entries).as_slice()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names.len(), 2);

    let mut layout = Layout::default();
    let mut entries = Vec::new();
    for name in ["linux/s390x", "linux/riscv64"] {
        entries.push(layout.image(&Platform::parse(name).unwrap()).0);
    }
    let index = named(layout.index(entries), "app:1");
    let to = Fixture::new();
    let refused = to.store.load(layout.archive(vec![index]).as_slice());
    assert!(matches!(refused, Err(Error::Archive(_))), "{refused:?}");
}

#[test]
fn what_is_named_often_is_one_image() {
    let mut layout = Layout::default();
    let (mut entry, _) = layout.image(&Platform::host());
    for _ in 0..4 {
        let platform = entry.platform.clone();
        entry = layout.index(vec![entry; 8]);
        entry.platform = platform;
    }
    let to = Fixture::new();
    let loaded = to.store.load(layout.archive(vec![entry; 8]).as_slice());
    assert_eq!(loaded.unwrap().len(), 1);

    let config = r#"{"rootfs":{"type":"layers"}}"#;
    let image = r#"{"Config":"c","RepoTags":null,"Layers":null}"#;
    let archive = |count: usize| {
        let images = format!("[{}]", vec![image; count].join(","));
        let manifest = member("manifest.json", b'0', "", images.as_bytes());
        archive(&[member("c", b'0', "", config.as_bytes()), manifest])
    };
    let loaded = to.store.load(archive(2).as_slice());
    assert_eq!(loaded.unwrap().len(), 2);
    let refused = to.store.load(archive(5000).as_slice());
    assert!(matches!(refused, Err(Error::Archive(_))), "{refused:?}");
}

#[test]
fn a_layout_with_holes_is_read_and_an_archive_with_maps_refused() {
    let from = Fixture::new();
    let mut layout = Layout::default();
    let zeros = "\0".repeat(4 << 20);
    let tar = archive(&[member("zeros", b'0', "", zeros.as_bytes())]);
    let layer = layout.blob(media_type::OCI_LAYER, &tar);
    let config = format!(
        r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        layer.digest
    );
    let config = layout.blob(media_type::OCI_CONFIG, config.as_bytes());
    let manifest = Manifest {
        schema_version: 2,
        media_type: None,
        config,
        layers: vec![layer.clone()],
        annotations: BTreeMap::new(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let entry = layout.blob(media_type::OCI_MANIFEST, &manifest);
    let whole = layout.archive(vec![named(entry, "app:1")]);
    let directory = from.scratch("layout");
    tar::Archive::new(whole.as_slice())
        .unpack(&directory)
        .unwrap();
    let blob = directory.join("blobs/sha256").join(layer.digest.hex());
    run(
        "fallocate",
        &["--dig-holes", blob.to_str().unwrap()],
        &directory,
    );

    let to = Fixture::new();
    to.store.load_layout(&directory).unwrap();
    assert_exact(&to.store.layer(&layer.digest).unwrap(), &tar);

    let sparse = run("tar", &["--sparse", "-cf", "-", "."], &directory);
    let refused = Fixture::new().store.load(sparse.as_slice()).unwrap_err();
    assert!(refused.to_string().contains("sparse"), "{refused:?}");
}
