//! The values of flags, read as soon as they are met. A reader is called as help
//! calls its values, or as what it reads.

use cove_model::go;
use cove_model::instance::Ulimit;

use crate::parse;

/// A switch, in the words that Go's `strconv.ParseBool` takes.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    go::parse_bool(text).ok_or_else(|| {
        let quoted = go::quote(text);
        format!("strconv.ParseBool: parsing {quoted}: invalid syntax")
    })
}

/// Any text.
#[expect(clippy::unnecessary_wraps, reason = "readers are alike")]
pub(crate) fn string(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// One of several texts.
pub(crate) use string as list;
/// The name of a network, or whose it is.
pub(crate) use string as network;

/// A whole number.
pub(crate) fn int(text: &str) -> Result<i64, String> {
    go::parse_int(text)
}

/// A number of 16 bits.
pub(crate) fn uint16(text: &str) -> Result<u64, String> {
    go::parse_uint(text, 16)
}

/// A size.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    cove_model::size::parse(text)
}

/// A size or −1.
pub(crate) fn swap(text: &str) -> Result<i64, String> {
    cove_model::size::parse_swap(text)
}

/// A number of processors, in billionths.
pub(crate) fn decimal(text: &str) -> Result<i64, String> {
    parse::cpus::parse(text)
}

/// A limit per process.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    parse::ulimit::parse(text)
}

/// A text that a check has passed.
fn checked(text: &str, check: Result<(), String>) -> Result<String, String> {
    check.map(|()| text.to_owned())
}

/// A filter.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    checked(text, cove_docker::filter::check(text))
}

/// A variable.
pub(crate) fn env(text: &str) -> Result<String, String> {
    checked(text, parse::env::check(text))
}

/// A label.
pub(crate) fn label(text: &str) -> Result<String, String> {
    checked(text, parse::env::check_label(text))
}

/// A name server.
pub(crate) fn dns(text: &str) -> Result<String, String> {
    checked(text, parse::host::check_address(text))
}

/// A search domain.
pub(crate) fn dns_search(text: &str) -> Result<String, String> {
    checked(text, parse::host::check_domain(text))
}

/// A rule of the device filter.
pub(crate) fn device_rule(text: &str) -> Result<String, String> {
    checked(text, parse::device::check_rule(text))
}

/// A mount.
pub(crate) fn mount(text: &str) -> Result<String, String> {
    checked(text, parse::mount::parse(text).map(drop))
}

/// An annotation.
pub(crate) fn annotation(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid annotation '{text}': empty name"));
    }
    string(text)
}

/// One of the three streams.
pub(crate) fn attach(text: &str) -> Result<String, String> {
    match text.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => string(text),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// A host with its address.
pub(crate) fn add_host(text: &str) -> Result<String, String> {
    parse::host::add_host(text)
}

/// A platform, as it was written.
pub(crate) fn platform(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        parse::platform::parse(text)?;
    }
    string(text)
}

/// A kernel parameter that a container may have for itself.
pub(crate) fn sysctl(text: &str) -> Result<String, String> {
    let named = text.split_once('=');
    match named.filter(|(name, _)| cove_engine::plan::sysctl_is_own(name)) {
        Some(_) => string(text),
        None => Err(format!("sysctl '{text}' is not allowed")),
    }
}
