//! Challenges, tokens, login.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cove_image::auth::Erased;
use cove_image::{Credential, CredentialStore, Environment, Error, SchemePolicy, Secret};
use serde_json::json;

use crate::fake::{Fake, Image, Reply, Request, client, client_with, nowhere};

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic {
        username: username.to_owned(),
        password: Secret::new(password),
    }
}

fn header(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// A registry whose token service is itself, at `/token`.
fn with_tokens(token: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::start(move |request, earlier| {
        if request.path.starts_with("/token") {
            return token(request);
        }
        let issued = earlier
            .iter()
            .filter(|r| r.path.starts_with("/token"))
            .count();
        if request.header("authorization") == Some(&format!("Bearer t{issued}")) && issued > 0 {
            return if request.path == "/v2/" {
                Reply::new(200, "{}")
            } else {
                Image::new().reply(request)
            };
        }
        let host = request.header("host").unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token?x=1",service="s v""#);
        Reply::new(401, "{}").header("www-authenticate", challenge)
    })
}

fn numbered(earlier: &std::sync::atomic::AtomicUsize) -> String {
    let n = earlier.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
    json!({"token": format!("t{n}"), "expires_in": 300}).to_string()
}

#[test]
fn a_token_is_fetched_once_and_renewed_in_time() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let fake = with_tokens(move |_| Reply::new(200, numbered(&count)));
    let (client, clock) = client();
    let image = client.resolve(&fake.image("a/b:1"), None).unwrap();
    let client = Arc::new(client);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                client
                    .fetch_blob(&image.endpoint, &image.layers[0].descriptor)
                    .unwrap();
            });
        }
    });
    let tokens = |fake: &Fake| {
        fake.requests()
            .into_iter()
            .filter(|r| r.path.starts_with("/token"))
            .collect::<Vec<_>>()
    };
    assert_eq!(tokens(&fake).len(), 1);
    assert_eq!(
        tokens(&fake)[0].path,
        "/token?x=1&service=s%20v&scope=repository%3Aa%2Fb%3Apull"
    );
    assert_eq!(tokens(&fake)[0].header("authorization"), None);

    clock.advance(Duration::from_secs(280));
    client
        .fetch_blob(&image.endpoint, &image.layers[0].descriptor)
        .unwrap();
    assert_eq!(tokens(&fake).len(), 2);
    let refused = fake
        .requests()
        .iter()
        .filter(|r| r.path.contains("/v2/") && r.header("authorization").is_none())
        .count();
    assert_eq!(
        refused, 1,
        "only the very first request may come without a token"
    );
}

#[test]
fn basic_credentials_go_to_the_token_service_and_identity_tokens_by_post() {
    for (credential, method) in [
        (basic("me", "pw"), "GET"),
        (Credential::IdentityToken(Secret::new("id&tok")), "POST"),
    ] {
        let fake = with_tokens(|_| Reply::new(200, r#"{"access_token":"t1"}"#));
        let store = CredentialStore::new(nowhere()).with_explicit(&fake.host(), credential);
        let (client, _) = client_with(store);
        client.resolve(&fake.image("a/b:1"), None).unwrap();
        let requests = fake.requests();
        let token = requests
            .iter()
            .find(|r| r.path.starts_with("/token"))
            .unwrap();
        assert_eq!(token.method, method);
        if method == "GET" {
            assert_eq!(
                token.header("authorization"),
                Some(header("me:pw").as_str())
            );
            assert!(token.path.ends_with("&account=me"), "{}", token.path);
        } else {
            assert_eq!(token.header("authorization"), None);
            assert_eq!(
                token.body,
                "grant_type=refresh_token&client_id=cove&refresh_token=id%26tok&service=s%20v&scope=repository%3Aa%2Fb%3Apull"
            );
        }
    }
}

#[test]
fn basic_challenges_are_answered_with_basic() {
    let fake = Fake::start(|request, _| match request.header("authorization") {
        Some(shown) if shown == header("me:pw") => Image::new().reply(request),
        _ => Reply::new(401, "{}").header("www-authenticate", "Basic realm=x"),
    });
    let store = CredentialStore::new(nowhere());
    let (known, _) = client_with(store.clone().with_explicit(&fake.host(), basic("me", "pw")));
    known.resolve(&fake.image("a:1"), None).unwrap();
    for store in [
        store.clone(),
        store.with_explicit(&fake.host(), basic("me", "no")),
    ] {
        let error = client_with(store)
            .0
            .resolve(&fake.image("a:1"), None)
            .unwrap_err();
        assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
    }
}

#[test]
fn refusals_are_told_in_dockers_words() {
    type Answer = fn() -> Reply;
    let cases: &[(Answer, &str)] = &[
        (
            || {
                Reply::new(
                    404,
                    r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                )
            },
            "manifest for HOST/a/b:1 not found: manifest unknown: manifest unknown",
        ),
        (
            || {
                Reply::new(
                    404,
                    r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#,
                )
            },
            "repository HOST/a/b not found: name unknown: repository name not known to registry",
        ),
        (
            || {
                Reply::new(
                    403,
                    r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
                )
            },
            "pull access denied for HOST/a/b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        ),
        (
            || {
                Reply::new(
                    429,
                    r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
                )
            },
            "received unexpected HTTP status: 429: toomanyrequests: slow down",
        ),
        (
            || Reply::new(418, ""),
            "received unexpected HTTP status: 418",
        ),
        (
            || Reply::new(401, "").header("www-authenticate", "Digest realm=x"),
            "asks for an unknown kind of authentication: Digest realm=x",
        ),
    ];
    for (answer, expected) in cases {
        let answer = *answer;
        let fake = Fake::start(move |_, _| answer());
        let (client, clock) = client();
        let error = client
            .resolve(&fake.image("a/b:1"), None)
            .unwrap_err()
            .to_string();
        let expected = expected.replace("HOST", &fake.host());
        assert!(error.ends_with(&expected), "{error}");
        // Not asked of the message: its address has a port that may hold the digits.
        let waits = if answer().status == 429 { 4 } else { 0 };
        assert_eq!(clock.waits().len(), waits, "{error}");
    }
}

#[test]
fn a_login_is_verified_kept_and_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let store = CredentialStore::new(Environment::beneath(root.path()));
    let fake = with_tokens(|request| {
        if request.header("authorization") != Some(&header("me:pw")) {
            return Reply::new(
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#,
            );
        }
        assert!(
            request.path.contains("offline_token=true"),
            "{}",
            request.path
        );
        assert!(!request.path.contains("scope="), "{}", request.path);
        Reply::new(200, r#"{"token":"t1","refresh_token":"refresh"}"#)
    });
    let (client, _) = client();
    let policy = SchemePolicy::HttpsThenHttp;
    let host = fake.host();
    let error = client
        .login(&host, policy, &host, &basic("me", "no"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "unauthorized: incorrect username or password"
    );
    drop(fake);

    let fake = with_tokens(|_| Reply::new(200, r#"{"token":"t1","refresh_token":"refresh"}"#));
    let host = fake.host();
    let keep = client
        .login(&host, policy, &host, &basic("me", "pw"))
        .unwrap();
    assert_eq!(keep, Credential::IdentityToken(Secret::new("refresh")));
    let stored = store.store(&host, &keep).unwrap();
    assert!(stored.path.ends_with(".docker/config.json") && stored.helper.is_none());
    assert_eq!(store.lookup(&host, "any/thing").unwrap(), Some(keep));
    assert_eq!(store.erase(&host).unwrap(), Erased::Removed);
    assert_eq!(store.lookup(&host, "any/thing").unwrap(), None);
}

#[test]
fn a_registry_without_users_takes_every_login() {
    let fake = Fake::start(|_, _| Reply::new(200, "{}"));
    let credential = basic("any", "body");
    let kept = client().0.login(
        &fake.host(),
        SchemePolicy::HttpsThenHttp,
        &fake.host(),
        &credential,
    );
    assert_eq!(kept.unwrap(), credential);
    client().0.ping(&fake.endpoint("a:1")).unwrap();
}
