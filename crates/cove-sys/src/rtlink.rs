//! Moving a network interface into another namespace by rtnetlink, and giving it its addresses
//! back there, since the kernel takes them away on the way.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, sendto, socket_with};

/// An address of an interface as the kernel describes it: family, prefix length, flags and scope,
/// then the attributes, which are handed back untouched.
#[derive(Debug, Clone)]
pub struct Address {
    header: [u8; 4],
    attributes: Vec<u8>,
}

const NEWLINK: u16 = 16;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const GETLINK: u16 = 18;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_F_PERMANENT: u8 = 0x80;
const SCOPE_UNIVERSE: u8 = 0;

/// The number of the interface called `name`.
///
/// # Errors
/// `ENODEV` if there is none.
pub fn index(name: &str) -> io::Result<u32> {
    let mut body = link_header(0, 0);
    push(&mut body, IFLA_IFNAME, &zero_ended(name));
    let mut found = None;
    request(GETLINK, REQUEST, &body, |kind, message| {
        if kind == NEWLINK {
            found = number_at(message, 4);
        }
    })?;
    found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// The permanent addresses of global scope of an interface.
///
/// # Errors
/// What the kernel answers.
pub fn addresses(index: u32) -> io::Result<Vec<Address>> {
    let mut all = Vec::new();
    request(GETADDR, REQUEST | DUMP, &[0; 8], |kind, message| {
        let Some((header, attributes)) = message.split_at_checked(8) else {
            return;
        };
        let ours = number_at(header, 4) == Some(index);
        if kind == NEWADDR
            && ours
            && header[2] & IFA_F_PERMANENT != 0
            && header[3] == SCOPE_UNIVERSE
        {
            let header = [header[0], header[1], header[2], header[3]];
            all.push(Address {
                header,
                attributes: attributes.to_vec(),
            });
        }
    })?;
    Ok(all)
}

/// Moves an interface into the network namespace `target` under the name `name`.
///
/// # Errors
/// `EEXIST` if the name is taken there, `EPERM` without the right to either namespace.
pub fn move_to(index: u32, target: impl AsFd, name: &str) -> io::Result<()> {
    let mut body = link_header(index, 0);
    push(
        &mut body,
        IFLA_NET_NS_FD,
        &target.as_fd().as_raw_fd().to_ne_bytes(),
    );
    push(&mut body, IFLA_IFNAME, &zero_ended(name));
    request(NEWLINK, REQUEST | ACK, &body, |_, _| ())
}

/// Adds addresses to an interface.
///
/// # Errors
/// What the kernel answers.
pub fn add_addresses(index: u32, addresses: &[Address]) -> io::Result<()> {
    const CREATE: u16 = 0x400;
    for address in addresses {
        let mut body = address.header.to_vec();
        body.extend(index.to_ne_bytes());
        body.extend(&address.attributes);
        request(NEWADDR, REQUEST | ACK | CREATE, &body, |_, _| ())?;
    }
    Ok(())
}

/// Brings an interface up and leaves its other flags alone.
///
/// # Errors
/// What the kernel answers.
pub fn set_up(index: u32) -> io::Result<()> {
    const UP: u32 = 1;
    request(NEWLINK, REQUEST | ACK, &link_header(index, UP), |_, _| ())
}

/// `struct ifinfomsg` with flags to set.
fn link_header(index: u32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(index.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes
}

fn zero_ended(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
}

fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn short_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Sends one request and hands every message of the answer on, until its end.
fn request(kind: u16, flags: u16, body: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let family = AddressFamily::NETLINK;
    let socket: OwnedFd = socket_with(
        family,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Protocol 0 is NETLINK_ROUTE.
        None,
    )?;
    let length = u32::try_from(body.len() + 16).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    sendto(
        &socket,
        &message,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut buffer = vec![0u8; 32 << 10];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while let (Some(size), Some(kind)) = (number_at(rest, 0), short_at(rest, 4)) {
            let size = size as usize;
            let Some(payload) = rest.get(16..size) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            if kind == DONE {
                return Ok(());
            }
            if kind == ERROR {
                let errno = number_at(payload, 0).unwrap_or(0).cast_signed();
                if errno == 0 {
                    return Ok(());
                }
                return Err(io::Error::from_raw_os_error(-errno));
            }
            each(kind, payload);
            if flags & (DUMP | ACK) == 0 {
                return Ok(());
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
