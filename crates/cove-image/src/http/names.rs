//! Host names to addresses: `/etc/hosts` first, then DNS as resolv.conf says.
//!
//! A static glibc has no name services, so both are read here. Addresses
//! that only mean something on the link (cloud metadata services live there)
//! are refused for hosts that a registry, not the user, has named.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::Resolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::NextTimeout;

use crate::environment::Environment;
use crate::files;

/// How long an answer is used again: long enough for the layers of one pull.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    /// A file of the system cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The resolver cannot be set up.
    #[error("cannot start the resolver")]
    Start(#[source] io::Error),
    /// DNS gives no address. What the library says of it is for those who
    /// know its records and queries, so it is kept but not shown.
    #[error("cannot resolve {host}: {}", reason(cause))]
    Dns {
        /// The name.
        host: String,
        /// What DNS said.
        cause: NetError,
    },
    /// There is an answer without any address.
    #[error("cannot resolve {0}: it has no address")]
    Empty(String),
    /// DNS took too long.
    #[error("cannot resolve {0}: the name servers do not answer in time")]
    Timeout(String),
    /// The name leads where a registry must not send us.
    #[error(
        "{host} is {address}, an address of this link or of a metadata service, which no registry may redirect to"
    )]
    Forbidden {
        /// The name.
        host: String,
        /// Its address.
        address: IpAddr,
    },
}

impl NameError {
    /// Whether DNS may answer a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Dns { cause, .. } => !cause.is_nx_domain(),
            Self::Read { .. } | Self::Start(_) | Self::Empty(_) | Self::Forbidden { .. } => false,
        }
    }
}

/// An answer of DNS in a few words.
fn reason(cause: &NetError) -> &'static str {
    if cause.is_nx_domain() {
        "no such host"
    } else if cause.is_no_records_found() {
        "it has no address"
    } else {
        "the name servers give no answer"
    }
}

/// Looks names up; shared by all connections.
#[derive(Debug)]
pub(crate) struct Names {
    hosts: PathBuf,
    resolv: PathBuf,
    remembered: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Names {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self {
            hosts: environment.system("etc/hosts"),
            resolv: environment.system("etc/resolv.conf"),
            remembered: Mutex::default(),
        }
    }

    /// The addresses of a host, IPv4 first.
    pub(crate) fn lookup(&self, host: &str, within: Duration) -> Result<Vec<IpAddr>, NameError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let found = self.in_hosts(host).map_err(|source| NameError::Read {
            path: self.hosts.clone(),
            source,
        })?;
        if !found.is_empty() {
            return Ok(found);
        }
        // RFC 6761: never asked of DNS, where it could be anything.
        if host.eq_ignore_ascii_case("localhost")
            || host.to_ascii_lowercase().ends_with(".localhost")
        {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if let Some((since, found)) = self.memory().get(host)
            && since.elapsed() < REMEMBERED
        {
            return Ok(found.clone());
        }
        let found = self.ask(host, within)?;
        self.memory()
            .insert(host.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Vec<IpAddr>)>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Line by line: lists of blocked hosts are long.
    fn in_hosts(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match File::open(&self.hosts) {
            Ok(file) => in_hosts(BufReader::new(file), host),
            Err(error) if files::absent(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn ask(&self, host: &str, within: Duration) -> Result<Vec<IpAddr>, NameError> {
        let text = files::read_bytes(&self.resolv)
            .map_err(|source| NameError::Read {
                path: self.resolv.clone(),
                source,
            })?
            .unwrap_or_default();
        // Without any server named, the resolver's manual says: this machine.
        let text = String::from_utf8_lossy(&text);
        let parsed =
            parse_resolv_conf(&*text).or_else(|_| parse_resolv_conf("nameserver 127.0.0.1"));
        let dns = |cause| NameError::Dns {
            host: host.to_owned(),
            cause,
        };
        let (config, mut options) = parsed.map_err(dns)?;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(NameError::Start)?;
        let resolver = {
            let _context = runtime.enter();
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options)
                .build()
                .map_err(dns)?
        };
        let answer = runtime
            .block_on(async { tokio::time::timeout(within, resolver.lookup_ip(host)).await });
        let answer = answer
            .map_err(|_| NameError::Timeout(host.to_owned()))?
            .map_err(dns)?;
        let mut found: Vec<IpAddr> = answer.iter().collect();
        found.sort_by_key(IpAddr::is_ipv6);
        if found.is_empty() {
            return Err(NameError::Empty(host.to_owned()));
        }
        Ok(found)
    }
}

/// Gives ureq addresses; one per trust.
pub(crate) struct HostResolver {
    pub(crate) names: Arc<Names>,
    /// Whether the user has named the host (then any address is fine).
    pub(crate) trusted: bool,
}

impl fmt::Debug for HostResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostResolver")
            .field("trusted", &self.trusted)
            .finish_non_exhaustive()
    }
}

impl UreqResolver for HostResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri
            .port_u16()
            .unwrap_or(if uri.scheme_str() == Some("http") {
                80
            } else {
                443
            });
        let limit = Duration::from_secs(20).min(*timeout.after);
        let fail = |error| ureq::Error::Io(io::Error::other(error));
        let found = self.names.lookup(host, limit).map_err(fail)?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(16) {
            if !self.trusted && is_link_only(address) {
                return Err(fail(NameError::Forbidden {
                    host: host.to_owned(),
                    address,
                }));
            }
            addresses.push(SocketAddr::new(address, port));
        }
        Ok(addresses)
    }
}

/// Link-local addresses and the metadata services of clouds beyond them.
pub(crate) fn is_link_only(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || matches!(
                    v4.octets(),
                    [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192]
                )
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// The addresses that a hosts(5) text gives a name. Comments may be in any
/// encoding.
fn in_hosts(text: impl BufRead, host: &str) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in text.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::transport::TransportError;

    #[test]
    fn hosts_are_read() {
        let text = b"::1 localhost\n127.0.0.1 localhost # \xe9\n10.0.0.1\treg.local Reg2 #reg3\nbad reg.local\n";
        let shown = |host| {
            in_hosts(&text[..], host)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(shown("REG.local"), ["10.0.0.1"]);
        assert_eq!(shown("reg2"), ["10.0.0.1"]);
        assert!(shown("reg3").is_empty() && shown("10.0.0.1").is_empty());
    }

    #[test]
    fn literals_hosts_and_localhost_need_no_dns() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let blocked = "0.0.0.0 ads.test # \u{e9}\n".repeat(250_000);
        let hosts = format!("{blocked}10.1.2.3 reg.test\n");
        std::fs::write(root.path().join("etc/hosts"), hosts).unwrap();
        let names = Names::new(&Environment::beneath(root.path()));
        for (host, first) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
            ("reg.test", "10.1.2.3"),
            ("a.localhost", "127.0.0.1"),
        ] {
            let found = names.lookup(host, Duration::ZERO).unwrap();
            assert_eq!(found[0].to_string(), first, "{host}");
        }
    }

    #[test]
    fn dns_is_asked_where_resolv_conf_says() {
        // resolv.conf cannot name a port, so only the failure is seen: nothing listens there.
        let root = tempfile::tempdir().unwrap();
        files::put(
            &root.path().join("etc/resolv.conf"),
            "nameserver 127.0.0.254\noptions timeout:1 attempts:1\n",
        );
        let names = Names::new(&Environment::beneath(root.path()));
        let error = names
            .lookup("reg.test", Duration::from_secs(5))
            .unwrap_err();
        assert!(
            matches!(error, NameError::Dns { .. } | NameError::Timeout(_)),
            "{error}"
        );
        // What was downloading goes on when DNS is back.
        assert!(error.is_transient(), "{error}");
        let words = cove_model::error::sentence(&error);
        assert!(words.starts_with("cannot resolve reg.test: the name servers give no answer"));
        assert!(
            !words.contains("io error") && !words.contains("proto"),
            "{words}"
        );
    }

    /// A name server that gives every question the same code and no record.
    fn server(address: &str, code: u8) -> std::thread::JoinHandle<()> {
        let socket = std::net::UdpSocket::bind((address, 53)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            // IPv4 and IPv6 are asked for; whoever asks more waits for nobody.
            for _ in 0..2 {
                let Ok((length, peer)) = socket.recv_from(&mut packet) else {
                    return;
                };
                packet[2] |= 0x80;
                packet[3] = 0x80 | code;
                // No extension of the question's is taken up.
                packet[10..12].fill(0);
                let end = 12 + packet[12..length].iter().position(|&b| b == 0).unwrap() + 5;
                socket.send_to(&packet[..end], peer).unwrap();
            }
        })
    }

    #[test]
    fn what_dns_says_is_told_in_few_words() {
        for (address, code, words) in [
            ("127.0.0.251", 3, "cannot resolve reg.test: no such host"),
            (
                "127.0.0.252",
                0,
                "cannot resolve reg.test: it has no address",
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            files::put(
                &root.path().join("etc/resolv.conf"),
                &format!("nameserver {address}\noptions timeout:5 attempts:1\n"),
            );
            let server = server(address, code);
            let names = Names::new(&Environment::beneath(root.path()));
            let error = names
                .lookup("reg.test", Duration::from_secs(20))
                .unwrap_err();
            let error = TransportError::Name(Box::new(error));
            assert_eq!(cove_model::error::sentence(&error), words);
            server.join().unwrap();
        }
    }

    #[test]
    fn addresses_of_the_link_are_known() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
        ] {
            assert!(is_link_only(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "1.1.1.1",
            "::1",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(!is_link_only(address.parse().unwrap()), "{address}");
        }
    }
}
