//! Names of images, in the grammar of the distribution project that Docker
//! and Podman share.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The registry that an unqualified name stands for, as with Docker.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag that a name without tag and digest stands for.
pub const DEFAULT_TAG: &str = "latest";
/// The grammar's limit on the name, registry included, in bytes.
const MAX_NAME: usize = 255;

/// A fully qualified image name: `registry/repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image. The wording is Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text breaks the grammar.
    #[error("invalid reference format")]
    Format(String),
    /// The only fault is a capital letter in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Sixty-four hexadecimal digits are an image id, not a name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// A name by content was to be given to an image.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// The name is too long.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// The digest after `@` is malformed.
    #[error("invalid reference format")]
    Digest {
        /// The whole text.
        text: String,
        /// What is wrong with its digest.
        #[source]
        source: crate::digest::DigestError,
    },
}

impl Reference {
    /// Reads a name as Docker does: no registry means `docker.io`, one path
    /// component there means `library/…`. Neither tag nor digest is added;
    /// see [`Reference::with_default_tag`].
    ///
    /// # Errors
    /// When the text breaks the grammar.
    pub fn parse_docker(text: &str) -> Result<Self, ReferenceError> {
        let (name, tag, digest) = split(text)?;
        let (registry, path) = split_registry(name);
        let registry = match registry {
            None | Some("index.docker.io") => DEFAULT_REGISTRY,
            Some(registry) => registry,
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Self::build(text, registry, &repository, tag, digest)
    }

    /// Reads a name that an image can be given: with `latest` where it says no
    /// tag, and without a digest, which the content alone gives.
    ///
    /// # Errors
    /// When the text breaks the grammar or has a digest.
    pub fn parse_tag(text: &str) -> Result<Self, ReferenceError> {
        let name = Self::parse_docker(text)?;
        if name.digest.is_some() {
            return Err(ReferenceError::TagWithDigest);
        }
        Ok(name.with_default_tag())
    }

    /// Whether the text names no registry, so that short-name rules apply to it.
    #[must_use]
    pub fn is_short(text: &str) -> bool {
        split_registry(text).0.is_none()
    }

    /// The name in another registry and under another path prefix, as a
    /// mirror or a short-name alias says; tag and digest stay.
    ///
    /// # Errors
    /// When the new name breaks the grammar.
    pub fn relocated(&self, registry: &str, repository: &str) -> Result<Self, ReferenceError> {
        let text = format!("{registry}/{repository}");
        Self::build(&text, registry, repository, self.tag.clone(), self.digest)
    }

    fn build(
        text: &str,
        registry: &str,
        repository: &str,
        tag: Option<String>,
        digest: Option<Digest>,
    ) -> Result<Self, ReferenceError> {
        if !valid_registry(registry) {
            return Err(ReferenceError::Format(text.to_owned()));
        }
        if !repository.split('/').all(valid_component) {
            let lower = repository.to_lowercase();
            return Err(
                if lower != repository && lower.split('/').all(valid_component) {
                    ReferenceError::Uppercase(repository.to_owned())
                } else {
                    ReferenceError::Format(text.to_owned())
                },
            );
        }
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        let short = repository.strip_prefix("library/").unwrap_or(repository);
        if registry == DEFAULT_REGISTRY && Digest::from_hex(short).is_ok() {
            return Err(ReferenceError::LooksLikeId(short.to_owned()));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }

    /// The registry's host and optional port; `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, such as `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same name with `latest` where neither tag nor digest was given.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same name by content: the tag is dropped.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// `registry/repository` without tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as Docker prints it: without `docker.io/` and `library/`,
    /// and without tag and digest.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = self.repository.strip_prefix("library/");
        short
            .filter(|rest| !rest.contains('/'))
            .unwrap_or(&self.repository)
            .to_owned()
    }

    /// [`Self::familiar_name`] with tag and digest.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

/// The fully qualified form, which [`FromStr`] reads back.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse_docker(text)
    }
}

type Parts<'a> = (&'a str, Option<String>, Option<Digest>);

fn split(text: &str) -> Result<Parts<'_>, ReferenceError> {
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => {
            let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                text: text.to_owned(),
                source,
            })?;
            (rest, Some(digest))
        }
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !valid_tag(tag)) || name.is_empty() {
        return Err(ReferenceError::Format(text.to_owned()));
    }
    Ok((name, tag.map(str::to_owned), digest))
}

/// A first component is a registry when it cannot be a path component of
/// Docker Hub: it has a dot or a port, or is `localhost`, or has capitals.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.to_lowercase() != first =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn valid_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let port_ok = port.is_none_or(|port| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    let host_ok = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty()
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    port_ok && host_ok
}

/// `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && component
            .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

/// `[\w][\w.-]{0,127}`
fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|&b| word(b))
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        Reference::parse_docker(text).unwrap()
    }

    #[test]
    fn names_are_qualified_as_docker_qualifies_them() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let by_digest = format!("docker.io/library/busybox@sha256:{hex}");
        for (text, full) in [
            ("busybox", "docker.io/library/busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("me/app", "docker.io/me/app"),
            ("index.docker.io/me/app:x", "docker.io/me/app:x"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("quay.io/x/y__z", "quay.io/x/y__z"),
            ("[::1]:5000/x", "[::1]:5000/x"),
            ("Host/app", "Host/app"),
            (&format!("busybox@sha256:{hex}"), &by_digest),
        ] {
            assert_eq!(parse(text).to_string(), full);
            assert_eq!(parse(full), parse(text), "{full} does not read back");
        }
    }

    #[test]
    fn familiar_names_leave_the_defaults_out() {
        for (text, familiar) in [
            ("docker.io/library/busybox:1", "busybox:1"),
            ("docker.io/me/app", "me/app"),
            ("docker.io/library/a/b", "library/a/b"),
            ("quay.io/x/y", "quay.io/x/y"),
        ] {
            assert_eq!(parse(text).familiar(), familiar);
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        let long = "a".repeat(260);
        for bad in [
            "",
            ":",
            "a:",
            "a:b:c",
            "/a",
            "a/",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a b",
            "a@b",
            "a@sha256:00",
            "http://a/b",
            "a:b/",
            "a:-b",
            "h:x/a",
            "h:99999/a",
            "../a",
            "é",
            &long,
        ] {
            assert!(
                Reference::parse_docker(bad).is_err(),
                "{bad:?} was accepted"
            );
        }
        let by_digest = format!("busybox:1@{}", Digest::from_bytes([1; 32]));
        assert!(Reference::parse_docker(&by_digest).is_ok());
        assert_eq!(
            Reference::parse_tag(&by_digest),
            Err(ReferenceError::TagWithDigest)
        );
        assert_eq!(Reference::parse_tag("a").unwrap().tag(), Some("latest"));
        assert!(matches!(
            Reference::parse_docker("me/App"),
            Err(ReferenceError::Uppercase(_))
        ));
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(matches!(
            Reference::parse_docker(id),
            Err(ReferenceError::LooksLikeId(_))
        ));
    }
}
