//! Reads the text of one registries.conf.

use std::collections::BTreeMap;

use cove_model::Reference;
use serde::Deserialize;

use super::{Mirror, PullFromMirror, Registry, ShortNameMode};

/// What one file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    pub(super) registries: Vec<Registry>,
    pub(super) search: Option<Vec<String>>,
    pub(super) mode: Option<ShortNameMode>,
    pub(super) aliases: BTreeMap<String, String>,
}

/// Why a text is no registries.conf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No TOML, or a key of the wrong type.
    #[error("invalid TOML")]
    Toml(#[source] toml::de::Error),
    /// The format of before 2018.
    #[error(
        "the [registries.*] tables of registries.conf version 1 are not supported; use [[registry]]"
    )]
    Version1,
    /// Neither key names the registry.
    #[error("a [[registry]] needs a location or a prefix")]
    Nameless,
    /// A mirror has no location.
    #[error("a mirror of \"{0}\" has no location")]
    MirrorNameless(String),
    /// A location or prefix that names no place.
    #[error("invalid registry location \"{0}\": expected host[:port][/path] without a scheme")]
    Location(String),
    /// A `*` where none can be.
    #[error("invalid prefix \"{0}\": a wildcard can only be the first label, as in *.example.com")]
    Wildcard(String),
    /// Two entries for one prefix disagree.
    #[error("registry \"{0}\" is defined more than once with different settings")]
    Conflict(String),
    /// `pull-from-mirror` outside a mirror.
    #[error("pull-from-mirror of registry \"{0}\" belongs to its mirrors")]
    PullOutsideMirror(String),
    /// Both ways of limiting mirrors at once.
    #[error("registry \"{0}\" sets mirror-by-digest-only beside a mirror's pull-from-mirror")]
    PullTwice(String),
    /// An unknown value.
    #[error("invalid value \"{value}\" of {key}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Credentials are to come from where Cove does not look.
    #[error(
        "credential-helpers {0:?} are not supported; name helpers as credHelpers or credsStore in auth.json"
    )]
    CredentialHelpers(Vec<String>),
    /// An alias whose name or target is not usable.
    #[error("invalid alias \"{name}\" = \"{target}\"")]
    Alias {
        /// The short name.
        name: String,
        /// What it should stand for.
        target: String,
    },
}

/// What stands for the credential files among the helpers.
const AUTH_FILES: &str = "containers-auth.json";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawDocument {
    registries: Option<toml::Value>,
    #[serde(default)]
    registry: Vec<RawRegistry>,
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    credential_helpers: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRegistry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    pull_from_mirror: String,
    #[serde(default)]
    mirror: Vec<RawMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

impl Document {
    /// Reads one file's text.
    ///
    /// # Errors
    /// When the text is no TOML or its values contradict the format.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let raw: RawDocument = toml::from_str(text).map_err(ParseError::Toml)?;
        if raw.registries.is_some() {
            return Err(ParseError::Version1);
        }
        // The files of containers-auth.json(5), which are the default.
        let helpers = raw.credential_helpers;
        if helpers.iter().any(|helper| helper != AUTH_FILES) {
            return Err(ParseError::CredentialHelpers(helpers));
        }
        let mut registries: Vec<Registry> = Vec::new();
        for entry in raw.registry {
            let registry = registry(entry)?;
            match registries
                .iter()
                .find(|earlier| earlier.prefix == registry.prefix)
            {
                None => registries.push(registry),
                Some(earlier) if *earlier == registry => {}
                Some(_) => return Err(ParseError::Conflict(registry.prefix)),
            }
        }
        let search = match raw.unqualified_search_registries {
            None => None,
            Some(hosts) => Some(
                hosts
                    .iter()
                    .map(|host| place(host))
                    .collect::<Result<_, _>>()?,
            ),
        };
        let mode = raw.short_name_mode.as_deref().map(mode).transpose()?;
        for (name, target) in &raw.aliases {
            check_alias(name, target)?;
        }
        Ok(Self {
            registries,
            search,
            mode,
            aliases: raw.aliases,
        })
    }
}

fn registry(raw: RawRegistry) -> Result<Registry, ParseError> {
    let mut location = if raw.location.is_empty() {
        String::new()
    } else {
        place(&raw.location)?
    };
    let prefix = if raw.prefix.is_empty() {
        location.clone()
    } else {
        prefix(&raw.prefix)?
    };
    if prefix.is_empty() {
        return Err(ParseError::Nameless);
    }
    if location.is_empty() && !prefix.starts_with('*') {
        location.clone_from(&prefix);
    }
    if !raw.pull_from_mirror.is_empty() {
        return Err(ParseError::PullOutsideMirror(prefix));
    }
    let mut mirrors = Vec::with_capacity(raw.mirror.len());
    for mirror in raw.mirror {
        if mirror.location.is_empty() {
            return Err(ParseError::MirrorNameless(prefix));
        }
        if raw.mirror_by_digest_only && !mirror.pull_from_mirror.is_empty() {
            return Err(ParseError::PullTwice(prefix));
        }
        let pull = match mirror.pull_from_mirror.as_str() {
            "" if raw.mirror_by_digest_only => PullFromMirror::DigestOnly,
            "" | "all" => PullFromMirror::All,
            "digest-only" => PullFromMirror::DigestOnly,
            "tag-only" => PullFromMirror::TagOnly,
            _ => {
                let value = mirror.pull_from_mirror;
                return Err(ParseError::Value {
                    key: "pull-from-mirror",
                    value,
                });
            }
        };
        let location = place(&mirror.location)?;
        mirrors.push(Mirror {
            location,
            insecure: mirror.insecure,
            pull,
        });
    }
    Ok(Registry {
        prefix,
        location,
        insecure: raw.insecure,
        blocked: raw.blocked,
        mirrors,
    })
}

fn mode(text: &str) -> Result<ShortNameMode, ParseError> {
    match text {
        "enforcing" => Ok(ShortNameMode::Enforcing),
        "permissive" | "" => Ok(ShortNameMode::Permissive),
        "disabled" => Ok(ShortNameMode::Disabled),
        _ => Err(ParseError::Value {
            key: "short-name-mode",
            value: text.to_owned(),
        }),
    }
}

fn prefix(text: &str) -> Result<String, ParseError> {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    if rest.contains('*') {
        return Err(ParseError::Wildcard(text.to_owned()));
    }
    place(rest).map_err(|_| ParseError::Location(text.to_owned()))?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// `host[:port][/path]`, without the slashes at its end.
fn place(text: &str) -> Result<String, ParseError> {
    let trimmed = text.trim_end_matches('/');
    let host = trimmed.split('/').next().unwrap_or_default();
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '\\';
    if host.is_empty() || trimmed.contains("://") || trimmed.contains(odd) {
        return Err(ParseError::Location(text.to_owned()));
    }
    Ok(trimmed.to_owned())
}

/// An alias goes from a short name without tag and digest to a full one.
fn check_alias(name: &str, target: &str) -> Result<(), ParseError> {
    let plain = |text: &str| {
        Reference::parse_docker(text).is_ok_and(|r| r.tag().is_none() && r.digest().is_none())
    };
    let target_ok = target.is_empty() || (plain(target) && !Reference::is_short(target));
    if plain(name) && Reference::is_short(name) && target_ok {
        return Ok(());
    }
    Err(ParseError::Alias {
        name: name.to_owned(),
        target: target.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        unqualified-search-registries = ["example.com", "docker.io"]
        short-name-mode = "enforcing"
        [[registry]]
        prefix = "example.com/foo"
        insecure = true
        blocked = false
        location = "internal.example.com/bar/"
        [[registry.mirror]]
        location = "mirror-0.local/foo"
        pull-from-mirror = "tag-only"
        [[registry.mirror]]
        location = "mirror-1.local/foo"
        insecure = true
        [[registry]]
        prefix = "*.example.org"
        blocked = true
        [[registry]]
        location = "quay.io"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "q.local"
        [aliases]
        "fedora" = "registry.fedoraproject.org/fedora"
    "#;

    #[test]
    fn the_example_of_the_manual_is_read() {
        let document = Document::parse(EXAMPLE).unwrap();
        assert_eq!(document.search.unwrap(), ["example.com", "docker.io"]);
        assert_eq!(document.mode, Some(ShortNameMode::Enforcing));
        let [foo, wild, quay] = &document.registries[..] else {
            panic!("three registries")
        };
        assert_eq!(
            (foo.location.as_str(), foo.insecure),
            ("internal.example.com/bar", true)
        );
        assert_eq!(foo.mirrors[0].pull, PullFromMirror::TagOnly);
        assert!(foo.mirrors[1].insecure);
        assert_eq!((wild.location.as_str(), wild.blocked), ("", true));
        assert_eq!(
            (quay.prefix.as_str(), quay.mirrors[0].pull),
            ("quay.io", PullFromMirror::DigestOnly)
        );
        assert_eq!(
            document.aliases["fedora"],
            "registry.fedoraproject.org/fedora"
        );
    }

    #[test]
    fn the_credential_files_are_no_helper() {
        let text = "credential-helpers = ['containers-auth.json']";
        assert!(Document::parse(text).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        type Check = fn(&ParseError) -> bool;
        let cases: &[(&str, Check)] = &[
            ("x = ", |e| matches!(e, ParseError::Toml(_))),
            ("registry = 3", |e| matches!(e, ParseError::Toml(_))),
            ("[registries.search]\nregistries = ['a']", |e| {
                matches!(e, ParseError::Version1)
            }),
            ("[[registry]]\ninsecure = true", |e| {
                matches!(e, ParseError::Nameless)
            }),
            ("[[registry]]\nlocation = 'https://a.b'", |e| {
                matches!(e, ParseError::Location(_))
            }),
            ("[[registry]]\nprefix = 'a.*.b'", |e| {
                matches!(e, ParseError::Wildcard(_))
            }),
            ("[[registry]]\nprefix = '*'", |e| {
                matches!(e, ParseError::Wildcard(_))
            }),
            (
                "[[registry]]\nlocation='a.b'\n[[registry]]\nlocation='a.b'\ninsecure=true",
                |e| matches!(e, ParseError::Conflict(_)),
            ),
            (
                "[[registry]]\nlocation='a.b'\npull-from-mirror='all'",
                |e| matches!(e, ParseError::PullOutsideMirror(_)),
            ),
            (
                "[[registry]]\nlocation='a.b'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='m.b'\npull-from-mirror='all'",
                |e| matches!(e, ParseError::PullTwice(_)),
            ),
            (
                "[[registry]]\nlocation='a.b'\n[[registry.mirror]]\ninsecure=true",
                |e| matches!(e, ParseError::MirrorNameless(_)),
            ),
            (
                "credential-helpers = ['containers-auth.json', 'pass']",
                |e| matches!(e, ParseError::CredentialHelpers(_)),
            ),
            ("short-name-mode = 'ask'", |e| {
                matches!(e, ParseError::Value { .. })
            }),
            ("[aliases]\n'a' = 'b'", |e| {
                matches!(e, ParseError::Alias { .. })
            }),
            ("[aliases]\n'a:1' = 'x.y/b'", |e| {
                matches!(e, ParseError::Alias { .. })
            }),
            ("[aliases]\n'a' = 'x.y/b:1'", |e| {
                matches!(e, ParseError::Alias { .. })
            }),
        ];
        for (text, check) in cases {
            let error = Document::parse(text).unwrap_err();
            assert!(check(&error), "{text}: {error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r#"((\[\[registry(\.mirror)?\]\]|\[aliases\]|prefix|location|insecure|blocked|aliases)(=("[a-z*./:@]{0,12}"|true|\[\]|3))?\n){0,8}.{0,20}"#) {
            if let Ok(document) = Document::parse(&text) {
                let mut all = super::super::Registries::default();
                all.overlay(document);
                drop(all.resolve("a/b:c"));
                drop(all.resolve("x.y/b"));
            }
        }
    }
}
