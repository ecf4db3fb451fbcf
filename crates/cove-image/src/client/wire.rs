//! One exchange with a host, without authorization: redirects, retries, and
//! what an answer says.

use std::io::Read;

use cove_model::nullable;
use serde::Deserialize;
use ureq::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use ureq::{Body, BodyReader};

use super::options::Options;
use crate::auth::CredentialStore;
use crate::error::Error;
use crate::http::transport::{Call, Transport, Trust};
use crate::http::url::{Url, without_query};
use crate::registries::{SchemePolicy, is_loopback};
use crate::retry::parse_retry_after;

/// Redirects that are followed; Go's figure.
const HOPS: usize = 10;
/// The most that is read of an error's body.
const ERROR_BODY: u64 = 64 << 10;

pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// What every exchange of a client needs.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) transport: Transport,
    pub(super) credentials: CredentialStore,
    pub(super) options: Options,
}

/// An answer and who gave it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) url: Url,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body, if it is no longer than `limit`.
    pub(super) fn bytes(self, what: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let url = without_query(&self.url);
        let mut body = self.response.into_body().into_reader().take(limit + 1);
        body.read_to_end(&mut bytes)
            .map_err(|source| Error::Body { url, source })?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge {
                what: what.to_owned(),
                limit,
            });
        }
        Ok(bytes)
    }

    /// The body as a stream.
    pub(super) fn reader(self) -> BodyReader<'static> {
        self.response.into_body().into_reader()
    }

    /// What the registry says about an error.
    pub(super) fn complaint(self) -> Complaint {
        let mut bytes = Vec::new();
        // A body that breaks off says less; the status is what counts.
        drop(
            self.response
                .into_body()
                .into_reader()
                .take(ERROR_BODY)
                .read_to_end(&mut bytes),
        );
        Complaint::parse(&bytes)
    }
}

/// The first error of a registry's error document.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Complaint {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

impl Complaint {
    fn parse(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Errors {
            #[serde(default)]
            errors: Vec<Complaint>,
        }
        let parsed = nullable::from_slice::<Errors>(bytes).ok();
        let mut first = parsed
            .and_then(|e| e.errors.into_iter().next())
            .unwrap_or_default();
        // It is shown on a terminal.
        first.message.retain(|c| !c.is_control());
        first
            .message
            .truncate(first.message.floor_char_boundary(500));
        first.code.retain(|c| c.is_ascii_alphanumeric() || c == '_');
        first
    }

    /// `manifest unknown: no such tag`, as Docker prints it.
    pub(super) fn text(&self, default: &str) -> String {
        match (self.code.is_empty(), self.message.is_empty()) {
            (true, true) => default.to_owned(),
            (true, false) => self.message.clone(),
            (false, _) => {
                let code = self.code.to_lowercase().replace('_', " ");
                format!("{code}: {}", self.message)
            }
        }
    }
}

impl Wire {
    /// Tries again while there is hope. A host that refuses the connection is
    /// given up at once.
    pub(super) fn patiently(
        &self,
        mut attempt: impl FnMut() -> Result<Answer, Error>,
    ) -> Result<Answer, Error> {
        let policy = &self.options.retry;
        let clock = &*self.options.clock;
        let mut failed = 0;
        loop {
            match attempt() {
                Err(error) if error.is_transient() && !error.is_refusal() => {
                    failed += 1;
                    if failed >= policy.attempts {
                        return Err(error);
                    }
                    clock.sleep(policy.delay(failed, error.retry_after(), clock.chance()));
                }
                result => return result,
            }
        }
    }

    /// One request and its answer, whatever that says.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let url = call.url;
        let response = self
            .transport
            .send(call)
            .map_err(|source| Error::Transport {
                url: without_query(url),
                source,
            })?;
        Ok(Answer {
            response,
            url: url.clone(),
        })
    }

    /// Sends and follows redirects by hand. The authorization goes to the
    /// origin of the first URL only; once on TLS there is no way back to
    /// plain HTTP, unless the policy allows plain HTTP anyway.
    pub(super) fn follow(
        &self,
        first: &Url,
        policy: SchemePolicy,
        headers: &Headers,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Error> {
        let mut url = first.clone();
        for _ in 0..HOPS {
            let own = url.same_origin(first);
            let mut all = headers.clone();
            if let Some(value) = authorization.filter(|_| own) {
                all.push((header::AUTHORIZATION, value.clone()));
            }
            let insecure =
                policy == SchemePolicy::HttpsThenHttp && (own || is_loopback(&url.authority()));
            let trust = Trust {
                insecure,
                named_by_user: url.host == first.host,
            };
            let call = Call {
                url: &url,
                trust,
                headers: &all,
                form: None,
            };
            let answer = self.send(&call)?;
            let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirects {
                return Ok(answer);
            }
            let location = answer.header(&header::LOCATION).unwrap_or_default();
            let refuse = |to: &str, reason| Error::Redirect {
                from: without_query(&url),
                to: to.to_owned(),
                reason,
            };
            let target = Some(location).filter(|location| !location.is_empty());
            let target = target
                .and_then(|location| url.join(location))
                .ok_or_else(|| refuse(location, "this is no URL of http or https"))?;
            if !target.tls && policy == SchemePolicy::HttpsOnly {
                return Err(refuse(
                    &without_query(&target),
                    "plain HTTP is not allowed for this registry",
                ));
            }
            url = target;
        }
        Err(Error::Redirect {
            from: without_query(first),
            to: without_query(&url),
            reason: "too many redirects",
        })
    }

    /// Turns "later" into an error that says when.
    pub(super) fn not_later(&self, answer: Answer) -> Result<Answer, Error> {
        if !matches!(answer.status().as_u16(), 408 | 429 | 500..=599) {
            return Ok(answer);
        }
        Err(self.status_error(answer))
    }

    /// The error of an unexpected status.
    pub(super) fn status_error(&self, answer: Answer) -> Error {
        let url = without_query(&answer.url);
        let status = answer.status().as_u16();
        let wall = self.options.clock.wall();
        let retry_after = answer
            .header(&header::RETRY_AFTER)
            .and_then(|text| parse_retry_after(text, wall));
        let text = answer.complaint().text("");
        let message = if text.is_empty() {
            text
        } else {
            format!(": {text}")
        };
        Error::Status {
            url,
            status,
            message,
            retry_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_dockers_words_and_harmless() {
        for (body, text) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no tag"}]}"#,
                "manifest unknown: no tag",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"a\u001b[2Jb\n"}]}"#,
                "denied: a[2Jb",
            ),
            (r#"{"errors":[]}"#, "default"),
            ("<html>", "default"),
            (r#"{"errors":[{"message":"m"}]}"#, "m"),
            (r#"{"errors":[{"code":null,"message":"m"}]}"#, "m"),
            (r#"{"errors":[{"code":"C","message":null}]}"#, "c: "),
            (r#"{"errors":null}"#, "default"),
            (r#"{"errors":[null]}"#, "default"),
        ] {
            assert_eq!(Complaint::parse(body.as_bytes()).text("default"), text);
        }
    }
}
