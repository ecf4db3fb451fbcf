//! Device nodes as `/dev/x:/dev/y:rwm` and rules as `c 1:3 rwm`.

use cove_model::instance::DeviceMapping;

/// One device.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, container] => (*host, *container, "rwm"),
        [host, container, mode] if is_mode(mode) => (*host, *container, *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if host.is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    let container = if container.is_empty() {
        host
    } else {
        container
    };
    if !container.starts_with('/') {
        return Err(format!("{container} is not an absolute path"));
    }
    Ok(DeviceMapping {
        host: host.into(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

fn is_mode(text: &str) -> bool {
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    !text.is_empty() && letters.len() == text.len() && letters.iter().all(|c| "rwm".contains(*c))
}

/// Whether a text is a rule of the device filter.
///
/// # Errors
/// Docker's words.
pub(crate) fn check_rule(text: &str) -> Result<(), String> {
    let invalid = || format!("invalid device cgroup format '{text}'");
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words.as_slice() else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()));
    let good = matches!(*kind, "a" | "b" | "c")
        && number(major)
        && number(minor)
        && (1..=3).contains(&access.len())
        && access.chars().all(|c| "rwm".contains(c));
    if good { Ok(()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for (text, host, container, permissions) in [
            ("/dev/null", "/dev/null", "/dev/null", "rwm"),
            ("/dev/null:r", "/dev/null", "/dev/null", "r"),
            ("/dev/null:/dev/x", "/dev/null", "/dev/x", "rwm"),
            ("/dev/null:/dev/x:rw", "/dev/null", "/dev/x", "rw"),
        ] {
            let device = parse(text).unwrap();
            assert_eq!(device.host.to_str(), Some(host));
            assert_eq!(
                (device.container.as_str(), device.permissions.as_str()),
                (container, permissions)
            );
        }
        for (text, message) in [
            ("/dev/null:/dev/x:q", "bad mode specified: q"),
            ("a:b:c:d", "bad format for path: a:b:c:d"),
            ("/dev/null:xx", "xx is not an absolute path"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }

    #[test]
    fn rules() {
        for good in ["c 1:3 rwm", "b 8:* r", "a *:* rwm"] {
            assert_eq!(check_rule(good), Ok(()), "{good}");
        }
        for bad in [
            "xx",
            "c 1:3",
            "d 1:3 r",
            "c 1 r",
            "c 1:x r",
            "c 1:3 rwmr",
            "c 1:3 x",
        ] {
            assert_eq!(
                check_rule(bad).unwrap_err(),
                format!("invalid device cgroup format '{bad}'")
            );
        }
    }
}
