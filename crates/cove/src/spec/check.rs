//! What a flag's value is checked for as soon as it is read.

use cove_sys::ns;
use cove_sys::sysctl::Sysctl;

use crate::format::go;
use crate::parse;

/// Any text.
pub(crate) fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// A whole number.
pub(crate) fn int(text: &str) -> Result<(), String> {
    go::parse_int(text).map(drop)
}

/// A number of 16 bits.
pub(crate) fn uint16(text: &str) -> Result<(), String> {
    go::parse_uint(text, 16).map(drop)
}

/// A size.
pub(crate) fn bytes(text: &str) -> Result<(), String> {
    cove_model::size::parse(text).map(drop)
}

/// A size or −1.
pub(crate) fn swap(text: &str) -> Result<(), String> {
    cove_model::size::parse_swap(text).map(drop)
}

/// A number of processors.
pub(crate) fn cpus(text: &str) -> Result<(), String> {
    parse::cpus::parse(text).map(drop)
}

/// A filter.
pub(crate) fn filter(text: &str) -> Result<(), String> {
    parse::filter::check(text)
}

/// A variable.
pub(crate) fn env(text: &str) -> Result<(), String> {
    parse::env::check(text)
}

/// A label.
pub(crate) fn label(text: &str) -> Result<(), String> {
    parse::env::check_label(text)
}

/// An annotation.
pub(crate) fn annotation(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid annotation '{text}': empty name"));
    }
    Ok(())
}

/// One of the three streams.
pub(crate) fn attach(text: &str) -> Result<(), String> {
    match text.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// A host with its address.
pub(crate) fn add_host(text: &str) -> Result<(), String> {
    parse::host::add_host(text).map(drop)
}

/// A name server.
pub(crate) fn dns(text: &str) -> Result<(), String> {
    parse::host::check_address(text)
}

/// A search domain.
pub(crate) fn dns_search(text: &str) -> Result<(), String> {
    parse::host::check_domain(text)
}

/// A rule of the device filter.
pub(crate) fn device_rule(text: &str) -> Result<(), String> {
    parse::device::check_rule(text)
}

/// A limit per process.
pub(crate) fn ulimit(text: &str) -> Result<(), String> {
    parse::ulimit::parse(text).map(drop)
}

/// A mount.
pub(crate) fn mount(text: &str) -> Result<(), String> {
    parse::mount::check(text)
}

/// A platform.
pub(crate) fn platform(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Ok(())
    } else {
        parse::platform::parse(text).map(drop)
    }
}

/// A kernel parameter that belongs to the namespaces of a container for which Docker takes some.
pub(crate) fn sysctl(text: &str) -> Result<(), String> {
    let named = text.split_once('=');
    match named.and_then(|(name, _)| Sysctl::parse(name)) {
        Some(sysctl) if [ns::NET, ns::IPC].contains(&sysctl.namespace) => Ok(()),
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}
