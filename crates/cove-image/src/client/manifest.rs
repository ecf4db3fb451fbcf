//! Fetches indexes, manifests and configurations, all verified.

use cove_model::image::{Descriptor, media_type};
use cove_model::{Digest, Reference};
use ureq::http::{HeaderName, HeaderValue, header};

use super::document::{Document, DocumentError};
use super::request::Inner;
use super::token::Session;
use super::verified::digest;
use super::wire::{Answer, Headers};
use crate::error::Error;

/// What is asked for; a registry converts to schema 1 when it is left out.
const ACCEPT: [&str; 4] = [
    media_type::OCI_INDEX,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_LIST,
    media_type::DOCKER_MANIFEST,
];
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An index or manifest and its bytes.
pub(super) struct Fetched {
    pub(super) document: Document,
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

/// A small answer and what its head says.
struct Small {
    content_type: Option<String>,
    promised: Option<Digest>,
    bytes: Vec<u8>,
}

impl Inner {
    /// Fetches what a tag or a digest names. `entry` is the index entry that
    /// led here, whose type and size the answer then has to have.
    pub(super) fn manifest(
        &self,
        session: &Session,
        name: &Reference,
        wanted: Option<Digest>,
        entry: Option<&Descriptor>,
    ) -> Result<Fetched, Error> {
        let tag = name.tag().unwrap_or(cove_model::reference::DEFAULT_TAG);
        let identifier = wanted.map_or_else(|| tag.to_owned(), |digest| digest.to_string());
        let path = format!("/v2/{}/manifests/{identifier}", session.repository);
        let headers: Headers = ACCEPT
            .map(|kind| (header::ACCEPT, HeaderValue::from_static(kind)))
            .to_vec();
        let what = format!("manifest {identifier} of {}", name.familiar_name());
        let Small {
            content_type,
            promised,
            bytes,
        } = self.small(
            session,
            &path,
            &headers,
            &what,
            self.wire.options.limits.manifest,
            |answer| self.no_manifest(session, name, wanted, answer),
        )?;
        let actual = digest(&bytes);
        for expected in [wanted, promised].into_iter().flatten() {
            if expected != actual {
                return Err(Error::Digest {
                    what,
                    expected,
                    actual,
                });
            }
        }
        let size = bytes.len() as u64;
        if let Some(entry) = entry.filter(|entry| entry.size != size) {
            return Err(Error::Size {
                what,
                expected: entry.size,
                actual: size,
            });
        }
        let invalid = |source| Error::Document {
            what: what.clone(),
            source,
        };
        let document = Document::parse(&bytes, content_type.as_deref()).map_err(invalid)?;
        if let Some(entry) = entry {
            Document::parse(&bytes, Some(&entry.media_type)).map_err(invalid)?;
        }
        let kind = kind_of(&document, content_type.as_deref());
        Ok(Fetched {
            document,
            descriptor: Descriptor::new(&kind, actual, size),
            bytes,
        })
    }

    /// Fetches a small blob whole: a configuration.
    pub(super) fn small_blob(
        &self,
        session: &Session,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, Error> {
        let what = format!("configuration {}", descriptor.digest);
        if descriptor.size > limit {
            return Err(Error::TooLarge { what, limit });
        }
        let path = format!("/v2/{}/blobs/{}", session.repository, descriptor.digest);
        let no_blob = |answer| self.no_blob(session, descriptor.digest, answer);
        let Small { bytes, .. } =
            self.small(session, &path, &Vec::new(), &what, descriptor.size, no_blob)?;
        let (actual, size) = (digest(&bytes), bytes.len() as u64);
        if size != descriptor.size {
            return Err(Error::Size {
                what,
                expected: descriptor.size,
                actual: size,
            });
        }
        if actual != descriptor.digest {
            return Err(Error::Digest {
                what,
                expected: descriptor.digest,
                actual,
            });
        }
        Ok(bytes)
    }

    /// A body that breaks off is asked for again: it is too small to be resumed.
    fn small(
        &self,
        session: &Session,
        path: &str,
        headers: &Headers,
        what: &str,
        limit: u64,
        refused: impl Fn(Answer) -> Error,
    ) -> Result<Small, Error> {
        let policy = &self.wire.options.retry;
        let clock = &*self.wire.options.clock;
        let mut failed = 0;
        loop {
            let answer = self.get(session, path, headers)?;
            if answer.status() != 200 {
                return Err(refused(answer));
            }
            let content_type = answer.header(&header::CONTENT_TYPE).map(str::to_owned);
            let promised = answer
                .header(&CONTENT_DIGEST)
                .and_then(|text| text.parse().ok());
            match answer.bytes(what, limit) {
                Err(error) if error.is_transient() && failed + 1 < policy.attempts => {
                    failed += 1;
                    clock.sleep(policy.delay(failed, None, clock.chance()));
                }
                result => {
                    return Ok(Small {
                        content_type,
                        promised,
                        bytes: result?,
                    });
                }
            }
        }
    }

    fn no_manifest(
        &self,
        session: &Session,
        name: &Reference,
        wanted: Option<Digest>,
        answer: Answer,
    ) -> Error {
        match answer.status().as_u16() {
            401 | 403 => session.denied(&answer.complaint().text("")),
            404 => {
                let complaint = answer.complaint();
                let message = complaint.text("manifest unknown: manifest unknown");
                match complaint.code.as_str() {
                    "NAME_UNKNOWN" => Error::RepositoryUnknown {
                        name: name.familiar_name(),
                        message,
                    },
                    "DENIED" | "UNAUTHORIZED" => session.denied(&message),
                    _ => {
                        let shown =
                            wanted.map_or_else(|| name.clone(), |digest| name.with_digest(digest));
                        Error::ManifestUnknown {
                            name: shown.familiar(),
                            message,
                        }
                    }
                }
            }
            _ => self.wire.status_error(answer),
        }
    }

    /// The error of a blob's status.
    pub(super) fn no_blob(&self, session: &Session, digest: Digest, answer: Answer) -> Error {
        match answer.status().as_u16() {
            401 | 403 => session.denied(&answer.complaint().text("")),
            404 => Error::BlobUnknown {
                digest,
                repository: session.repository.clone(),
            },
            _ => self.wire.status_error(answer),
        }
    }
}

/// The type that a document has: its own, else the declared one, else OCI's.
fn kind_of(document: &Document, declared: Option<&str>) -> String {
    let (own, default) = match document {
        Document::Index(index) => (&index.media_type, media_type::OCI_INDEX),
        Document::Manifest(manifest) => (&manifest.media_type, media_type::OCI_MANIFEST),
    };
    let declared = declared.filter(|kind| ACCEPT.contains(kind));
    own.as_deref().or(declared).unwrap_or(default).to_owned()
}

impl Fetched {
    pub(super) fn invalid(&self, what: &str, source: DocumentError) -> Error {
        Error::Document {
            what: format!("{what} {}", self.descriptor.digest),
            source,
        }
    }
}
