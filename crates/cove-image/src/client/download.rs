//! A file at a URL that the user named: no registry, no credentials.

use std::io::Read;

use super::Client;
use crate::error::Error;
use crate::http::url::{Url, without_query};
use crate::registries::SchemePolicy;

impl Client {
    /// The content of a URL of http or https, after its redirects. Content
    /// that breaks off is an error of the reader.
    ///
    /// # Errors
    /// When it is no such URL, nobody answers, or the answer is another one.
    pub fn download(&self, url: &str) -> Result<impl Read + Send + use<>, Error> {
        let first = Url::parse(url).ok_or_else(|| Error::Url(url.to_owned()))?;
        // Whoever names plain HTTP has it; from TLS there is no way back.
        let policy = if first.tls {
            SchemePolicy::HttpsOnly
        } else {
            SchemePolicy::HttpsThenHttp
        };
        let wire = &self.inner.wire;
        let answer = wire.patiently(|| wire.follow(&first, policy, &Vec::new(), None))?;
        if !answer.status().is_success() {
            return Err(Error::Status {
                url: without_query(&first),
                status: answer.status().as_u16(),
                message: String::new(),
                retry_after: None,
            });
        }
        Ok(answer.reader())
    }
}
