//! Saving and loading, in every form, and checking what is stored.

use std::io::{Read, Write};

use cove_model::Digest;
use cove_storage::{Error, Format, Store, Usage, digest_of};

use crate::support::{Fixture, archive, image, member, nothing_used, saved, tar_of};

#[test]
fn what_is_saved_can_be_loaded_in_every_form() {
    let from = Fixture::new();
    let big = "x".repeat(3 << 20);
    let one = image(&from.store, "one:1", &["base", &big]);
    let two = image(&from.store, "host:5000/two:2", &["base", "other", "base"]);
    let saved = saved(&[(&one, "one:1"), (&two, "host:5000/two:2")]);
    let mut archives = Vec::new();
    for format in [Format::Docker, Format::Oci] {
        let mut bytes = Vec::new();
        from.store.save(&saved, format, &mut bytes).unwrap();
        let mut again = Vec::new();
        from.store.save(&saved, format, &mut again).unwrap();
        assert!(bytes == again, "saving twice gives two archives");
        archives.push(zstd::encode_all(bytes.as_slice(), 1).unwrap());
        let mut gzip = flate2::read::GzEncoder::new(bytes.as_slice(), flate2::Compression::fast());
        let mut compressed = Vec::new();
        gzip.read_to_end(&mut compressed).unwrap();
        archives.push(compressed);
        archives.push(bytes);
    }
    let check = |to: &Fixture, loaded: Vec<cove_storage::Loaded>| {
        assert_eq!(loaded.len(), 2);
        for (record, name) in [(&one, "one:1"), (&two, "host:5000/two:2")] {
            let found = to.store.find_image(name).unwrap().record;
            assert_eq!(
                (&found.id, &found.layers, found.size),
                (&record.id, &record.layers, record.size)
            );
            for layer in &found.layers {
                let theirs = from.store.layer(&layer.diff_id).unwrap();
                assert!(tar_of(&to.store.layer(&layer.diff_id).unwrap()) == tar_of(&theirs));
            }
        }
        assert_eq!(to.store.fsck(false, nothing_used).unwrap(), []);
        assert_eq!(to.staged(), Vec::<String>::new());
    };
    for bytes in &archives {
        let to = Fixture::new();
        // A pipe gives small pieces and cannot seek.
        check(&to, to.store.load(bytes.as_slice()).unwrap());
        // What is there is not unpacked again.
        check(&to, to.store.load(bytes.as_slice()).unwrap());
        let cut = &bytes[..bytes.len() / 2];
        let other = Fixture::new();
        assert!(other.store.load(cut).is_err());
        assert!(other.store.images().unwrap().is_empty());
    }
    let layout = from.directory.path().join("layout");
    from.store.save_layout(&saved, &layout).unwrap();
    let to = Fixture::new();
    check(&to, to.store.load_layout(&layout).unwrap());
}

/// Removes every image as soon as something is written.
struct Removing<'a> {
    store: &'a Store,
    bytes: Vec<u8>,
}

impl Write for Removing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for image in self.store.images().unwrap() {
            let id = image.record.id.hex();
            let unused = |_: &Digest| Ok(Usage::Unused);
            self.store.remove_image(&id, true, unused).unwrap();
        }
        self.store.collect(nothing_used).unwrap();
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_image_that_is_removed_while_it_is_saved_is_saved_whole() {
    for format in [Format::Docker, Format::Oci] {
        let from = Fixture::new();
        let one = image(&from.store, "one:1", &["base", "more"]);
        let mut out = Removing {
            store: &from.store,
            bytes: Vec::new(),
        };
        let saved = saved(&[(&one, "one:1")]);
        from.store.save(&saved, format, &mut out).unwrap();
        let archive = out.bytes;
        let to = Fixture::new();
        assert_eq!(to.store.load(archive.as_slice()).unwrap()[0].id, one.id);
        assert!(matches!(
            from.store.save(&saved, format, std::io::sink()),
            Err(Error::NotFound { .. })
        ));
        // Once it is saved nothing keeps it.
        from.store.collect(nothing_used).unwrap();
        assert_eq!(from.store.layers().unwrap(), []);
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let from = Fixture::new();
    let one = image(&from.store, "one:1", &["content of the file"]);
    for format in [Format::Docker, Format::Oci] {
        let mut bytes = Vec::new();
        from.store
            .save(&saved(&[(&one, "one:1")]), format, &mut bytes)
            .unwrap();
        let at = bytes
            .windows(7)
            .position(|window| window == b"content")
            .unwrap();
        bytes[at] ^= 1;
        let to = Fixture::new();
        assert!(matches!(
            to.store.load(bytes.as_slice()),
            Err(Error::Digest { .. })
        ));
        assert!(to.store.images().unwrap().is_empty());
    }
    let to = Fixture::new();
    for bytes in [
        &b""[..],
        b"neither",
        &archive(&[member("f", b'0', "", b"x")]),
    ] {
        assert!(to.store.load(bytes).is_err());
    }
}

#[test]
fn an_archive_may_leave_out_layers_that_are_here() {
    // As buildpacks write them: base layers without a name, the others below a root.
    let base = archive(&[member("base", b'0', "", b"base")]);
    let top = archive(&[member("top", b'0', "", b"top")]);
    let config = format!(
        r#"{{"architecture":"","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
        digest_of(&base),
        digest_of(&top)
    );
    let manifest = br#"[{"Config":"c.json","Layers":["","/top.tar"],"RepoTags":["partly:1"]}]"#;
    let bytes = archive(&[
        member("c.json", b'0', "", config.as_bytes()),
        member("./top.tar", b'0', "", &top),
        member("manifest.json", b'0', "", manifest),
    ]);
    let fixture = Fixture::new();
    let error = fixture.store.load(bytes.as_slice()).unwrap_err();
    assert!(matches!(error, Error::Archive(_)), "{error:?}");
    assert!(fixture.store.images().unwrap().is_empty());
    fixture.unpack(&base);
    let loaded = fixture.store.load(bytes.as_slice()).unwrap();
    assert_eq!(loaded.len(), 1);
    let found = fixture.store.find_image("partly:1").unwrap().record;
    let layers: Vec<Digest> = found.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(layers, [digest_of(&base), digest_of(&top)]);
}
