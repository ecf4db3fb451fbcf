//! Ports as an image or a container's flags name them: `80`, `80-90/udp`,
//! `127.0.0.1:8080:80`.

use std::net::IpAddr;

/// The ports of a container that a text names, as `80/tcp`. What it says of
/// the host's is checked and left out: who listens does not say where.
///
/// # Errors
/// Docker's words.
pub fn exposed(text: &str) -> Result<Vec<String>, String> {
    let (host, container) = match text.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, text),
    };
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let (first, last) =
        self::range(range).ok_or_else(|| format!("invalid containerPort: {range}"))?;
    if let Some(host) = host {
        host_side(host, range, last - first)?;
    }
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    let lower = protocol.to_ascii_lowercase();
    if !matches!(lower.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{lower}"))
        .collect())
}

/// A port, or the first and last of several.
fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        // No sign, which Rust would take.
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

/// `port`, `address:port` or `address:` in front of a container's ports.
fn host_side(host: &str, container: &str, more: u16) -> Result<(), String> {
    let (address, ports) = host.rsplit_once(':').unwrap_or(("", host));
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    if ports.is_empty() {
        return Ok(());
    }
    let (first, last) = range(ports).ok_or_else(|| format!("invalid hostPort: {ports}"))?;
    if more != 0 && last - first != more {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {ports}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, ports) in [
            ("80", &["80/tcp"][..]),
            ("80/", &["80/tcp"]),
            ("80-81/UDP", &["80/udp", "81/udp"]),
            ("8080:80/Sctp", &["80/sctp"]),
            ("127.0.0.1::80", &["80/tcp"]),
            ("[::1]:1-2:80-81", &["80/tcp", "81/tcp"]),
            ("1-5:80", &["80/tcp"]),
        ] {
            assert_eq!(exposed(text).unwrap(), ports, "{text}");
        }
        for (text, message) in [
            ("", "no port specified: <empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("x", "invalid containerPort: x"),
            ("+80", "invalid containerPort: +80"),
            ("70000", "invalid containerPort: 70000"),
            ("9-8", "invalid containerPort: 9-8"),
            ("x:80", "invalid hostPort: x"),
            ("1.2.3:1:80", "invalid IP address: 1.2.3"),
            ("1:80/icmp", "invalid proto: icmp"),
            (
                "1-2:80-85",
                "invalid ranges specified for container and host Ports: 80-85 and 1-2",
            ),
        ] {
            assert_eq!(exposed(text).unwrap_err(), message, "{text}");
        }
    }
}
