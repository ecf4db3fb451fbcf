//! Authorization for one repository: challenge, token service, token.
//!
//! A session keeps the header that worked last. Threads that find it expired
//! or refused wait for the one that renews it, so that a token is fetched once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cove_model::nullable;
use serde::Deserialize;
use ureq::http::{HeaderValue, header};

use super::wire::{Answer, Wire};
use crate::auth::{Credential, Secret};
use crate::error::Error;
use crate::http::challenge::{self, Challenge};
use crate::http::transport::{Call, Trust};
use crate::http::url::{Url, encode, without_query};
use crate::registries::{SchemePolicy, is_loopback};

/// The longest answer of a token service.
const TOKEN_LIMIT: u64 = 1 << 20;
/// How long a token lasts whose service does not say; the specification's figure.
const DEFAULT_LIFE: u64 = 60;

/// What is known about speaking to one repository of one host.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) host: String,
    pub(super) policy: SchemePolicy,
    /// The name that credentials are kept under.
    pub(super) registry: String,
    pub(super) repository: String,
    /// What a login has to show instead of the stored credentials.
    credential: Option<Credential>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<(Challenge, bool)>,
    header: Option<HeaderValue>,
    /// By the clock; `None` never.
    expires: Option<Duration>,
}

/// What a token service answers.
#[derive(Deserialize)]
struct TokenDocument {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    expires_in: Option<u64>,
}

/// A token and what came with it.
pub(super) struct Token {
    header: HeaderValue,
    life: Duration,
    pub(super) refresh: Option<Secret>,
}

impl Session {
    pub(super) fn new(host: &str, policy: SchemePolicy, registry: &str, repository: &str) -> Self {
        Self {
            host: host.to_owned(),
            policy,
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            credential: None,
            state: Mutex::default(),
        }
    }

    /// A session that shows this credential and no other.
    pub(super) fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    pub(super) fn credential(&self, wire: &Wire) -> Result<Option<Credential>, Error> {
        if self.credential.is_some() {
            return Ok(self.credential.clone());
        }
        wire.credentials
            .lookup(&self.registry, &self.repository)
            .map_err(|source| Error::Credentials {
                registry: self.registry.clone(),
                source: Box::new(source),
            })
    }

    /// The header that worked last, renewed when its time is over.
    pub(super) fn current(&self, wire: &Wire) -> Result<Option<HeaderValue>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .expires
            .is_some_and(|expires| expires <= wire.options.clock.now())
            && let Some((challenge, tls)) = state.challenge.clone()
        {
            state.header = None;
            self.renew(wire, &challenge, tls, &mut state)?;
        }
        Ok(state.header.clone())
    }

    /// Answers a 401. `None` when there is nothing that could be shown.
    pub(super) fn authenticate(
        &self,
        wire: &Wire,
        answer: &Answer,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.header.is_some() && state.header.as_ref() != refused {
            return Ok(state.header.clone());
        }
        let challenge = self.choose(answer)?;
        state.header = None;
        self.renew(wire, &challenge, answer.url.tls, &mut state)?;
        let fresh = state.header.clone();
        Ok(fresh.filter(|header| Some(header) != refused))
    }

    /// Bearer before Basic; anything else is nothing that we speak.
    pub(super) fn choose(&self, answer: &Answer) -> Result<Challenge, Error> {
        let mut all = Vec::new();
        let mut shown = String::new();
        for value in answer.response.headers().get_all(header::WWW_AUTHENTICATE) {
            let text = value.to_str().unwrap_or("(not text)");
            shown = text.chars().filter(|c| !c.is_control()).take(200).collect();
            all.extend(challenge::parse(text).unwrap_or_default());
        }
        let of = |scheme: &str| all.iter().find(|challenge| challenge.scheme == scheme);
        let bearer = of("bearer").filter(|challenge| challenge.get("realm").is_some());
        bearer
            .or_else(|| of("basic"))
            .cloned()
            .ok_or_else(|| Error::Challenge {
                registry: self.registry.clone(),
                header: shown,
            })
    }

    fn renew(
        &self,
        wire: &Wire,
        challenge: &Challenge,
        tls: bool,
        state: &mut State,
    ) -> Result<(), Error> {
        let credential = self.credential(wire)?;
        state.challenge = Some((challenge.clone(), tls));
        state.expires = None;
        state.header = match &credential {
            Some(Credential::RegistryToken(token)) => Some(bearer(token.reveal())),
            Some(Credential::Basic { username, password }) if challenge.scheme == "basic" => {
                Some(basic(username, password))
            }
            _ if challenge.scheme == "basic" => None,
            _ => {
                let token = self.token(wire, challenge, tls, credential.as_ref(), false)?;
                // Renewed a little early, so that it does not expire on the way.
                state.expires = Some(wire.options.clock.now() + token.life * 9 / 10);
                Some(token.header)
            }
        };
        Ok(())
    }

    /// Asks the token service. `offline` asks for an identity token as well.
    pub(super) fn token(
        &self,
        wire: &Wire,
        challenge: &Challenge,
        tls: bool,
        credential: Option<&Credential>,
        offline: bool,
    ) -> Result<Token, Error> {
        let realm = self.realm(challenge, tls, credential.is_some())?;
        let scope = match challenge.get("scope") {
            Some(scope) => Some(scope.to_owned()),
            None if self.repository.is_empty() => None,
            None => Some(format!("repository:{}:pull", self.repository)),
        };
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        if let Some(service) = challenge.get("service") {
            pairs.push(("service", service));
        }
        if let Some(scope) = &scope {
            pairs.extend(
                scope
                    .split(' ')
                    .filter(|s| !s.is_empty())
                    .map(|s| ("scope", s)),
            );
        }
        let answer = match credential {
            Some(Credential::IdentityToken(token)) => {
                self.post(wire, &realm, &pairs, scope.as_deref(), token)?
            }
            Some(Credential::Basic { username, password }) => {
                pairs.push(("account", username));
                if offline {
                    pairs.push(("offline_token", "true"));
                    pairs.push(("client_id", "cove"));
                }
                let header = basic(username, password);
                self.ask(wire, realm.clone(), &pairs, Some(&header))?
            }
            Some(Credential::RegistryToken(_)) | None => {
                self.ask(wire, realm.clone(), &pairs, None)?
            }
        };
        self.read_token(wire, answer, &realm, credential.is_some())
    }

    fn ask(
        &self,
        wire: &Wire,
        mut url: Url,
        pairs: &[(&str, &str)],
        header: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        for (key, value) in pairs {
            url.push_query(key, value);
        }
        wire.follow_token(&url, self, header)
    }

    fn post(
        &self,
        wire: &Wire,
        realm: &Url,
        pairs: &[(&str, &str)],
        scope: Option<&str>,
        token: &Secret,
    ) -> Result<Answer, Error> {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", "cove"),
            ("refresh_token", token.reveal()),
        ];
        form.extend(pairs.iter().filter(|(key, _)| *key != "scope"));
        form.extend(scope.map(|scope| ("scope", scope)));
        let form: Vec<String> = form
            .iter()
            .map(|(key, value)| format!("{key}={}", encode(value)))
            .collect();
        let form = form.join("&");
        wire.send(&Call {
            url: realm,
            trust: self.realm_trust(realm),
            headers: &[],
            form: Some(&form),
        })
    }

    /// The token service, if it may be asked, and may be shown a credential
    /// where there is one: over TLS, or as plainly as the registry itself is
    /// spoken to when it is the same host or both are this machine.
    fn realm(&self, challenge: &Challenge, tls: bool, secret: bool) -> Result<Url, Error> {
        let text = challenge.get("realm").unwrap_or_default();
        let refuse = |reason| Error::Realm {
            registry: self.registry.clone(),
            realm: text.chars().filter(|c| !c.is_control()).take(200).collect(),
            reason,
        };
        let url = Url::parse(text).ok_or_else(|| refuse("this is no URL of http or https"))?;
        if url.tls {
            return Ok(url);
        }
        if self.policy == SchemePolicy::HttpsOnly {
            return Err(refuse("plain HTTP is not allowed for this registry"));
        }
        let neighbours =
            self.same_host(&url) || (is_loopback(&url.authority()) && is_loopback(&self.host));
        if secret && (tls || !neighbours) {
            return Err(refuse(
                "credentials are not sent to another host over plain HTTP",
            ));
        }
        Ok(url)
    }

    pub(super) fn realm_trust(&self, realm: &Url) -> Trust {
        let own = self.same_host(realm);
        let insecure =
            self.policy == SchemePolicy::HttpsThenHttp && (own || is_loopback(&realm.authority()));
        Trust {
            insecure,
            named_by_user: own,
        }
    }

    fn same_host(&self, url: &Url) -> bool {
        Url::of(url.tls, &self.host, "/").is_some_and(|own| own.host == url.host)
    }

    fn read_token(
        &self,
        wire: &Wire,
        answer: Answer,
        realm: &Url,
        secret: bool,
    ) -> Result<Token, Error> {
        let answer = wire.not_later(answer)?;
        let status = answer.status().as_u16();
        let shown = without_query(realm);
        let gave_none = |reason: String| Error::Token {
            realm: shown.clone(),
            reason,
        };
        match status {
            200 => {}
            401 | 403 if secret => {
                let message = match answer.complaint() {
                    complaint if complaint.message.is_empty() => {
                        "incorrect username or password".to_owned()
                    }
                    complaint => complaint.message,
                };
                return Err(Error::Unauthorized {
                    registry: self.registry.clone(),
                    message,
                });
            }
            401 | 403 => {
                let text = answer.complaint().text("");
                return Err(self.denied(&text));
            }
            _ => return Err(wire.status_error(answer)),
        }
        let bytes = answer.bytes("the answer of the token service", TOKEN_LIMIT)?;
        let document: TokenDocument = nullable::from_slice(&bytes)
            .map_err(|error| gave_none(format!("invalid JSON at column {}", error.column())))?;
        let token = if document.token.is_empty() {
            &document.access_token
        } else {
            &document.token
        };
        let header = Some(token)
            .filter(|token| !token.is_empty())
            .and_then(|token| {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
                value.set_sensitive(true);
                Some(value)
            });
        let life = document
            .expires_in
            .unwrap_or(DEFAULT_LIFE)
            .clamp(DEFAULT_LIFE, 86_400);
        Ok(Token {
            header: header.ok_or_else(|| gave_none("no usable token in it".to_owned()))?,
            life: Duration::from_secs(life),
            refresh: Some(document.refresh_token)
                .filter(|token| !token.is_empty())
                .map(Secret::new),
        })
    }

    /// "Not there or not for you".
    pub(super) fn denied(&self, message: &str) -> Error {
        let reference = format!("{}/{}", self.registry, self.repository);
        let name = reference.parse::<cove_model::Reference>();
        let message = if message.is_empty() {
            "denied: requested access to the resource is denied"
        } else {
            message
        };
        Error::AccessDenied {
            name: name.map_or(reference, |name| name.familiar_name()),
            message: message.to_owned(),
        }
    }
}

impl Token {
    pub(super) const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl Wire {
    /// Like [`Wire::follow`], with the trust that a token service has.
    fn follow_token(
        &self,
        url: &Url,
        session: &Session,
        header: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let headers: Vec<_> = header
            .iter()
            .map(|value| (header::AUTHORIZATION, (*value).clone()))
            .collect();
        self.send(&Call {
            url,
            trust: session.realm_trust(url),
            headers: &headers,
            form: None,
        })
    }
}

/// `Basic base64(user:password)`.
pub(super) fn basic(username: &str, password: &Secret) -> HeaderValue {
    let pair = STANDARD.encode(format!("{username}:{}", password.reveal()));
    sensitive(&format!("Basic {pair}"))
}

fn bearer(token: &str) -> HeaderValue {
    sensitive(&format!("Bearer {token}"))
}

/// A token that is no header value is sent as an empty one, and refused.
fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn token_services_get_credentials_only_where_they_are_safe() {
        use SchemePolicy::{HttpsOnly, HttpsThenHttp};
        let ask = |host: &str, policy, tls, realm: &str, secret| {
            let parameters = BTreeMap::from([("realm".to_owned(), realm.to_owned())]);
            let challenge = Challenge {
                scheme: "bearer".to_owned(),
                parameters,
            };
            Session::new(host, policy, host, "a")
                .realm(&challenge, tls, secret)
                .is_ok()
        };
        for (host, policy, tls, realm, anonymous, secret) in [
            ("a.b", HttpsOnly, true, "https://auth.b/token", true, true),
            ("a.b", HttpsOnly, true, "http://a.b/token", false, false),
            ("a.b", HttpsOnly, true, "http://auth.b/token", false, false),
            (
                "a.b",
                HttpsThenHttp,
                false,
                "http://a.b:81/token",
                true,
                true,
            ),
            (
                "a.b",
                HttpsThenHttp,
                false,
                "http://evil.b/token",
                true,
                false,
            ),
            ("a.b", HttpsThenHttp, true, "http://a.b/token", true, false),
            (
                "127.0.0.1:5000",
                HttpsThenHttp,
                false,
                "http://localhost:5001/t",
                true,
                true,
            ),
            (
                "127.0.0.1:5000",
                HttpsThenHttp,
                false,
                "http://10.0.0.1/t",
                true,
                false,
            ),
            (
                "127.0.0.1:5000",
                HttpsThenHttp,
                false,
                "https://auth.b/t",
                true,
                true,
            ),
            (
                "a.b",
                HttpsOnly,
                true,
                "https://user:pw@auth.b/t",
                false,
                false,
            ),
            ("a.b", HttpsOnly, true, "file:///etc/passwd", false, false),
            ("a.b", HttpsOnly, true, "/token", false, false),
        ] {
            assert_eq!(
                ask(host, policy, tls, realm, false),
                anonymous,
                "{realm} anonymous"
            );
            assert_eq!(
                ask(host, policy, tls, realm, true),
                secret,
                "{realm} with credentials"
            );
        }
    }

    #[test]
    fn null_in_an_answer_is_as_if_absent() {
        let answer = serde_json::json!({
            "token": "t", "access_token": "a", "refresh_token": "r", "expires_in": 60,
        });
        let read = |value| {
            let answer: TokenDocument = nullable::from_value(value).unwrap();
            let TokenDocument {
                token,
                access_token,
                refresh_token,
                expires_in,
            } = answer;
            (token, access_token, refresh_token, expires_in)
        };
        for pair in testkit::nulls::pairs(&answer, &[]) {
            assert_eq!(read(pair.null), read(pair.absent), "{}", pair.path);
        }
    }
}
