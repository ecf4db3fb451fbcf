//! The files that Cove writes for an instance: `hosts`, `hostname` and
//! `resolv.conf`. Its root may write to them, as much as it wants: so they lie
//! with its own layer, not on the small filesystem below `/run` that the whole
//! host needs.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use cove_model::instance::{InstanceSpec, NetworkMode};

use crate::error::{Error, Result};

/// The host's resolver file is small; what is longer is cut off.
const MAX_HOST_FILE: u64 = 1 << 20;

/// Writes the files into `directory`.
///
/// # Errors
/// When one cannot be written.
pub(super) fn write(directory: &Path, spec: &InstanceSpec) -> Result<()> {
    let host = |path: &str| cove_sys::fs::read_to_string(Path::new(path), MAX_HOST_FILE);
    let shares_network = spec.network == NetworkMode::Host;
    let hosts = if shares_network {
        host("/etc/hosts").unwrap_or_default()
    } else {
        hosts(spec)
    };
    let resolver = resolver(spec, &host("/etc/resolv.conf").unwrap_or_default());
    for (name, text) in [
        ("hosts", with_extra_hosts(hosts, &spec.extra_hosts)),
        ("hostname", format!("{}\n", spec.hostname)),
        ("resolv.conf", resolver),
    ] {
        let path = directory.join(name);
        write_readable(&path, &text).map_err(|source| Error::File {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(())
}

/// Everybody in the instance reads these, whatever our umask is.
fn write_readable(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn hosts(spec: &InstanceSpec) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\n\
                    ff00::0\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    if !spec.hostname.is_empty() {
        // Without a network of its own the instance finds itself on loopback.
        let domain = match spec.domainname.as_str() {
            "" => String::new(),
            domain => format!("{}.{domain} ", spec.hostname),
        };
        let _infallible = writeln!(text, "127.0.1.1\t{domain}{}", spec.hostname);
    }
    text
}

fn with_extra_hosts(mut text: String, extra: &[String]) -> String {
    for entry in extra {
        if let Some((name, address)) = entry.split_once([':', '=']) {
            let _infallible = writeln!(text, "{}\t{name}", address.trim_matches(['[', ']']));
        }
    }
    text
}

/// The host's resolver settings, each kind replaced by the user's if given.
fn resolver(spec: &InstanceSpec, host: &str) -> String {
    let mut text = String::new();
    for (keyword, given) in [
        ("nameserver", &spec.dns),
        ("search", &spec.dns_search),
        ("options", &spec.dns_options),
    ] {
        if given.is_empty() {
            for line in host.lines() {
                let mut words = line.split_whitespace();
                let found = words.next();
                if found == Some(keyword) || (keyword == "search" && found == Some("domain")) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        } else if keyword == "nameserver" {
            for server in given {
                let _infallible = writeln!(text, "nameserver {server}");
            }
        } else if given.as_slice() != ["."] {
            // A single dot asks for no search list, as with Docker.
            let _infallible = writeln!(text, "{keyword} {}", given.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_resolver_is_used_unless_the_user_says_otherwise() {
        let host = "# comment\nnameserver 10.0.0.1\nsearch a.example\noptions ndots:2\n";
        let mut spec = InstanceSpec::default();
        assert_eq!(
            resolver(&spec, host),
            "nameserver 10.0.0.1\nsearch a.example\noptions ndots:2\n"
        );
        spec.dns = vec!["1.1.1.1".to_owned(), "::1".to_owned()];
        spec.dns_search = vec![".".to_owned()];
        assert_eq!(
            resolver(&spec, host),
            "nameserver 1.1.1.1\nnameserver ::1\noptions ndots:2\n"
        );
    }

    #[test]
    fn extra_hosts_come_last() {
        let text = with_extra_hosts(
            "x\n".to_owned(),
            &["db:10.0.0.2".to_owned(), "v6:[::1]".to_owned()],
        );
        assert_eq!(text, "x\n10.0.0.2\tdb\n::1\tv6\n");
    }
}
