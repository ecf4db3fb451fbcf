//! `login`: shows a registry a user's credentials before they are kept.

use ureq::http::StatusCode;

use super::Client;
use super::request::Inner;
use super::token::{self, Session};
use super::wire::Answer;
use crate::auth::{Credential, Secret};
use crate::error::Error;
use crate::registries::{Endpoint, SchemePolicy};

impl Client {
    /// Verifies a user at a registry and returns what to keep: the identity
    /// token that the token service gave, else the credential itself. The
    /// user is told `Login Succeeded`.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the registry refuses them, with Docker's
    /// words; anything else when it cannot be asked.
    pub fn login(
        &self,
        endpoint_host: &str,
        policy: SchemePolicy,
        registry: &str,
        credential: &Credential,
    ) -> Result<Credential, Error> {
        let session =
            Session::new(endpoint_host, policy, registry, "").with_credential(credential.clone());
        self.inner.verify(&session, credential)
    }

    /// Whether an endpoint answers as a registry does; the version it speaks
    /// is not told apart.
    ///
    /// # Errors
    /// When it cannot be asked or is no registry.
    pub fn ping(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let session = Session::new(
            &endpoint.host,
            endpoint.policy,
            endpoint.reference.registry(),
            "",
        );
        let answer = self.inner.ping(&session)?;
        match answer.status() {
            StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
            _ => Err(self.inner.wire.status_error(answer)),
        }
    }
}

impl Inner {
    fn ping(&self, session: &Session) -> Result<Answer, Error> {
        self.get_plain(session, "/v2/")
    }

    fn verify(&self, session: &Session, credential: &Credential) -> Result<Credential, Error> {
        let answer = self.ping(session)?;
        match answer.status() {
            // A registry without users takes everybody, as with Docker.
            StatusCode::OK => return Ok(credential.clone()),
            StatusCode::UNAUTHORIZED => {}
            _ => return Err(self.wire.status_error(answer)),
        }
        let challenge = session.choose(&answer)?;
        if challenge.scheme == "basic" {
            let Credential::Basic { username, password } = credential else {
                return Err(refused(
                    session,
                    "the registry wants a username and a password",
                ));
            };
            let header = token::basic(username, password);
            return self.accepted(session, &header).map(|()| credential.clone());
        }
        let tls = answer.url.tls;
        let token = session.token(&self.wire, &challenge, tls, Some(credential), true)?;
        self.accepted(session, token.header())?;
        Ok(token.refresh.map_or_else(|| credential.clone(), keep))
    }

    fn accepted(&self, session: &Session, header: &ureq::http::HeaderValue) -> Result<(), Error> {
        let answer = self.get_authorized(session, "/v2/", header)?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let message = answer.complaint().message;
                let default = "incorrect username or password";
                Err(refused(
                    session,
                    if message.is_empty() {
                        default
                    } else {
                        &message
                    },
                ))
            }
            _ => Err(self.wire.status_error(answer)),
        }
    }
}

const fn keep(token: Secret) -> Credential {
    Credential::IdentityToken(token)
}

fn refused(session: &Session, message: &str) -> Error {
    Error::Unauthorized {
        registry: session.host.clone(),
        message: message.to_owned(),
    }
}
