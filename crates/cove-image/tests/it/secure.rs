//! TLS: who is believed, and that nothing falls back from it.

use std::path::Path;

use cove_image::client::Timeouts;
use cove_image::{
    Candidate, Client, CredentialStore, Environment, Error, Registries, SchemePolicy,
};

use crate::fake::{Fake, Image, Reply, client_of};

/// A root where `registry.test` is this machine, named by no loopback name,
/// so that only verified TLS will do.
fn root() -> (tempfile::TempDir, Environment) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    std::fs::write(
        root.path().join("etc/hosts"),
        "127.0.0.1 registry.test other.test\n",
    )
    .unwrap();
    let environment = Environment::beneath(root.path());
    (root, environment)
}

fn trust(root: &Path, authority: &str) {
    let directory = root.join("etc/containers/certs.d").join(authority);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("ca.crt"), include_bytes!("tls/ca.pem")).unwrap();
}

fn candidates(fake: &Fake, host: &str) -> (String, Vec<Candidate>) {
    let authority = format!("{host}:{}", fake.address.port());
    let found = Registries::default()
        .resolve(&format!("{authority}/a:1"))
        .unwrap();
    (authority, found)
}

fn client(environment: Environment) -> (Client, std::sync::Arc<crate::fake::TestClock>) {
    client_of(environment, CredentialStore::default(), Timeouts::default())
}

#[test]
fn an_authority_of_certs_d_is_believed_and_no_other() {
    let fake = Fake::start_tls(|request, _| Image::new().reply(request));
    let (root, environment) = root();
    let (authority, found) = candidates(&fake, "registry.test");
    assert_eq!(found[0].endpoint.policy, SchemePolicy::HttpsOnly);

    let (without, clock) = client(environment.clone());
    let error = without.resolve(&found, None).unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    assert!(
        clock.waits().is_empty(),
        "a certificate does not get better by waiting"
    );
    assert!(fake.requests().is_empty());

    trust(root.path(), &authority);
    client(environment.clone()).0.resolve(&found, None).unwrap();

    let (authority, wrong_name) = candidates(&fake, "other.test");
    trust(root.path(), &authority);
    let error = client(environment)
        .0
        .resolve(&wrong_name, None)
        .unwrap_err();
    assert!(
        format!("{error:?}").contains("NotValidForName"),
        "{error:?}"
    );
}

#[test]
fn loopback_takes_any_certificate_and_prefers_tls() {
    let fake = Fake::start_tls(|request, _| Image::new().reply(request));
    for host in ["localhost", "127.0.0.1"] {
        let (_, found) = candidates(&fake, host);
        client(root().1).0.resolve(&found, None).unwrap();
    }
}

#[test]
fn there_is_no_way_from_tls_to_plain_http() {
    let plain = Fake::start(|request, _| Image::new().reply(request));
    let (root, environment) = root();

    // Nothing but plain HTTP listens: no fall-back.
    let (_, found) = candidates(&plain, "registry.test");
    let error = client(environment.clone())
        .0
        .resolve(&found, None)
        .unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");

    // A redirect and a token service that are plain.
    let location = format!("http://{}/x", plain.address);
    let redirecting =
        Fake::start_tls(move |_, _| Reply::new(307, "").header("location", &location));
    let realm = format!("Bearer realm=\"http://{}/token\"", plain.address);
    let asking =
        Fake::start_tls(move |_, _| Reply::new(401, "").header("www-authenticate", &realm));
    for (fake, reason) in [
        (&redirecting, "redirects to"),
        (&asking, "names the token service"),
    ] {
        let (authority, found) = candidates(fake, "registry.test");
        trust(root.path(), &authority);
        let error = client(environment.clone())
            .0
            .resolve(&found, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
        assert!(
            error.contains("plain HTTP is not allowed for this registry"),
            "{error}"
        );
    }
    assert!(plain.requests().is_empty(), "{:?}", plain.requests());
}
