//! Applies the configuration to an image name.

use std::net::IpAddr;

use cove_model::reference::DEFAULT_REGISTRY;
use cove_model::{Reference, ReferenceError};

use super::{PullFromMirror, Registries, Registry, ShortNameMode};

/// Where the content of Docker Hub is served.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How a registry may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemePolicy {
    /// Verified TLS only.
    HttpsOnly,
    /// TLS with any certificate, else plain HTTP: loopback and `insecure` registries.
    HttpsThenHttp,
}

/// A place to ask for an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// What to ask for; with a tag or a digest, or both (the digest counts).
    pub reference: Reference,
    /// `host[:port]` to connect to.
    pub host: String,
    /// How to speak to it.
    pub policy: SchemePolicy,
}

/// One place in the order in which an image is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The full name that the image has, wherever it comes from.
    pub name: Reference,
    /// Where to ask.
    pub endpoint: Endpoint,
    /// Whether this is a mirror of the registry that the name says.
    pub mirror: bool,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The text is no image name. Docker's words.
    #[error(transparent)]
    Reference(ReferenceError),
    /// The configuration forbids the registry.
    #[error("registry {registry} is blocked in registries.conf (image {name})")]
    Blocked {
        /// The prefix that is blocked.
        registry: String,
        /// The image.
        name: String,
    },
    /// A short name, and the list of search registries is empty.
    #[error(
        "short-name \"{0}\" did not resolve to an alias and no unqualified-search registries are defined in registries.conf"
    )]
    NoSearch(String),
    /// A short name, several search registries and `short-name-mode = "enforcing"`.
    #[error(
        "short-name \"{name}\" is ambiguous between {registries} and short-name-mode is enforcing; write the registry"
    )]
    Ambiguous {
        /// The short name.
        name: String,
        /// The registries it could be in.
        registries: String,
    },
    /// A location that makes no valid name.
    #[error("the location \"{location}\" in registries.conf gives {name} no valid name")]
    Location {
        /// The location.
        location: String,
        /// The image.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
}

impl Registries {
    /// The places to ask for an image, in order: mirrors before their
    /// registry, search registries in their order. A name without tag and
    /// digest means `latest`. A short name goes to its alias, else to the
    /// search registries, else (no file says otherwise) to Docker Hub.
    ///
    /// # Errors
    /// When the text is no name, or the configuration forbids or confuses it.
    pub fn resolve(&self, text: &str) -> Result<Vec<Candidate>, ResolveError> {
        let parsed = Reference::parse_docker(text).map_err(ResolveError::Reference)?;
        let mut candidates = Vec::new();
        let mut blocked = None;
        for name in self.full_names(text, &parsed)? {
            match self.places(&name.with_default_tag(), &mut candidates) {
                // Another search registry may be allowed.
                Err(error @ ResolveError::Blocked { .. }) => {
                    blocked.get_or_insert(error);
                }
                other => other?,
            }
        }
        match blocked {
            Some(error) if candidates.is_empty() => Err(error),
            _ => Ok(candidates),
        }
    }

    /// Where a login to a registry goes, and how it may be spoken to. Mirrors
    /// and locations are not looked at: credentials are the registry's own.
    #[must_use]
    pub fn login_endpoint(&self, registry: &str) -> (String, SchemePolicy) {
        let registry = match registry {
            "" | "index.docker.io" | DOCKER_HUB => DEFAULT_REGISTRY,
            registry => registry,
        };
        let place = format!("{registry}/");
        let covers = |entry: &&Registry| match_prefix(&place, &entry.prefix).is_some();
        let entry = self
            .registries
            .iter()
            .filter(covers)
            .max_by_key(|entry| entry.prefix.len());
        let host = host_of(registry).to_owned();
        let policy = policy_of(&host, entry.is_some_and(|entry| entry.insecure));
        (host, policy)
    }

    fn full_names(&self, text: &str, parsed: &Reference) -> Result<Vec<Reference>, ResolveError> {
        if !Reference::is_short(text) {
            return Ok(vec![parsed.clone()]);
        }
        let short = short_path(text);
        let relocate = |registry: &str, path: &str| {
            parsed
                .relocated(registry, path)
                .map_err(|source| ResolveError::Location {
                    location: registry.to_owned(),
                    name: text.to_owned(),
                    source,
                })
        };
        if self.mode != ShortNameMode::Disabled
            && let Some(target) = self.aliases.get(short)
        {
            let target = Reference::parse_docker(target).map_err(ResolveError::Reference)?;
            return Ok(vec![relocate(target.registry(), target.repository())?]);
        }
        let Some(search) = &self.search else {
            return Ok(vec![parsed.clone()]);
        };
        if search.is_empty() {
            return Err(ResolveError::NoSearch(short.to_owned()));
        }
        if search.len() > 1 && self.mode == ShortNameMode::Enforcing {
            return Err(ResolveError::Ambiguous {
                name: short.to_owned(),
                registries: search.join(", "),
            });
        }
        let within = |place: &String| match place.split_once('/') {
            _ if place == DEFAULT_REGISTRY => Ok(parsed.clone()),
            None => relocate(place, short),
            Some((registry, path)) => relocate(registry, &format!("{path}/{short}")),
        };
        search.iter().map(within).collect()
    }

    fn places(&self, name: &Reference, out: &mut Vec<Candidate>) -> Result<(), ResolveError> {
        let full = name.to_string();
        let best = self
            .registries
            .iter()
            .filter_map(|registry| Some((match_prefix(&full, &registry.prefix)?, registry)))
            .max_by_key(|(_, registry)| registry.prefix.len());
        let Some((matched, registry)) = best else {
            out.push(candidate(name, name.clone(), false, false));
            return Ok(());
        };
        if registry.blocked {
            return Err(ResolveError::Blocked {
                registry: registry.prefix.clone(),
                name: full,
            });
        }
        let wanted = |pull: PullFromMirror| match pull {
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => name.digest().is_some(),
            PullFromMirror::TagOnly => name.digest().is_none(),
        };
        for mirror in registry.mirrors.iter().filter(|mirror| wanted(mirror.pull)) {
            let reference = rewrite(name, &full, matched, &mirror.location)?;
            out.push(candidate(name, reference, mirror.insecure, true));
        }
        let reference = own_location(name, &full, matched, registry)?;
        out.push(candidate(name, reference, registry.insecure, false));
        Ok(())
    }
}

/// Whether a `host[:port]` is this machine: `localhost`, 127.0.0.0/8 or ::1.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

fn candidate(name: &Reference, reference: Reference, insecure: bool, mirror: bool) -> Candidate {
    let host = host_of(reference.registry()).to_owned();
    let policy = policy_of(&host, insecure);
    Candidate {
        name: name.clone(),
        endpoint: Endpoint {
            reference,
            host,
            policy,
        },
        mirror,
    }
}

fn host_of(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY {
        DOCKER_HUB
    } else {
        registry
    }
}

fn policy_of(host: &str, insecure: bool) -> SchemePolicy {
    if insecure || is_loopback(host) {
        SchemePolicy::HttpsThenHttp
    } else {
        SchemePolicy::HttpsOnly
    }
}

fn own_location(
    name: &Reference,
    full: &str,
    matched: usize,
    registry: &Registry,
) -> Result<Reference, ResolveError> {
    if registry.location.is_empty() || registry.location == registry.prefix {
        return Ok(name.clone());
    }
    rewrite(name, full, matched, &registry.location)
}

/// `full` with its first `matched` bytes replaced; tag and digest stay.
fn rewrite(
    name: &Reference,
    full: &str,
    matched: usize,
    location: &str,
) -> Result<Reference, ResolveError> {
    // The part of the repository that the prefix left over; tag and digest are the name's own.
    let rest = name.name().get(matched..).unwrap_or_default().to_owned();
    let place = format!("{location}{rest}");
    let (registry, repository) = place.split_once('/').unwrap_or((&place, ""));
    let hub_short = registry == DEFAULT_REGISTRY && !repository.contains('/');
    let repository = if hub_short {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    name.relocated(registry, &repository)
        .map_err(|source| ResolveError::Location {
            location: location.to_owned(),
            name: full.to_owned(),
            source,
        })
}

/// How many bytes of a full name a prefix covers, if it does.
fn match_prefix(full: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix("*.") {
        None => full.starts_with(prefix).then_some(prefix.len())?,
        Some(domain) => {
            // The label before the domain must not be empty, and the domain
            // has to lie in the host: `*.b.c` is not found in `x/a.b.c`.
            let host = full.split('/').next().unwrap_or_default();
            let path_at = domain.find('/').unwrap_or(domain.len());
            let at = host.find(&format!(".{}", &domain[..path_at]))?;
            let start = at + 1;
            (at > 0 && full[start..].starts_with(domain)).then_some(start + domain.len())?
        }
    };
    // A bare host is followed by a path: `example.com` is not `example.com:5000`.
    let next = full.as_bytes().get(end);
    let bare_host = !prefix.contains('/');
    match next {
        None | Some(b'/') => Some(end),
        Some(b':' | b'@') if !bare_host => Some(end),
        Some(_) => None,
    }
}

/// A short name without tag and digest, as aliases are written.
fn short_path(text: &str) -> &str {
    let text = text.split('@').next().unwrap_or(text);
    text.rsplit_once(':').map_or(text, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn resolve(conf: &str, text: &str) -> Result<Vec<Candidate>, ResolveError> {
        let mut all = Registries::default();
        all.overlay(Document::parse(conf).unwrap());
        all.resolve(text)
    }

    fn places(conf: &str, text: &str) -> Vec<String> {
        let mark = |policy| {
            if policy == SchemePolicy::HttpsOnly {
                ""
            } else {
                " insecure"
            }
        };
        resolve(conf, text)
            .unwrap()
            .iter()
            .map(|c| format!("{}{}", c.endpoint.reference, mark(c.endpoint.policy)))
            .collect()
    }

    #[test]
    fn without_configuration_names_mean_what_docker_means() {
        for (text, reference, host) in [
            ("busybox", "docker.io/library/busybox:latest", DOCKER_HUB),
            ("me/app:1", "docker.io/me/app:1", DOCKER_HUB),
            ("quay.io/a/b", "quay.io/a/b:latest", "quay.io"),
            ("x.io:444/a", "x.io:444/a:latest", "x.io:444"),
        ] {
            let found = Registries::default().resolve(text).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].endpoint.reference.to_string(), reference);
            assert_eq!(found[0].endpoint.host, host);
            assert_eq!(found[0].endpoint.policy, SchemePolicy::HttpsOnly);
        }
    }

    #[test]
    fn a_login_goes_to_the_registry_itself() {
        use SchemePolicy::{HttpsOnly, HttpsThenHttp};
        let conf = "[[registry]]\nlocation='a.b'\ninsecure=true\n[[registry]]\nprefix='c.d'\nlocation='e.f'\n[[registry]]\nlocation='g.h/x'\ninsecure=true";
        let mut all = Registries::default();
        all.overlay(Document::parse(conf).unwrap());
        for (registry, host, policy) in [
            ("docker.io", DOCKER_HUB, HttpsOnly),
            ("index.docker.io", DOCKER_HUB, HttpsOnly),
            ("a.b", "a.b", HttpsThenHttp),
            ("a.b:5000", "a.b:5000", HttpsOnly),
            ("c.d", "c.d", HttpsOnly),
            ("g.h", "g.h", HttpsOnly),
            ("localhost:5000", "localhost:5000", HttpsThenHttp),
        ] {
            assert_eq!(
                all.login_endpoint(registry),
                (host.to_owned(), policy),
                "{registry}"
            );
        }
    }

    #[test]
    fn loopback_is_recognized() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1",
            "127.8.9.1:5000",
            "[::1]:5000",
            "LOCALHOST",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.com",
            "128.0.0.1",
            "10.0.0.1:5000",
            "[::2]:1",
            "127.evil.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        assert_eq!(
            places("", "localhost:5000/a"),
            ["localhost:5000/a:latest insecure"]
        );
    }

    #[test]
    fn prefixes_are_replaced_and_mirrors_come_first() {
        let conf = r#"
            [[registry]]
            prefix = "example.com/foo"
            location = "in.example.com/bar"
            [[registry.mirror]]
            location = "m.local/x"
            insecure = true
            [[registry.mirror]]
            location = "d.local/y"
            pull-from-mirror = "digest-only"
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "hub.local"
            [[registry]]
            prefix = "*.wild.org"
            insecure = true
            [[registry]]
            prefix = "*.moved.org"
            location = "new.org/all"
            [[registry]]
            prefix = "to.hub"
            location = "docker.io"
        "#;
        assert_eq!(
            places(conf, "example.com/foo/a:1"),
            ["m.local/x/a:1 insecure", "in.example.com/bar/a:1"]
        );
        assert_eq!(
            places(conf, &format!("example.com/foo@sha256:{HEX}")),
            [
                format!("m.local/x@sha256:{HEX} insecure"),
                format!("d.local/y@sha256:{HEX}"),
                format!("in.example.com/bar@sha256:{HEX}"),
            ]
        );
        assert_eq!(
            places(conf, "busybox"),
            [
                "hub.local/library/busybox:latest",
                "docker.io/library/busybox:latest"
            ]
        );
        assert_eq!(places(conf, "a.wild.org/x:1"), ["a.wild.org/x:1 insecure"]);
        assert_eq!(places(conf, "wild.org/x:1"), ["wild.org/x:1"]);
        assert_eq!(places(conf, "a.b.moved.org/x:1"), ["new.org/all/x:1"]);
        assert_eq!(
            places(conf, "example.com/foobar:1"),
            ["example.com/foobar:1"]
        );
        assert_eq!(
            places(conf, "to.hub/busybox:1"),
            ["docker.io/library/busybox:1"]
        );
    }

    #[test]
    fn the_longest_prefix_counts_and_a_port_is_another_host() {
        let conf = "[[registry]]\nlocation='a.b'\nblocked=true\n[[registry]]\nlocation='a.b/ok'";
        assert!(matches!(
            resolve(conf, "a.b/x"),
            Err(ResolveError::Blocked { .. })
        ));
        assert_eq!(places(conf, "a.b/ok/x:1"), ["a.b/ok/x:1"]);
        assert_eq!(places(conf, "a.b:5000/x:1"), ["a.b:5000/x:1"]);
        let tag = "[[registry]]\nprefix='a.b/x:bad'\nlocation='a.b/x'\nblocked=true";
        assert!(matches!(
            resolve(tag, "a.b/x:bad"),
            Err(ResolveError::Blocked { .. })
        ));
        assert_eq!(places(tag, "a.b/x:bad2"), ["a.b/x:bad2"]);
    }

    #[test]
    fn short_names_follow_aliases_then_search_registries() {
        let conf = "unqualified-search-registries=['q.io','docker.io','n.io/ns']\n[aliases]\n'fedora'='f.org/fedora'\n'a/b'='x.io/y'";
        assert_eq!(places(conf, "fedora:39"), ["f.org/fedora:39"]);
        assert_eq!(places(conf, "a/b"), ["x.io/y:latest"]);
        assert_eq!(
            places(conf, "busybox"),
            [
                "q.io/busybox:latest",
                "docker.io/library/busybox:latest",
                "n.io/ns/busybox:latest"
            ]
        );
        assert_eq!(
            places(conf, "docker.io/fedora:1"),
            ["docker.io/library/fedora:1"]
        );
        let block = |host: &str| format!("[[registry]]\nlocation='{host}'\nblocked=true\n");
        let one = format!("{conf}\n{}", block("q.io"));
        assert_eq!(places(&one, "busybox").len(), 2);
        let all: String = ["q.io", "docker.io", "n.io"].map(block).concat();
        assert!(matches!(
            resolve(&format!("{conf}\n{all}"), "busybox"),
            Err(ResolveError::Blocked { registry, .. }) if registry == "q.io"
        ));
        let enforcing = format!("short-name-mode='enforcing'\n{conf}");
        assert!(matches!(
            resolve(&enforcing, "busybox"),
            Err(ResolveError::Ambiguous { .. })
        ));
        assert_eq!(places(&enforcing, "fedora"), ["f.org/fedora:latest"]);
        let none = "unqualified-search-registries=[]";
        assert!(matches!(
            resolve(none, "busybox"),
            Err(ResolveError::NoSearch(_))
        ));
        let disabled = format!("short-name-mode='disabled'\n{conf}");
        assert_eq!(places(&disabled, "fedora:1")[0], "q.io/fedora:1");
    }
}
