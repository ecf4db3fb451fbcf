//! What can go wrong between a name and the bytes of an image.

use std::time::Duration;

use cove_model::Digest;
use cove_model::error::ErrorKind;
use cove_model::image::Platform;

use crate::auth::AuthError;
pub use crate::client::DocumentError;
pub use crate::http::tls::CertificateError;
pub use crate::http::transport::TransportError;

/// Why a registry did not give what was asked of it. Where Docker has words
/// for a case, they are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer came.
    #[error("Get \"{url}\"")]
    Transport {
        /// What was asked, without its query.
        url: String,
        /// Why no answer came.
        #[source]
        source: TransportError,
    },
    /// A text that is to be a URL of http or https is none.
    #[error("invalid URL \"{0}\"")]
    Url(String),
    /// The answer is not one of those that the protocol has for the case.
    #[error("Get \"{url}\": received unexpected HTTP status: {status}{message}")]
    Status {
        /// What was asked, without its query.
        url: String,
        /// The status code.
        status: u16,
        /// `": code: message"` of the registry, or nothing.
        message: String,
        /// How long the registry asks us to wait.
        retry_after: Option<Duration>,
    },
    /// There is no such manifest.
    #[error("manifest for {name} not found: {message}")]
    ManifestUnknown {
        /// The image as Docker prints it.
        name: String,
        /// `code: message` of the registry.
        message: String,
    },
    /// There is no such repository.
    #[error("repository {name} not found: {message}")]
    RepositoryUnknown {
        /// The repository as Docker prints it.
        name: String,
        /// `code: message` of the registry.
        message: String,
    },
    /// The repository is not there or not for us; registries do not say which.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {message}"
    )]
    AccessDenied {
        /// The repository as Docker prints it.
        name: String,
        /// `code: message` of the registry.
        message: String,
    },
    /// The credentials are wrong.
    #[error("unauthorized: {message}")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What it said.
        message: String,
    },
    /// There is no such blob.
    #[error("unknown blob {digest} in {repository}")]
    BlobUnknown {
        /// The blob.
        digest: Digest,
        /// The repository.
        repository: String,
    },
    /// `WWW-Authenticate` breaks the grammar or offers nothing that we speak.
    #[error("registry {registry} asks for an unknown kind of authentication: {header}")]
    Challenge {
        /// The registry.
        registry: String,
        /// The header.
        header: String,
    },
    /// A token service that must not be asked.
    #[error("registry {registry} names the token service \"{realm}\": {reason}")]
    Realm {
        /// The registry.
        registry: String,
        /// What it named.
        realm: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The token service gives no token.
    #[error("the token service {realm} gave no token: {reason}")]
    Token {
        /// The service.
        realm: String,
        /// What is wrong with its answer.
        reason: String,
    },
    /// A redirect that must not be followed.
    #[error("{from} redirects to \"{to}\": {reason}")]
    Redirect {
        /// What was asked.
        from: String,
        /// Where it leads, without its query.
        to: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// Credentials cannot be looked up.
    #[error("cannot look up the credentials for {registry}")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why not.
        #[source]
        source: Box<AuthError>,
    },
    /// A body is broken off.
    #[error("Get \"{url}\": the answer broke off")]
    Body {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A document is larger than any honest one.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Which document.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not those that were promised.
    #[error("{what}: digest mismatch: expected {expected}, got {actual}")]
    Digest {
        /// Which document.
        what: String,
        /// What the name, the index or the registry's header says.
        expected: Digest,
        /// What the bytes say.
        actual: Digest,
    },
    /// The length is not the one that was promised.
    #[error("{what}: size mismatch: expected {expected} bytes, got {actual}")]
    Size {
        /// Which document.
        what: String,
        /// What the descriptor says.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A manifest, index or configuration is not what it has to be.
    #[error("{what} is not valid")]
    Document {
        /// Which document.
        what: String,
        /// What is wrong.
        #[source]
        source: DocumentError,
    },
    /// No entry of the index is for the platform.
    #[error(
        "no matching manifest for {} in the manifest list entries",
        show(platform)
    )]
    NoPlatform {
        /// What was wanted.
        platform: Box<Platform>,
    },
    /// The only manifest is for another platform than the one asked for.
    #[error(
        "image with reference {name} was found but does not match the specified platform: wanted {}, actual: {}",
        show(wanted),
        show(actual)
    )]
    OtherPlatform {
        /// The image as Docker prints it.
        name: String,
        /// What was wanted.
        wanted: Box<Platform>,
        /// What it is for.
        actual: Box<Platform>,
    },
    /// An image that is not for Linux.
    #[error(
        "image operating system \"{0}\" cannot be used on this platform: operating system is not supported"
    )]
    OperatingSystem(String),
    /// The list of candidates is empty.
    #[error("there is no registry to ask")]
    NoCandidates,
    /// No candidate has the image; the last one's reason is the source.
    #[error("no registry gave {name}; asked {asked}")]
    Candidates {
        /// The image.
        name: String,
        /// The hosts and, of all but the last, what they said.
        asked: String,
        /// What the last one said.
        #[source]
        source: Box<Error>,
    },
    /// A blob's stream failed.
    #[error("cannot read blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: BlobError,
    },
}

/// Why a blob's stream failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The registry's blob has another length than the manifest says.
    #[error("the manifest says {expected} bytes, the registry {actual}")]
    Length {
        /// The descriptor's size.
        expected: u64,
        /// The `Content-Length` or total of `Content-Range`.
        actual: u64,
    },
    /// More bytes came than the manifest says.
    #[error("more than the {0} bytes that the manifest says")]
    Excess(u64),
    /// It broke off too often.
    #[error("gave up at byte {offset} of {size} after {attempts} attempts")]
    GaveUp {
        /// Bytes that were delivered.
        offset: u64,
        /// The descriptor's size.
        size: u64,
        /// Attempts in a row without progress.
        attempts: u32,
        /// Why the last one failed.
        #[source]
        source: Box<Error>,
    },
    /// The registry refuses to go on.
    #[error("cannot continue at byte {offset} of {size}")]
    Refused {
        /// Bytes that were delivered.
        offset: u64,
        /// The descriptor's size.
        size: u64,
        /// What it said.
        #[source]
        source: Box<Error>,
    },
    /// The body ended early.
    #[error("ended at byte {0}")]
    Ended(u64),
    /// A `206` for another range than was asked for.
    #[error("asked for byte {asked}, got \"{range}\"")]
    Range {
        /// The first byte that was asked for.
        asked: u64,
        /// The `Content-Range`.
        range: String,
    },
}

impl Error {
    /// Of what kind the error is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ManifestUnknown { .. } | Self::RepositoryUnknown { .. } => ErrorKind::NotFound,
            Self::AccessDenied { .. } | Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Url(_) => ErrorKind::InvalidInput,
            Self::Transport { .. } | Self::Body { .. } => ErrorKind::Unavailable,
            Self::Candidates { source, .. } => source.kind(),
            Self::Status { .. }
            | Self::BlobUnknown { .. }
            | Self::Challenge { .. }
            | Self::Realm { .. }
            | Self::Token { .. }
            | Self::Redirect { .. }
            | Self::Credentials { .. }
            | Self::TooLarge { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::Document { .. }
            | Self::NoPlatform { .. }
            | Self::OtherPlatform { .. }
            | Self::OperatingSystem(_)
            | Self::NoCandidates
            | Self::Blob { .. } => ErrorKind::Internal,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Body { .. })
            || matches!(self, Self::Transport { source, .. } if source.is_transient())
            || matches!(
                self,
                Self::Status {
                    status: 408 | 429 | 500 | 502 | 503 | 504,
                    ..
                }
            )
    }

    /// Whether nobody is there.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if source.is_refusal())
    }

    /// How long the registry asks us to wait.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }
}

/// `os/architecture[/variant]`, as Docker prints it.
pub(crate) fn show(platform: &Platform) -> String {
    match &platform.variant {
        Some(variant) => format!("{}/{}/{variant}", platform.os, platform.architecture),
        None => format!("{}/{}", platform.os, platform.architecture),
    }
}
