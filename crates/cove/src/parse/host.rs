//! Hosts and name servers: `name:address`, addresses, search domains.

use std::net::IpAddr;

use cove_model::go::quote;

/// A line of `/etc/hosts` as `name:address`.
///
/// # Errors
/// Docker's words.
pub(crate) fn add_host(text: &str) -> Result<String, String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("bad format for add-host: {}", quote(text)))?;
    if address == "host-gateway" {
        return Err(
            "host-gateway needs a bridge network, which this release does not have".to_owned(),
        );
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if bare.parse::<IpAddr>().is_err() {
        return Err(format!(
            "invalid IP address in add-host: {}",
            quote(address)
        ));
    }
    Ok(format!("{name}:{bare}"))
}

/// Whether a text is the address of a name server.
///
/// # Errors
/// Docker's words.
pub(crate) fn check_address(text: &str) -> Result<(), String> {
    match text.trim().parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// Whether a text is a search domain; `.` is the empty one.
///
/// # Errors
/// Docker's words.
pub(crate) fn check_domain(text: &str) -> Result<(), String> {
    let text = text.trim();
    let part = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        part.len() <= 63
            && edge(part.chars().next())
            && edge(part.chars().last())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if text == "." || (name.len() < 255 && name.split('.').all(part)) {
        return Ok(());
    }
    Err(format!("{text} is not a valid domain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, want) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=1.2.3.4", "a:1.2.3.4"),
            ("a:::1", "a:::1"),
            ("a:[::1]", "a:::1"),
        ] {
            assert_eq!(add_host(text).unwrap(), want);
        }
        for (text, message) in [
            ("foo", "bad format for add-host: \"foo\""),
            ("a:b", "invalid IP address in add-host: \"b\""),
            (":1.2.3.4", "bad format for add-host: \":1.2.3.4\""),
        ] {
            assert_eq!(add_host(text).unwrap_err(), message);
        }
        assert_eq!(
            check_address("foo").unwrap_err(),
            "IP address is not correctly formatted: foo"
        );
        assert_eq!(check_domain("$$").unwrap_err(), "$$ is not a valid domain");
        for good in [".", "example.com", "a-b.c."] {
            assert_eq!(check_domain(good), Ok(()));
        }
    }
}
