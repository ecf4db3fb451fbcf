//! Credentials stay at home: a second registry sees none, and nobody is sent
//! to addresses that only this machine's link knows.

use std::io::Read;
use std::sync::Arc;

use cove_image::{Credential, CredentialStore, Error, Secret};

use crate::fake::{Fake, Image, Reply, client, client_with, nowhere};

const TOKEN: &str = r#"{"token":"bearer-secret"}"#;

/// A store with a password for exactly this registry.
fn store(host: &str) -> CredentialStore {
    let password = Secret::new("basic-secret");
    let credential = Credential::Basic {
        username: "me".to_owned(),
        password,
    };
    CredentialStore::new(nowhere()).with_explicit(host, credential)
}

#[test]
fn a_redirect_to_another_host_carries_no_authorization() {
    // By another port, by another name, by a relative scheme.
    for other in [
        "http://127.0.0.1:PORT/x",
        "http://localhost:PORT/x",
        "//127.0.0.1:PORT/x",
    ] {
        for bearer in [true, false] {
            let image = Arc::new(Image::new());
            let second = Fake::start({
                let image = Arc::clone(&image);
                move |_, _| Reply::new(200, image.layer.clone())
            });
            let location = other.replace("PORT", &second.address.port().to_string());
            let first = Fake::start(move |request, _| {
                let host = request.header("host").unwrap().to_owned();
                if request.path.starts_with("/token") {
                    return Reply::new(200, TOKEN);
                }
                if request.header("authorization").is_none() {
                    let challenge = if bearer {
                        format!("Bearer realm=\"http://{host}/token\"")
                    } else {
                        "Basic realm=x".to_owned()
                    };
                    return Reply::new(401, "").header("www-authenticate", challenge);
                }
                let layer = crate::fake::digest(&image.layer).to_string();
                if request.path.ends_with(&layer) {
                    return Reply::new(307, "").header("location", &location);
                }
                image.reply(request)
            });
            let (client, _) = client_with(store(&first.host()));
            let image = client.resolve(&first.image("a/b:1"), None).unwrap();
            let mut reader = client
                .fetch_blob(&image.endpoint, &image.layers[0].descriptor)
                .unwrap();
            reader.read_to_end(&mut Vec::new()).unwrap();
            let seen = second.requests();
            assert!(!seen.is_empty(), "{other}");
            for request in seen {
                assert_eq!(request.header("authorization"), None, "{other}");
                assert!(!format!("{request:?}").contains("secret"), "{request:?}");
            }
        }
    }
}

#[test]
fn a_challenge_of_a_redirects_target_is_not_answered() {
    let second = Fake::start(|_, _| {
        Reply::new(401, "").header("www-authenticate", "Basic realm=\"give me\"")
    });
    let location = format!("http://{}/x", second.address);
    let first = Fake::start(move |_, _| Reply::new(302, "").header("location", &location));
    let (client, _) = client_with(store(&first.host()));
    let error = client.resolve(&first.image("a:1"), None).unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
    assert!(
        second
            .requests()
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
}

#[test]
fn a_realm_elsewhere_gets_nothing_that_belongs_to_another_registry() {
    // Credentials are known for the second host, but it is the first that asks.
    let second = Fake::start(|_, _| Reply::new(200, TOKEN));
    let realm = format!("http://{}/token", second.address);
    let first = Fake::start(move |request, _| match request.header("authorization") {
        Some("Bearer bearer-secret") => Image::new().reply(request),
        _ => Reply::new(401, "").header("www-authenticate", format!("Bearer realm=\"{realm}\"")),
    });
    let (client, _) = client_with(store(&second.host()));
    client.resolve(&first.image("a:1"), None).unwrap();
    assert_eq!(second.requests().len(), 1);
    assert!(second.requests()[0].header("authorization").is_none());
}

#[test]
fn a_mirror_sees_no_credentials_of_the_registry() {
    let mirror =
        Fake::start(|_, _| Reply::new(401, "").header("www-authenticate", "Basic realm=x"));
    let registry = Fake::start(|request, _| Image::new().reply(request));
    let conf = format!(
        "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n",
        registry.host(),
        mirror.host()
    );
    let mut registries = cove_image::Registries::default();
    registries.overlay(cove_image::registries::Document::parse(&conf).unwrap());
    let candidates = registries
        .resolve(&format!("{}/a:1", registry.host()))
        .unwrap();
    let (client, _) = client_with(store(&registry.host()));
    let image = client.resolve(&candidates, None).unwrap();
    assert!(!image.mirror);
    assert!(
        mirror
            .requests()
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
    assert!(!mirror.requests().is_empty());
}

/// Why a client goes no further with a registry that always answers so.
fn refusal(status: u16, header: &'static str, value: &str) -> Error {
    let value = value.to_owned();
    let fake = Fake::start(move |_, _| Reply::new(status, "").header(header, &value));
    client().0.resolve(&fake.image("a:1"), None).unwrap_err()
}

#[test]
fn nobody_is_sent_to_a_metadata_service() {
    for place in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/x",
        "http://[::ffff:169.254.169.254]/x",
        "https://100.100.100.200/x",
        "http://0.0.0.0/x",
    ] {
        let realm = format!("Bearer realm=\"{place}\"");
        for (status, header, value) in [
            (307, "location", place),
            (401, "www-authenticate", realm.as_str()),
        ] {
            let error = refusal(status, header, value);
            assert!(
                format!("{error:?}").contains("Forbidden"),
                "{value}: {error:?}"
            );
        }
    }
}

#[test]
fn odd_redirects_are_refused() {
    for place in [
        "",
        "ftp://a.b/x",
        "file:///etc/passwd",
        "http://u:p@127.0.0.1/x",
        "javascript:x",
    ] {
        let error = refusal(302, "location", place);
        assert!(
            matches!(error, Error::Redirect { .. }),
            "{place}: {error:?}"
        );
    }
    let fake = Fake::start(|request, _| Reply::new(302, "").header("location", &request.path));
    let error = client()
        .0
        .resolve(&fake.image("a:1"), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("too many redirects"), "{error}");
}
