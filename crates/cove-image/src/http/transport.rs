//! Sends one request to one URL and returns the answer, whatever its status.
//!
//! Agents (connection pools) are kept per host and trust: a connection that
//! was made without verifying a certificate is never used where it matters.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderName, HeaderValue, Request, Response};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy};

use super::names::{HostResolver, NameError, Names, is_link_only};
use super::proxy;
use super::tls::{self, CertificateError};
use super::url::Url;
use crate::environment::Environment;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The host's name leads nowhere.
    #[error(transparent)]
    Name(NameErrorBox),
    /// The certificates directory of the host is broken.
    #[error("cannot set up TLS")]
    Certificates(#[source] CertificateError),
    /// The proxy's URL is not usable.
    #[error("invalid proxy \"{0}\"")]
    Proxy(String),
    /// The connection fails or is broken off.
    #[error("connection failed")]
    Io(#[source] io::Error),
    /// The server answers no HTTP, no TLS, or an untrusted certificate.
    #[error("no usable answer")]
    Http(#[source] Box<ureq::Error>),
    /// Nothing came for too long.
    #[error("timed out ({0})")]
    Timeout(&'static str),
}

/// A [`NameError`], boxed to keep results small.
pub(crate) type NameErrorBox = Box<dyn std::error::Error + Send + Sync>;

impl TransportError {
    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Io(_) | Self::Timeout(_) => true,
            Self::Http(error) => matches!(**error, ureq::Error::Protocol(_)),
            Self::Name(error) => error
                .downcast_ref::<NameError>()
                .is_some_and(NameError::is_transient),
            Self::Certificates(_) | Self::Proxy(_) => false,
        }
    }

    /// Whether nobody is there, because nothing listens or the name leads
    /// nowhere: no reason to wait at first contact.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            Self::Name(_) => true,
            Self::Certificates(_) | Self::Proxy(_) | Self::Http(_) | Self::Timeout(_) => false,
        }
    }

    pub(crate) fn from_ureq(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(what) => Self::Timeout(phase(what)),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                Self::Timeout("reading")
            }
            ureq::Error::Io(error) if is_name_error(&error) => match error.into_inner() {
                Some(inner) => Self::Name(inner),
                None => Self::Timeout("resolving"),
            },
            ureq::Error::Io(error) if has_tls_cause(&error) => {
                Self::Http(Box::new(ureq::Error::Io(error)))
            }
            ureq::Error::Io(error) => Self::Io(error),
            ureq::Error::HostNotFound => Self::Name("no such host".into()),
            other => Self::Http(Box::new(other)),
        }
    }
}

fn is_name_error(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<NameError>)
}

fn has_tls_cause(error: &io::Error) -> bool {
    let tls = |inner: &(dyn std::error::Error + 'static)| inner.is::<rustls::Error>();
    error
        .get_ref()
        .is_some_and(|inner| tls(inner) || inner.source().is_some_and(tls))
}

fn phase(timeout: ureq::Timeout) -> &'static str {
    match timeout {
        ureq::Timeout::Resolve => "resolving",
        ureq::Timeout::Connect => "connecting",
        ureq::Timeout::SendRequest | ureq::Timeout::SendBody | ureq::Timeout::PerWrite => "sending",
        ureq::Timeout::RecvResponse => "waiting for an answer",
        _ => "reading",
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the name to the end of the TLS handshake.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub answer: Duration,
    /// Between two reads of a body: a stall.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(60),
        }
    }
}

/// How a host may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Trust {
    /// Whether any certificate will do.
    pub(crate) insecure: bool,
    /// Whether the user named the host; what a registry names may be no
    /// address of the link.
    pub(crate) named_by_user: bool,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) url: &'a Url,
    pub(crate) trust: Trust,
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
    /// `Some` makes it a POST of a form.
    pub(crate) form: Option<&'a str>,
}

/// All connections of a client.
#[derive(Debug)]
pub(crate) struct Transport {
    environment: Environment,
    timeouts: Timeouts,
    names: Arc<Names>,
    agents: Mutex<HashMap<(bool, String, Trust), Agent>>,
}

impl Transport {
    pub(crate) fn new(environment: Environment, timeouts: Timeouts) -> Self {
        let names = Arc::new(Names::new(&environment));
        Self {
            environment,
            timeouts,
            names,
            agents: Mutex::default(),
        }
    }

    /// Sends; any status is an answer, redirects too.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Response<Body>, TransportError> {
        // A proxy resolves names itself, so that literals are caught here as well.
        if let Some(address) = call.url.address().filter(|address| is_link_only(*address))
            && !call.trust.named_by_user
        {
            let host = call.url.host.clone();
            return Err(TransportError::Name(Box::new(NameError::Forbidden {
                host,
                address,
            })));
        }
        let agent = self.agent(call.url, call.trust)?;
        let mut builder = Request::builder().uri(call.url.to_string());
        for (name, value) in call.headers {
            builder = builder.header(name, value);
        }
        let http = |error| TransportError::Http(Box::new(ureq::Error::Http(error)));
        let answer = match call.form {
            None => agent.run(builder.body(()).map_err(http)?),
            Some(form) => {
                let builder = builder
                    .method("POST")
                    .header("content-type", "application/x-www-form-urlencoded");
                agent.run(builder.body(form).map_err(http)?)
            }
        };
        answer.map_err(TransportError::from_ureq)
    }

    fn agent(&self, url: &Url, trust: Trust) -> Result<Agent, TransportError> {
        let authority = url.authority();
        let key = (url.tls, authority, trust);
        let agents = || self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents().get(&key) {
            return Ok(agent.clone());
        }
        let proxy = match proxy::for_url(url, &self.environment) {
            None => None,
            Some(text) => {
                let proxy = Proxy::new(text);
                Some(proxy.map_err(|_| TransportError::Proxy(without_password(text)))?)
            }
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .user_agent(concat!("cove/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections_per_host(8)
            .max_response_header_size(64 << 10)
            .input_buffer_size(64 << 10)
            .timeout_connect(Some(self.timeouts.connect))
            .timeout_resolve(Some(self.timeouts.connect))
            .timeout_send_request(Some(self.timeouts.answer))
            .timeout_recv_response(Some(self.timeouts.answer))
            .timeout_per_read(Some(self.timeouts.stall))
            .timeout_per_write(Some(self.timeouts.stall));
        if url.tls {
            let settings = tls::settings(&self.environment, &key.1, !trust.insecure)
                .map_err(TransportError::Certificates)?;
            config = config.tls_config(settings);
        }
        let resolver = HostResolver {
            names: Arc::clone(&self.names),
            trusted: trust.named_by_user,
        };
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), resolver);
        agents().insert(key, agent.clone());
        Ok(agent)
    }
}

fn without_password(proxy: &str) -> String {
    match proxy.rsplit_once('@') {
        Some((_, host)) => host.to_owned(),
        None => proxy.to_owned(),
    }
}
