//! The few URLs that a registry client follows: absolute, http or https, no
//! user information.

use std::fmt;
use std::net::IpAddr;

/// An absolute URL, always valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether the scheme is https.
    pub(crate) tls: bool,
    /// Lower case; an IPv6 address without its brackets.
    pub(crate) host: String,
    /// The port, the scheme's default filled in.
    pub(crate) port: u16,
    /// Path and query, with the leading slash and without the fragment.
    pub(crate) path: String,
}

impl Url {
    /// The URL of a path on a `host[:port]`.
    pub(crate) fn of(tls: bool, authority: &str, path: &str) -> Option<Self> {
        let (host, port) = authority_parts(authority)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Some(Self {
            tls,
            host,
            port,
            path: clean_path(path)?,
        })
    }

    /// Reads an absolute URL.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Self::of(tls, authority, &path)
    }

    /// Follows a `Location` header.
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme()));
        }
        if location.starts_with('/') {
            return Some(Self {
                path: clean_path(location)?,
                ..self.clone()
            });
        }
        // A colon before any slash or question mark ends a scheme.
        if location.find(':') < Some(location.find(['/', '?', '#']).unwrap_or(location.len()))
            && location.contains(':')
        {
            return Self::parse(location);
        }
        let base = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('?') {
            format!("{base}{location}")
        } else {
            let directory = &base[..=base.rfind('/')?];
            format!("{directory}{location}")
        };
        Some(Self {
            path: clean_path(&path)?,
            ..self.clone()
        })
    }

    /// Adds a parameter to the query, encoded.
    pub(crate) fn push_query(&mut self, key: &str, value: &str) {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(&encode(key));
        self.path.push('=');
        self.path.push_str(&encode(value));
    }

    /// Whether a credential for one may go to the other.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.tls == other.tls && self.host == other.host && self.port == other.port
    }

    /// `https` or `http`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// `host[:port]` as registries and certificates directories are named.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            _ => format!("{host}:{}", self.port),
        }
    }

    /// The host as an address, if it is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

/// A URL for messages: queries carry signatures, which logs must not hold.
pub(crate) fn without_query(url: &Url) -> String {
    let path = url.path.split('?').next().unwrap_or_default();
    format!("{}://{}{path}", url.scheme(), url.authority())
}

/// Percent-encoding of everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn authority_parts(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (
                address,
                after.strip_prefix(':').or(after.is_empty().then_some("")),
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let port = match port? {
        "" => None,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    let label = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let named = authority.starts_with('[') || host.bytes().all(label);
    let host = host.to_ascii_lowercase();
    (named && !host.is_empty() && port != Some(0)).then_some((host, port))
}

/// Without the fragment; nothing that could end the request line.
fn clean_path(path: &str) -> Option<String> {
    let path = path.split('#').next().unwrap_or_default();
    path.bytes()
        .all(|b| b.is_ascii_graphic())
        .then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_back_in_normal_form() {
        for (text, normal) in [
            ("https://A.b/c?d=e#f", "https://a.b/c?d=e"),
            ("http://a.b:80", "http://a.b/"),
            ("https://a.b:80?x", "https://a.b:80/?x"),
            ("https://[::1]:5000/v2/", "https://[::1]:5000/v2/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), normal);
        }
        for bad in [
            "",
            "a.b/c",
            "ftp://a.b",
            "https://",
            "https://u:p@a.b/",
            "https://a.b:x/",
            "https://a.b:0/",
            "https://a b/",
            "https://a.b/\r\nX: y",
            "https://[::1/",
            "https://[x]/",
            "https://a.b:99999/",
        ] {
            assert!(Url::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn locations_are_followed() {
        let base = Url::parse("https://a.b:444/v2/x/blobs/y?z=1").unwrap();
        for (location, target) in [
            ("https://c.d/e", "https://c.d/e"),
            ("//c.d/e", "https://c.d/e"),
            ("/e?f", "https://a.b:444/e?f"),
            ("w?q=http://n", "https://a.b:444/v2/x/blobs/w?q=http://n"),
            ("?k=1", "https://a.b:444/v2/x/blobs/y?k=1"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), target);
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let base = Url::parse("https://a.b/x").unwrap();
        assert!(base.same_origin(&Url::parse("https://A.B:443/y").unwrap()));
        for other in [
            "http://a.b/x",
            "https://a.b:444/x",
            "https://b.a.b/x",
            "http://a.b:443/",
        ] {
            assert!(!base.same_origin(&Url::parse(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        let mut url = Url::parse("https://a.b/token?x=1").unwrap();
        url.push_query("scope", "repository:a/b:pull");
        assert_eq!(url.path, "/token?x=1&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(without_query(&url), "https://a.b/token");
    }
}
