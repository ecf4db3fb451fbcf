//! The JSON of `auth.json` and Docker's `config.json`: lookups and edits that
//! keep every field they do not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cove_model::nullable;
use cove_model::reference::DEFAULT_REGISTRY;
use serde_json::{Map, Value, json};

use super::{Credential, Secret};

/// What Docker calls Docker Hub in its own file.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Why a file of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// No JSON object.
    #[error("invalid JSON")]
    Json(#[source] serde_json::Error),
    /// A field has the wrong type.
    #[error("\"{0}\" is not an object")]
    Type(&'static str),
    /// The `auth` of an entry is not base64 of `user:password`.
    #[error("the auth of \"{0}\" is not the base64 of user:password")]
    Auth(String),
}

/// One file's content.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document(Map<String, Value>);

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, DocumentError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let map: Map<String, Value> =
            nullable::from_slice(text.as_bytes()).map_err(DocumentError::Json)?;
        for field in ["auths", "credHelpers"] {
            if map
                .get(field)
                .is_some_and(|value| !value.is_object() && !value.is_null())
            {
                return Err(DocumentError::Type(field));
            }
        }
        Ok(Self(map))
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.0).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The helper that keeps the credentials of exactly this registry.
    pub(super) fn own_helper(&self, registry: &str) -> Option<&str> {
        let helpers = self.0.get("credHelpers")?.as_object()?;
        let found = helpers.iter().find(|(key, _)| names(key, registry))?;
        found.1.as_str().filter(|name| !name.is_empty())
    }

    /// The helper that keeps all other credentials.
    pub(super) fn store_helper(&self) -> Option<&str> {
        self.0
            .get("credsStore")?
            .as_str()
            .filter(|name| !name.is_empty())
    }

    /// The credential in the file for a repository: the longest key that is a
    /// prefix of it by path components, else the registry under any of the
    /// spellings that Docker has used.
    pub(super) fn lookup(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, DocumentError> {
        let Some(auths) = self.0.get("auths").and_then(Value::as_object) else {
            return Ok(None);
        };
        let full = format!("{registry}/{repository}");
        let mut key = full.trim_end_matches('/');
        loop {
            if let Some(entry) = auths.get(key)
                && let Some(credential) = decode(key, entry)?
            {
                return Ok(Some(credential));
            }
            match key.rsplit_once('/') {
                Some((parent, _)) => key = parent,
                None => break,
            }
        }
        for (key, entry) in auths.iter().filter(|(key, _)| names(key, registry)) {
            if let Some(credential) = decode(key, entry)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Puts an entry under a key; `None` leaves the empty object that says
    /// "a helper has it". Unknown fields of an entry stay.
    pub(super) fn set(&mut self, key: &str, credential: Option<&Credential>) {
        let auths = self.0.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        let entry = &mut auths[key];
        if !entry.is_object() {
            *entry = json!({});
        }
        if let Some(entry) = entry.as_object_mut() {
            for field in [
                "auth",
                "identitytoken",
                "registrytoken",
                "username",
                "password",
            ] {
                entry.remove(field);
            }
            match credential {
                None => {}
                Some(Credential::Basic { username, password }) => {
                    let pair = format!("{username}:{}", password.reveal());
                    entry.insert("auth".to_owned(), STANDARD.encode(pair).into());
                }
                Some(Credential::IdentityToken(token)) => {
                    entry.insert("identitytoken".to_owned(), token.reveal().into());
                }
                Some(Credential::RegistryToken(token)) => {
                    entry.insert("registrytoken".to_owned(), token.reveal().into());
                }
            }
        }
    }

    /// Whether an entry names the registry, namespaced ones not counted.
    pub(super) fn mentions(&self, registry: &str) -> bool {
        let auths = self.0.get("auths").and_then(Value::as_object);
        auths.is_some_and(|auths| auths.keys().any(|key| names(key, registry)))
    }

    /// Drops the registry's entries under every key but one.
    pub(super) fn remove_spellings(&mut self, registry: &str, keep: &str) {
        if let Some(auths) = self.0.get_mut("auths").and_then(Value::as_object_mut) {
            auths.retain(|key, _| key == keep || !names(key, registry));
        }
    }

    /// Drops every entry that names the registry; whether there was one.
    pub(super) fn remove(&mut self, registry: &str) -> bool {
        let Some(auths) = self.0.get_mut("auths").and_then(Value::as_object_mut) else {
            return false;
        };
        let before = auths.len();
        auths.retain(|key, _| !names(key, registry));
        auths.len() < before
    }
}

/// Whether a key is a spelling of the registry: its name, or Docker's old
/// URLs `https://host/v1/`.
fn names(key: &str, registry: &str) -> bool {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let host = bare.unwrap_or(key).trim_end_matches('/');
    let host = host
        .strip_suffix("/v1")
        .or_else(|| host.strip_suffix("/v2"))
        .unwrap_or(host);
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        host => host,
    };
    host == registry
}

/// `None` for an empty entry.
fn decode(key: &str, entry: &Value) -> Result<Option<Credential>, DocumentError> {
    let field = |name| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(token) = field("identitytoken") {
        return Ok(Some(Credential::IdentityToken(Secret::new(token))));
    }
    if let Some(token) = field("registrytoken") {
        return Ok(Some(Credential::RegistryToken(Secret::new(token))));
    }
    if let Some(auth) = field("auth") {
        let fail = || DocumentError::Auth(key.to_owned());
        let bytes = STANDARD.decode(auth.trim()).map_err(|_| fail())?;
        let text = String::from_utf8(bytes).map_err(|_| fail())?;
        let (username, password) = text.split_once(':').ok_or_else(fail)?;
        let password = password.trim_end_matches('\0');
        return Ok(Some(basic(username, password)));
    }
    match (field("username"), field("password")) {
        (Some(username), Some(password)) => Ok(Some(basic(username, password))),
        _ => Ok(None),
    }
}

/// Helpers and Docker write an identity token as the password of `<token>`.
pub(super) fn basic(username: &str, password: &str) -> Credential {
    if username == "<token>" {
        return Credential::IdentityToken(Secret::new(password));
    }
    Credential::Basic {
        username: username.to_owned(),
        password: Secret::new(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(pair: &str) -> Value {
        json!({ "auth": STANDARD.encode(pair) })
    }

    #[test]
    fn the_longest_key_wins_and_old_spellings_count() {
        let document = Document::parse(
            &json!({"auths": {
                "q.io": encoded("host:1"),
                "q.io/a": encoded("a:2"),
                "q.io/a/b": encoded("ab:3:4"),
                "https://index.docker.io/v1/": encoded("hub:5"),
                "http://old.io/v2/": encoded("old:6"),
                "empty.io": {},
                "id.io": {"auth": STANDARD.encode("x:"), "identitytoken": "tok"},
                "helped.io": encoded("<token>:tok2"),
                "plain.io": {"username": "u", "password": "p"},
            }})
            .to_string(),
        )
        .unwrap();
        for (registry, repository, expected) in [
            ("q.io", "a/b", Some(basic("ab", "3:4"))),
            ("q.io", "a/b/c", Some(basic("ab", "3:4"))),
            ("q.io", "a/bc", Some(basic("a", "2"))),
            ("q.io", "x", Some(basic("host", "1"))),
            ("q.io:444", "x", None),
            ("docker.io", "library/x", Some(basic("hub", "5"))),
            ("old.io", "x", Some(basic("old", "6"))),
            ("empty.io", "x", None),
            (
                "id.io",
                "x",
                Some(Credential::IdentityToken(Secret::new("tok"))),
            ),
            (
                "helped.io",
                "x",
                Some(Credential::IdentityToken(Secret::new("tok2"))),
            ),
            ("plain.io", "x", Some(basic("u", "p"))),
        ] {
            assert_eq!(
                document.lookup(registry, repository).unwrap(),
                expected,
                "{registry}"
            );
        }
    }

    #[test]
    fn edits_keep_what_they_do_not_know() {
        let text = r#"{"HttpHeaders":{"a":"b"},"auths":{"x.io":{"email":"e","auth":"dTpw"},"https://y.io/v1/":{}},"n":1}"#;
        let mut document = Document::parse(text).unwrap();
        document.set("x.io", Some(&basic("me", "pw")));
        assert!(document.remove("y.io"));
        assert!(!document.remove("z.io"));
        let read: Value = serde_json::from_str(&document.to_text()).unwrap();
        let auth = STANDARD.encode("me:pw");
        assert_eq!(
            read,
            json!({"HttpHeaders":{"a":"b"},"auths":{"x.io":{"email":"e","auth":auth}},"n":1})
        );
        assert!(document.mentions("x.io") && !document.mentions("y.io"));
    }

    #[test]
    fn broken_documents_are_refused_and_secrets_are_not_shown() {
        for bad in ["[]", "{", r#"{"auths":3}"#, r#"{"credHelpers":[]}"#] {
            assert!(Document::parse(bad).is_err(), "{bad}");
        }
        let bad = Document::parse(r#"{"auths":{"a.b":{"auth":"!!"}}}"#).unwrap();
        assert!(matches!(bad.lookup("a.b", "x"), Err(DocumentError::Auth(key)) if key == "a.b"));
        assert!(!format!("{:?}", basic("u", "hunter2")).contains("hunter2"));
    }

    #[test]
    fn helpers_are_named_per_registry() {
        let document = Document::parse(
            r#"{"credsStore":"pass","credHelpers":{"gcr.io":"gcloud","https://index.docker.io/v1/":"hub"}}"#,
        )
        .unwrap();
        assert_eq!(document.own_helper("gcr.io"), Some("gcloud"));
        assert_eq!(document.own_helper("docker.io"), Some("hub"));
        assert_eq!(document.own_helper("x.io"), None);
        assert_eq!(document.store_helper(), Some("pass"));
    }

    #[test]
    fn null_is_as_if_absent() {
        let document = json!({
            "auths": {"a.b": {
                "auth": STANDARD.encode("u:p"), "identitytoken": "t", "registrytoken": "r",
                "username": "n", "password": "w",
            }},
            "credsStore": "pass", "credHelpers": {"c.d": "help"},
        });
        let read = |value: &Value| {
            let document = Document::parse(&value.to_string()).unwrap();
            (
                document.lookup("a.b", "x").unwrap(),
                document.store_helper().map(str::to_owned),
                document.own_helper("c.d").map(str::to_owned),
            )
        };
        for pair in testkit::nulls::pairs(&document, &[]) {
            assert_eq!(read(&pair.null), read(&pair.absent), "{}", pair.path);
        }
        assert_eq!(Document::parse("null").unwrap(), Document::default());
    }
}
