//! Records, names, removal and collection.

use std::collections::BTreeSet;

use cove_model::{Digest, Reference};
use cove_storage::{Error, ImageLayer, ImageRecord, Lease, Usage, digest_of};

use crate::support::{Fixture, archive, member, nothing_used, reference};

fn image(fixture: &Fixture, content: &str, names: &[&str]) -> ImageRecord {
    let lease = Lease::new(&fixture.store).unwrap();
    let tar = archive(&[member("f", b'0', "", content.as_bytes())]);
    let staged = fixture.stage(&tar).unwrap();
    let info = fixture
        .store
        .publish(&lease, vec![staged])
        .unwrap()
        .remove(0);
    let id = fixture
        .store
        .put_bytes(format!("config of {content}").as_bytes())
        .unwrap();
    let manifest = fixture
        .store
        .put_bytes(format!("manifest of {content}").as_bytes())
        .unwrap();
    lease.protect(&[id, manifest]).unwrap();
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    let repository = names
        .first()
        .map_or("docker.io/library/app".to_owned(), Reference::name);
    let record = ImageRecord {
        id,
        manifest,
        manifest_media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        repo_digests: BTreeSet::from([format!("{repository}@{manifest}")]),
        layers: vec![ImageLayer {
            diff_id: info.diff_id,
            compressed: info.compressed,
            size: info.compressed_size,
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        }],
        size: info.size,
        created: Some("2026-01-01T00:00:00Z".to_owned()),
        parent: None,
    };
    fixture.store.put_image(&record, &names).unwrap();
    record
}

fn by(usage: &Usage) -> impl FnOnce(&Digest) -> std::io::Result<Usage> {
    let usage = usage.clone();
    |_| Ok(usage)
}

#[test]
fn images_are_found_by_name_digest_and_start_of_id() {
    let fixture = Fixture::new();
    let record = image(&fixture, "one", &["app:1", "other/app:latest"]);
    let hex = record.id.hex();
    let by_digest = format!("app@{}", record.manifest);
    let with_tag = format!("app:9@{}", record.manifest);
    for text in [
        "app:1",
        "other/app",
        &hex,
        &hex[..7],
        &record.id.to_string(),
        &by_digest,
        &with_tag,
    ] {
        assert_eq!(
            fixture.store.find_image(text).unwrap().record,
            record,
            "{text}"
        );
    }
    for text in ["app", "app:2", "", "zz", "sha256:", "app@sha256:00"] {
        assert!(
            matches!(fixture.store.find_image(text), Err(Error::NotFound { .. })),
            "{text}"
        );
    }
    for number in 0..40 {
        image(&fixture, &number.to_string(), &[]);
    }
    let ambiguous = (0..16).map(|digit| fixture.store.find_image(&format!("{digit:x}")));
    assert!(
        ambiguous
            .into_iter()
            .any(|r| matches!(r, Err(Error::Ambiguous { .. })))
    );
}

#[test]
fn an_image_goes_with_its_last_name() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let record = image(&fixture, "one", &["app:1", "app:2"]);
    let running = Usage::Running("c".to_owned());
    let removal = store.remove_image("app:1", false, by(&running)).unwrap();
    assert_eq!(removal.untagged, ["app:1"]);
    assert_eq!(removal.deleted, None);
    let removal = store
        .remove_image("app:2", false, by(&Usage::Unused))
        .unwrap();
    assert_eq!(removal.deleted, Some(record.id));
    assert_eq!(
        removal.untagged,
        ["app:2".to_owned(), format!("app@{}", record.manifest)]
    );
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn a_digest_is_a_name_like_others() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let record = image(&fixture, "one", &["app:1"]);
    let digest = format!("app@{}", record.manifest);
    let down = Usage::Stopped("c".to_owned());
    let refused = store.remove_image(&digest, false, by(&down));
    assert!(matches!(refused, Err(Error::NameInUse { .. })));
    let removal = store
        .remove_image(&digest, false, by(&Usage::Unused))
        .unwrap();
    assert_eq!(removal.untagged, [digest.as_str()]);
    assert_eq!(removal.deleted, None);
    assert!(store.find_image(&digest).is_err());
    let left = store.find_image("app:1").unwrap();
    assert_eq!(left.names, [reference("app:1")]);
    assert!(left.record.repo_digests.is_empty());

    // The last of one repository leaves what others have.
    store.put_image(&record, &[reference("else:1")]).unwrap();
    store.remove_image("app:1", false, by(&down)).unwrap();
    store.put_image(&record, &[]).unwrap();
    let removal = store.remove_image("else:1", false, by(&down)).unwrap();
    assert_eq!(removal.untagged, ["else:1"]);
    assert_eq!(removal.deleted, None);
    let removal = store
        .remove_image(&digest, false, by(&Usage::Unused))
        .unwrap();
    assert_eq!(removal.untagged, [digest]);
    assert_eq!(removal.deleted, Some(record.id));
}

#[test]
fn an_id_of_several_repositories_goes_only_by_force() {
    let fixture = Fixture::new();
    let record = image(&fixture, "one", &["app:1", "else:1"]);
    let hex = record.id.hex();
    let refused = fixture.store.remove_image(&hex, false, by(&Usage::Unused));
    assert!(matches!(refused, Err(Error::SeveralNames { .. })));
    let removal = fixture
        .store
        .remove_image(&hex[..12], true, by(&Usage::Unused))
        .unwrap();
    assert_eq!(removal.deleted, Some(record.id));
}

#[test]
fn an_image_that_containers_use_is_refused_in_dockers_words() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let record = image(&fixture, "one", &["app:1"]);
    let id = record.id.hex();
    let short = &id[..12];
    let by_name = "conflict: unable to remove repository reference \"app:1\" (must force) - \
                   container c is using its referenced image";
    let running = "(cannot be forced) - image is being used by running container c";
    let stopped = "(must be forced) - image is being used by stopped container c";
    let several = "(must be forced) - image is referenced in multiple repositories";
    let refuses = |text: &str, force, usage: &Usage, words: &str| {
        let error = store.remove_image(text, force, by(usage)).unwrap_err();
        let sentence = if words.starts_with("conflict") {
            format!("{words} {short}")
        } else {
            format!("conflict: unable to delete {short} {words}")
        };
        assert_eq!(error.to_string(), sentence);
    };
    let up = Usage::Running("c".to_owned());
    let down = Usage::Stopped("c".to_owned());
    refuses("app:1", false, &up, by_name);
    refuses("app:1", false, &down, by_name);
    refuses(&id, false, &up, running);
    refuses(&id, true, &up, running);
    refuses(short, false, &down, stopped);
    // A second name, of the same repository, too.
    store.tag(&record.id, &reference("app:2")).unwrap();
    refuses(&id, false, &Usage::Unused, several);
    refuses(&id, false, &down, several);
    refuses(&id, true, &up, running);
    store.remove_image("app:2", false, by(&up)).unwrap();
    // Of what runs only the name goes, of what does not the image.
    let removal = store.remove_image("app:1", true, by(&up)).unwrap();
    assert_eq!(removal.untagged[0], "app:1");
    assert_eq!(removal.deleted, None);
    assert!(store.find_image(short).unwrap().is_dangling());
    let removal = store.remove_image(short, true, by(&down)).unwrap();
    assert!(removal.deleted.is_some());
}

#[test]
fn collection_leaves_what_images_containers_and_leases_use() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let kept = image(&fixture, "kept", &["kept"]);
    let gone = image(&fixture, "gone", &["gone"]);
    let layer = gone.layers[0].diff_id;
    store
        .remove_image("gone", false, by(&Usage::Unused))
        .unwrap();
    let by_container = store.collect(|| Ok(BTreeSet::from([layer]))).unwrap();
    assert_eq!(by_container.layers, []);
    assert_eq!(by_container.blobs.len(), 2);
    let lease = Lease::new(store).unwrap();
    lease.protect(&[layer]).unwrap();
    assert_eq!(store.collect(nothing_used).unwrap().layers, []);
    drop(lease);
    assert_eq!(store.layer_of_blob(&gone.layers[0].compressed), Some(layer));
    assert_eq!(store.collect(nothing_used).unwrap().layers, [layer]);
    assert_eq!(store.layer_of_blob(&gone.layers[0].compressed), None);
    assert!(store.has_layer(&kept.layers[0].diff_id) && store.has_blob(&kept.id));
    assert_eq!(fixture.staged(), Vec::<String>::new());
    assert!(
        store
            .collect(|| Err(std::io::ErrorKind::Other.into()))
            .is_err()
    );
}

#[test]
fn pruning_takes_dangling_images_or_all_that_are_unused() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let dangling = image(&fixture, "dangling", &[]);
    let used = image(&fixture, "used", &["used"]);
    let named = image(&fixture, "named", &["named"]);
    let all: BTreeSet<_> = [dangling.id, used.id, named.id].into();
    let removed = store.prune_images(false, &all, nothing_used).unwrap();
    assert_eq!(removed[0].deleted, Some(dangling.id));
    assert_eq!(removed.len(), 1);
    let by_containers = || Ok(BTreeSet::from([used.id]));
    let fits_none = store.prune_images(true, &BTreeSet::new(), by_containers);
    assert_eq!(fits_none.unwrap(), []);
    let removed = store.prune_images(true, &all, by_containers).unwrap();
    assert_eq!(removed.len(), 1);
    assert_eq!(store.images().unwrap().len(), 1);
}

#[test]
fn what_containers_use_is_asked_while_no_name_can_change() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let record = image(&fixture, "one", &["app:1"]);
    let locked = || {
        let file = std::fs::File::open(store.root().join("images/lock")).unwrap();
        assert!(file.try_lock().is_err(), "names can change meanwhile");
    };
    let fitting = BTreeSet::from([record.id]);
    let used = || {
        locked();
        Ok(BTreeSet::from([record.id]))
    };
    assert_eq!(store.prune_images(true, &fitting, used).unwrap(), []);
    let usage = |id: &Digest| {
        locked();
        assert_eq!(*id, record.id);
        Ok(Usage::Unused)
    };
    store.remove_image("app:1", false, usage).unwrap();
}

#[test]
fn blobs_are_verified_when_written_and_when_read() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let digest = digest_of(b"content");
    assert!(store.put_blob(&b"other"[..], &digest, None, 100).is_err());
    assert!(
        store
            .put_blob(&b"content"[..], &digest, Some(8), 100)
            .is_err()
    );
    assert!(store.put_blob(&b"content"[..], &digest, None, 6).is_err());
    assert!(!store.has_blob(&digest));
    store
        .put_blob(&b"content"[..], &digest, Some(7), 7)
        .unwrap();
    assert_eq!(store.blob(&digest, 7).unwrap(), b"content");
    let path = store.root().join("blobs/sha256").join(digest.hex());
    std::fs::write(path, b"c0ntent").unwrap();
    assert!(matches!(store.blob(&digest, 7), Err(Error::Digest { .. })));
    assert_eq!(fixture.staged(), Vec::<String>::new());
}
