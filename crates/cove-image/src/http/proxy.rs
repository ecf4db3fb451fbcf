//! Which proxy a URL is asked through, by the usual variables.

use std::net::IpAddr;

use super::url::Url;
use crate::environment::Environment;
use crate::registries::is_loopback;

/// The proxy's URL, `None` for a direct connection. This machine is always
/// asked directly.
pub(crate) fn for_url<'a>(url: &Url, environment: &'a Environment) -> Option<&'a str> {
    let exemptions = environment.no_proxy.as_deref().unwrap_or_default();
    if is_loopback(&url.authority()) || exempt(url, exemptions) {
        return None;
    }
    let own = if url.tls {
        &environment.https_proxy
    } else {
        &environment.http_proxy
    };
    own.as_deref().or(environment.all_proxy.as_deref())
}

/// `*`, hosts with their subdomains, addresses and CIDR ranges, each with an
/// optional port.
fn exempt(url: &Url, list: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            if let (Some(address), Some((network, bits))) = (url.address(), entry.split_once('/')) {
                return in_network(address, network, bits);
            }
            let entry = entry.to_ascii_lowercase();
            let (host, port) = match entry.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                    (host, Some(port))
                }
                _ => (entry.as_str(), None),
            };
            if port.is_some_and(|port| port.parse() != Ok(url.port)) {
                return false;
            }
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if let Ok(address) = host.parse::<IpAddr>() {
                return url.address() == Some(address);
            }
            let only_below = host.starts_with('.');
            let domain = host.trim_start_matches("*.").trim_start_matches('.');
            let below = url
                .host
                .strip_suffix(domain)
                .is_some_and(|front| front.ends_with('.'));
            below || (!only_below && url.host == domain)
        })
}

fn in_network(address: IpAddr, network: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else {
        return false;
    };
    match (address, network.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(n))) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        (IpAddr::V6(a), Ok(IpAddr::V6(n))) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (a.to_bits() ^ n.to_bits()) & mask == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_chosen_by_scheme_and_exemption() {
        let environment = Environment {
            http_proxy: Some("http://plain".to_owned()),
            https_proxy: Some("http://secure".to_owned()),
            all_proxy: Some("http://all".to_owned()),
            no_proxy: Some("a.b, .c.d,10.0.0.0/8, [fd00::1]:444 ,e.f:8080, *.g.h".to_owned()),
            ..Environment::default()
        };
        for (url, expected) in [
            ("https://x.y/", Some("http://secure")),
            ("http://x.y/", Some("http://plain")),
            ("https://a.b/", None),
            ("https://sub.a.b/", None),
            ("https://xa.b/", Some("http://secure")),
            ("https://c.d/", Some("http://secure")),
            ("https://x.c.d/", None),
            ("https://10.9.8.7/", None),
            ("https://11.9.8.7/", Some("http://secure")),
            ("https://[fd00::1]:444/", None),
            ("https://[fd00::1]/", Some("http://secure")),
            ("http://e.f:8080/", None),
            ("http://e.f/", Some("http://plain")),
            ("http://x.g.h/", None),
            ("http://localhost:5000/", None),
            ("http://127.0.0.1:5000/", None),
        ] {
            assert_eq!(
                for_url(&Url::parse(url).unwrap(), &environment),
                expected,
                "{url}"
            );
        }
        let all = Environment {
            all_proxy: Some("p".to_owned()),
            ..Environment::default()
        };
        let url = Url::parse("https://x.y/").unwrap();
        assert_eq!(for_url(&url, &all), Some("p"));
        let none = Environment {
            no_proxy: Some("*".to_owned()),
            ..all
        };
        assert_eq!(for_url(&url, &none), None);
    }
}
