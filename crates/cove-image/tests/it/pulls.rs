//! Whole pulls: indexes, mirrors, many layers at once.

use std::sync::Arc;

use cove_image::client::Timeouts;
use cove_image::registries::Document;
use cove_image::{CredentialStore, Environment, Error, Registries};
use cove_model::image::Platform;
use serde_json::json;

use crate::fake::{
    Fake, INDEX, Image, MANIFEST, Reply, Then, client, client_of, digest, first_layer, nowhere,
};

#[test]
fn an_index_leads_to_the_platforms_image() {
    let images = Arc::new([Image::of("amd64"), Image::of("s390x")]);
    let entries: Vec<_> = images
        .iter()
        .zip(["amd64", "s390x"])
        .map(|(image, architecture)| {
            json!({"mediaType": MANIFEST, "size": image.bytes().len(), "digest": digest(&image.bytes()),
                "platform": {"os": "linux", "architecture": architecture}})
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    let expected = digest(index.as_bytes());
    let fake = Fake::start(move |request, _| {
        if request.path.ends_with("/manifests/latest") {
            return Reply::new(200, index.clone()).header("content-type", INDEX);
        }
        let found = images
            .iter()
            .map(|image| (image, image.reply(request)))
            .find(|(image, reply)| {
                let manifest = request.path.ends_with(&digest(&image.bytes()).to_string());
                manifest || (reply.status == 200 && request.path.contains("/blobs/"))
            });
        found.map_or(Reply::new(404, "{}"), |(_, reply)| reply)
    });
    let (client, _) = client();
    for name in ["amd64", "s390x"] {
        let platform = Platform::parse(name).unwrap();
        let image = client.resolve(&fake.image("a/b"), Some(&platform)).unwrap();
        assert_eq!(image.config.architecture, name);
        assert_eq!(image.digest(), expected);
        assert_eq!(image.layers[0].diff_id, digest(b"tar"));
        assert_eq!(image.name.tag(), Some("latest"));
        assert_eq!(
            digest(&image.manifest_bytes),
            image.manifest_descriptor.digest
        );
        assert_eq!(digest(&image.config_bytes), image.manifest.config.digest);
        let bytes = first_layer(&client, &image);
        assert_eq!(bytes.len() as u64, image.layer_bytes());
    }
    let accept: Vec<_> = fake.requests()[0].headers.clone();
    assert_eq!(
        accept.iter().filter(|(name, _)| name == "accept").count(),
        4
    );
    let unknown = Platform::parse("linux/arm/v7").unwrap();
    let error = client
        .resolve(&fake.image("a/b"), Some(&unknown))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/arm/v7 in the manifest list entries"
    );
}

#[test]
fn mirrors_are_tried_before_the_registry_and_survived() {
    let dead = Fake::start(|_, _| Reply::new(200, ""));
    let dead_host = dead.host();
    drop(dead);
    let without = Fake::start(|_, _| Reply::new(404, "{}"));
    let lying = Fake::start(|request, _| {
        let mut reply = Image::new().reply(request);
        reply.body.push(b' ');
        reply.sent += 1;
        reply
    });
    let registry = Fake::start(|request, _| Image::new().reply(request));
    let conf = |mirrors: &[String]| {
        let mut text = format!("[[registry]]\nlocation = '{}/x'\n", registry.host());
        for mirror in mirrors {
            text.push_str(&format!("[[registry.mirror]]\nlocation = '{mirror}/m'\n"));
        }
        let mut registries = Registries::default();
        registries.overlay(Document::parse(&text).unwrap());
        let image = digest(&Image::new().bytes());
        registries
            .resolve(&format!("{}/x/a@{image}", registry.host()))
            .unwrap()
    };
    let (client, _) = client();
    let candidates = conf(&[dead_host.clone(), without.host(), lying.host()]);
    let image = client.resolve(&candidates, None).unwrap();
    assert_eq!(
        (image.mirror, image.endpoint.host.as_str()),
        (false, registry.host().as_str())
    );
    assert!(
        without.requests()[0]
            .path
            .starts_with("/v2/m/a/manifests/sha256:")
    );
    assert_eq!(lying.requests().len(), 1);

    let good = Fake::start(|request, _| Image::new().reply(request));
    let image = client.resolve(&conf(&[good.host()]), None).unwrap();
    assert!(image.mirror);
    assert_eq!(image.name.registry(), registry.host());

    let candidates = &candidates[..2];
    let error = client.resolve(candidates, None).unwrap_err();
    let Error::Candidates { asked, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(
        asked.contains(&dead_host) && asked.contains(&without.host()),
        "{asked}"
    );
}

#[test]
fn a_manifest_that_breaks_off_is_asked_for_again() {
    let fake = Fake::start(|request, earlier| {
        let reply = Image::new().reply(request);
        let same = earlier.iter().filter(|r| r.path == request.path).count();
        match same {
            0 => Reply::new(503, ""),
            1 => reply.cut(40, Then::Close),
            2 => reply.cut(40, Then::Reset),
            _ => reply,
        }
    });
    let (client, clock) = client();
    let image = client.resolve(&fake.image("a:1"), None).unwrap();
    assert_eq!(image.config.platform().os, Platform::host().os);
    assert_eq!(clock.waits().len(), 6);
}

#[test]
fn plain_http_is_found_out_once() {
    let fake = Fake::start(|request, _| Image::new().reply(request));
    let (client, _) = client();
    client.resolve(&fake.image("a:1"), None).unwrap();
    client.resolve(&fake.image("b:1"), None).unwrap();
    assert_eq!(fake.requests().len(), 4, "the handshakes are no requests");
    let candidate = Registries::default().resolve("registry.invalid/a").unwrap();
    assert!(matches!(
        client.resolve(&candidate, None),
        Err(Error::Transport { .. })
    ));
}

#[test]
fn a_proxy_is_asked_to_connect_and_resolves_the_name_itself() {
    let proxy = Fake::start(|request, _| match request.method.as_str() {
        "CONNECT" => Reply::new(200, ""),
        _ => Image::new().reply(request),
    });
    let environment = Environment {
        http_proxy: Some(format!("http://user:pw@{}", proxy.address)),
        https_proxy: Some(proxy.host()),
        ..nowhere()
    };
    let mut registries = Registries::default();
    let conf = "[[registry]]\nlocation = 'registry.invalid'\ninsecure = true\n";
    registries.overlay(Document::parse(conf).unwrap());
    let candidates = registries.resolve("registry.invalid/a:1").unwrap();
    let (client, _) = client_of(environment, CredentialStore::default(), Timeouts::default());
    client.resolve(&candidates, None).unwrap();
    let requests = proxy.requests();
    let connects: Vec<_> = requests.iter().filter(|r| r.method == "CONNECT").collect();
    assert_eq!(connects[0].path, "registry.invalid:443");
    assert_eq!(connects[1].path, "registry.invalid:80");
    assert_eq!(
        connects[1].header("proxy-authorization"),
        Some("Basic dXNlcjpwdw==")
    );
    assert!(
        requests
            .iter()
            .all(|r| r.method == "CONNECT" || r.header("proxy-authorization").is_none())
    );
}
