//! Documents that are not what they say.

use cove_image::{Error, ResolvedImage};
use cove_model::error::sentence;
use cove_model::image::Platform;
use serde_json::{Value, json};

use crate::fake::{Fake, INDEX, Image, MANIFEST, Reply, client, digest};

fn resolve(image: Image, name: &str) -> Result<ResolvedImage, Error> {
    let fake = Fake::start(move |request, _| image.reply(request));
    client().0.resolve(&fake.image(name), None)
}

#[test]
fn bent_manifests_are_refused() {
    type Bend = fn(&mut Value);
    let cases: &[(&str, Bend, &str)] = &[
        (
            "both",
            |m| m["manifests"] = json!([]),
            "both an index and a manifest",
        ),
        (
            "type",
            |m| m["mediaType"] = INDEX.into(),
            "but the document says",
        ),
        ("schema 1", |m| m["schemaVersion"] = 1.into(), "schema 1"),
        (
            "foreign",
            |m| m["layers"][0]["urls"] = json!(["http://x/"]),
            "foreign layer",
        ),
        (
            "layer type",
            |m| m["layers"][0]["mediaType"] = "application/x-rar".into(),
            "unsupported media type application/x-rar",
        ),
        (
            "artifact",
            |m| m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into(),
            "unsupported media type application/vnd.cncf.helm",
        ),
        (
            "no layers",
            |m| m["layers"] = json!([]),
            "0 layers, the configuration 1",
        ),
        (
            "empty layer",
            |m| m["layers"][0]["size"] = 0.into(),
            "impossible size of 0",
        ),
        (
            "huge layer",
            |m| m["layers"][0]["size"] = (1_u64 << 50).into(),
            "impossible size",
        ),
        (
            "many layers",
            |m| {
                let layer = m["layers"][0].clone();
                m["layers"] = vec![layer; 501].into();
            },
            "501 layers",
        ),
        (
            "huge config",
            |m| m["config"]["size"] = (1_u64 << 40).into(),
            "larger than the limit",
        ),
        (
            "config size",
            |m| m["config"]["size"] = 3.into(),
            "larger than the limit of 3",
        ),
        (
            "config digest",
            |m| m["config"]["digest"] = digest(b"x").to_string().into(),
            "unknown blob",
        ),
        (
            "bad digest",
            |m| m["config"]["digest"] = "sha256:../../etc".into(),
            "invalid digest",
        ),
        (
            "huge",
            |m| m["x"] = "y".repeat(5 << 20).into(),
            "larger than the limit of 4194304",
        ),
    ];
    for (what, bend, expected) in cases {
        let mut image = Image::new();
        bend(&mut image.manifest);
        let error = sentence(&resolve(image, "a:1").unwrap_err());
        assert!(error.contains(expected), "{what}: {error}");
    }
    assert!(resolve(Image::new(), "a:1").is_ok());
}

#[test]
fn bytes_of_another_digest_are_refused() {
    let asked = digest(b"something else");
    let error = resolve(Image::new(), &format!("a@{asked}")).unwrap_err();
    assert!(
        matches!(error, Error::Digest { expected, .. } if expected == asked),
        "{error}"
    );

    let fake = Fake::start(move |request, _| {
        Image::new()
            .reply(request)
            .header("docker-content-digest", digest(b"header"))
    });
    let error = client().0.resolve(&fake.image("a:1"), None).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");

    let fake = Fake::start(move |request, _| {
        let mut reply = Image::new().reply(request);
        if request.path.contains("/blobs/") {
            reply.body[20] ^= 1;
        }
        reply
    });
    let error = client().0.resolve(&fake.image("a:1"), None).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[test]
fn an_index_entry_binds_what_it_points_to() {
    type Bend = fn(&mut Value);
    let cases: &[(&str, Bend, &str)] = &[
        ("size", |e| e["size"] = 5.into(), "size mismatch"),
        (
            "type",
            |e| e["mediaType"] = INDEX.into(),
            "but the document says",
        ),
        (
            "digest",
            |e| e["digest"] = digest(b"x").to_string().into(),
            "digest mismatch",
        ),
        (
            "platform",
            |e| e["platform"]["architecture"] = "s390x".into(),
            "no matching manifest for",
        ),
    ];
    for (what, bend, expected) in cases {
        let image = Image::of(&Platform::host().architecture);
        let host = Platform::host();
        let mut entry = json!({"mediaType": MANIFEST, "size": image.bytes().len(),
            "digest": digest(&image.bytes()), "platform": host});
        bend(&mut entry);
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let fake = Fake::start(move |request, _| {
            if request.path.ends_with("/manifests/1") {
                return Reply::new(200, index.clone()).header("content-type", INDEX);
            }
            image.reply(request)
        });
        let error = sentence(&client().0.resolve(&fake.image("a:1"), None).unwrap_err());
        assert!(error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn platforms_that_do_not_match_are_told() {
    let wanted = Platform::parse("linux/s390x").unwrap();
    let fake = Fake::start(|request, _| Image::of("arm64").reply(request));
    let candidates = fake.image("a:1");
    let error = client()
        .0
        .resolve(&candidates, Some(&wanted))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("wanted linux/s390x, actual: linux/arm64"),
        "{error}"
    );
    let taken = client().0.resolve(&candidates, None).unwrap();
    assert_eq!(
        taken.is_for_host(),
        taken.config.platform() == Platform::host()
    );

    let mut windows = Image::new();
    windows.set_config(&json!({"os": "windows", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [digest(b"tar").to_string()]}}));
    let error = resolve(windows, "a:1").unwrap_err().to_string();
    assert!(
        error.contains("image operating system \"windows\" cannot be used"),
        "{error}"
    );
}

#[test]
fn an_endless_nest_of_indexes_ends() {
    let mut chain = vec![json!({"schemaVersion": 2, "manifests": []}).to_string()];
    for _ in 0..6 {
        let inner = chain.last().unwrap();
        let entry = json!({"mediaType": INDEX, "size": inner.len(),
            "digest": digest(inner.as_bytes()), "platform": Platform::host()});
        chain.push(json!({"schemaVersion": 2, "manifests": [entry]}).to_string());
    }
    let fake = Fake::start(move |request, _| {
        let (_, last) = request.path.rsplit_once('/').unwrap();
        let named = chain
            .iter()
            .find(|text| digest(text.as_bytes()).to_string() == last);
        Reply::new(200, named.or(chain.last()).unwrap().clone()).header("content-type", INDEX)
    });
    let error = sentence(&client().0.resolve(&fake.image("a:1"), None).unwrap_err());
    assert!(error.contains("nested too deeply"), "{error}");
}
