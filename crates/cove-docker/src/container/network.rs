//! `NetworkSettings`: where a container is reached.

use std::collections::BTreeMap;

use cove_model::instance::{NetworkMode, Record};

use crate::document::{Never, document};

document! {
    /// Docker's `NetworkSettings` of a container.
    pub struct NetworkSettings {
        bridge: String = "Bridge",
        sandbox_id: String = "SandboxID",
        sandbox_key: String = "SandboxKey",
        ports: PortMap = "Ports",
        hairpin_mode: bool = "HairpinMode",
        link_local_ipv6_address: String = "LinkLocalIPv6Address",
        link_local_ipv6_prefix_len: u16 = "LinkLocalIPv6PrefixLen",
        secondary_ip_addresses: Option<Vec<Never>> = "SecondaryIPAddresses",
        secondary_ipv6_addresses: Option<Vec<Never>> = "SecondaryIPv6Addresses",
        endpoint_id: String = "EndpointID",
        gateway: String = "Gateway",
        global_ipv6_address: String = "GlobalIPv6Address",
        global_ipv6_prefix_len: u16 = "GlobalIPv6PrefixLen",
        ip_address: String = "IPAddress",
        ip_prefix_len: u16 = "IPPrefixLen",
        ipv6_gateway: String = "IPv6Gateway",
        mac_address: String = "MacAddress",
        networks: BTreeMap<String, Endpoint> = "Networks",
    }

    /// A container's place in one network.
    pub struct Endpoint {
        ipam_config: Option<IpamConfig> = "IPAMConfig",
        links: Option<Vec<String>> = "Links",
        aliases: Option<Vec<String>> = "Aliases",
        mac_address: String = "MacAddress",
        driver_opts: Option<BTreeMap<String, String>> = "DriverOpts",
        gw_priority: i64 = "GwPriority",
        network_id: String = "NetworkID",
        endpoint_id: String = "EndpointID",
        gateway: String = "Gateway",
        ip_address: String = "IPAddress",
        ip_prefix_len: u16 = "IPPrefixLen",
        ipv6_gateway: String = "IPv6Gateway",
        global_ipv6_address: String = "GlobalIPv6Address",
        global_ipv6_prefix_len: u16 = "GlobalIPv6PrefixLen",
        dns_names: Option<Vec<String>> = "DNSNames",
    }

    /// The addresses that a user asked for.
    pub struct IpamConfig {
        ipv4_address: String = "IPv4Address" omitempty,
        ipv6_address: String = "IPv6Address" omitempty,
        link_local_ips: Option<Vec<String>> = "LinkLocalIPs" omitempty,
    }

    /// Where on the host a port is published.
    pub struct PortBinding {
        host_ip: String = "HostIp" / "HostIP",
        host_port: String = "HostPort",
    }
}

/// Ports of a container, as `80/tcp`, and where they are published.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// The network as `--network` names it.
pub(crate) fn name(record: &Record) -> String {
    match &record.spec.network {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Instance(id) => format!("container:{id}"),
    }
}

impl NetworkSettings {
    pub(super) fn of(record: &Record) -> Self {
        let networks = match &record.spec.network {
            NetworkMode::None | NetworkMode::Host => vec![(name(record), Endpoint::default())],
            // It is the other's, and shown there.
            NetworkMode::Instance(_) => Vec::new(),
        };
        Self {
            networks: networks.into_iter().collect(),
            ..Self::default()
        }
    }
}
