//! One request to a registry: scheme and authorization.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::{HeaderValue, StatusCode};

use super::options::Options;
use super::token::Session;
use super::wire::{Answer, Headers, Wire};
use crate::auth::CredentialStore;
use crate::environment::Environment;
use crate::error::Error;
use crate::http::transport::{Transport, TransportError};
use crate::http::url::Url;
use crate::registries::{Endpoint, SchemePolicy};

/// Host, policy, registry and repository: all that decides what is shown to whom.
type SessionKey = (String, SchemePolicy, String, String);

/// A client's connections, and what is known about those it spoke to.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) wire: Wire,
    /// Whether a `host[:port]` was found to speak TLS.
    schemes: Mutex<HashMap<String, bool>>,
    sessions: Mutex<HashMap<SessionKey, Arc<Session>>>,
}

impl Inner {
    pub(super) fn new(
        environment: Environment,
        credentials: CredentialStore,
        options: Options,
    ) -> Self {
        let transport = Transport::new(environment, options.timeouts.clone());
        Self {
            wire: Wire {
                transport,
                credentials,
                options,
            },
            schemes: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// The session of a repository, one for all threads.
    pub(super) fn session(&self, endpoint: &Endpoint) -> Arc<Session> {
        let reference = &endpoint.reference;
        let key = (
            endpoint.host.clone(),
            endpoint.policy,
            reference.registry().to_owned(),
            reference.repository().to_owned(),
        );
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(key).or_insert_with(|| {
            Arc::new(Session::new(
                &endpoint.host,
                endpoint.policy,
                reference.registry(),
                reference.repository(),
            ))
        }))
    }

    /// Asks until there is an answer that is not "later".
    pub(super) fn get(
        &self,
        session: &Session,
        path: &str,
        headers: &Headers,
    ) -> Result<Answer, Error> {
        self.wire
            .patiently(|| self.get_once(session, path, headers))
    }

    /// One attempt: authorized as the registry wants it, redirects followed.
    /// "Later" statuses are errors, all others are answers.
    pub(super) fn get_once(
        &self,
        session: &Session,
        path: &str,
        headers: &Headers,
    ) -> Result<Answer, Error> {
        let authorization = session.current(&self.wire)?;
        let answer = self.ask(session, path, headers, authorization.as_ref())?;
        let own = answer.url.authority() == self.base(session, answer.url.tls, path)?.authority();
        if answer.status() != StatusCode::UNAUTHORIZED || !own {
            return self.wire.not_later(answer);
        }
        let Some(fresh) = session.authenticate(&self.wire, &answer, authorization.as_ref())? else {
            return Ok(answer);
        };
        let answer = self.ask(session, path, headers, Some(&fresh))?;
        self.wire.not_later(answer)
    }

    /// One request without answering a challenge, retried.
    pub(super) fn get_plain(&self, session: &Session, path: &str) -> Result<Answer, Error> {
        self.wire.patiently(|| {
            self.wire
                .not_later(self.ask(session, path, &Vec::new(), None)?)
        })
    }

    /// One request with this authorization and no other, retried.
    pub(super) fn get_authorized(
        &self,
        session: &Session,
        path: &str,
        header: &HeaderValue,
    ) -> Result<Answer, Error> {
        self.wire.patiently(|| {
            self.wire
                .not_later(self.ask(session, path, &Vec::new(), Some(header))?)
        })
    }

    /// Finds the scheme at first contact: TLS, and plain HTTP only where the
    /// policy allows it and TLS fails.
    fn ask(
        &self,
        session: &Session,
        path: &str,
        headers: &Headers,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        if session.policy == SchemePolicy::HttpsOnly {
            let url = self.base(session, true, path)?;
            return self
                .wire
                .follow(&url, session.policy, headers, authorization);
        }
        let schemes = || self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = schemes().get(&session.host).copied();
        if let Some(tls) = known {
            let url = self.base(session, tls, path)?;
            return self
                .wire
                .follow(&url, session.policy, headers, authorization);
        }
        let mut tls = true;
        let url = self.base(session, tls, path)?;
        let mut result = self
            .wire
            .follow(&url, session.policy, headers, authorization);
        if let Err(Error::Transport { source, .. }) = &result
            && !matches!(
                source,
                TransportError::Name(_) | TransportError::Certificates(_)
            )
        {
            tls = false;
            let url = self.base(session, tls, path)?;
            result = self
                .wire
                .follow(&url, session.policy, headers, authorization);
        }
        // A TLS server answers 400 to plain HTTP: its handshake failed for
        // another reason, which may pass.
        if let Ok(answer) = &result
            && (tls || answer.status() != StatusCode::BAD_REQUEST)
        {
            schemes().insert(session.host.clone(), tls);
        }
        result
    }

    fn base(&self, session: &Session, tls: bool, path: &str) -> Result<Url, Error> {
        Url::of(tls, &session.host, path).ok_or_else(|| Error::Redirect {
            from: session.host.clone(),
            to: path.to_owned(),
            reason: "this is no URL",
        })
    }
}
