//! `update`: other limits for a live container.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use cove_flags::{Flag, Flags, Offers, Table, Takes};
use cove_sandbox::Container;
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value as Json};

use crate::args::{self, Globals};
use crate::failure::{Failure, Outcome};
use crate::output::warn;

const LIMIT: u64 = 16 << 20;

/// Options by name: the section and field of the resources they set, and how
/// their value is read.
const OPTIONS: [(&str, &str, &str, Kind); 17] = [
    ("blkio-weight", "blockIO", "weight", Kind::Number),
    ("cpu-period", "cpu", "period", Kind::Number),
    ("cpu-quota", "cpu", "quota", Kind::Number),
    ("cpu-burst", "cpu", "burst", Kind::Number),
    ("cpu-share", "cpu", "shares", Kind::Number),
    ("cpu-shares", "cpu", "shares", Kind::Number),
    ("cpu-rt-period", "cpu", "realtimePeriod", Kind::Number),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", Kind::Number),
    ("cpu-idle", "cpu", "idle", Kind::Number),
    ("cpuset-cpus", "cpu", "cpus", Kind::Text),
    ("cpuset-mems", "cpu", "mems", Kind::Text),
    ("kernel-memory", "memory", "kernel", Kind::Bytes),
    ("kernel-memory-tcp", "memory", "kernelTCP", Kind::Bytes),
    ("memory", "memory", "limit", Kind::Bytes),
    ("memory-reservation", "memory", "reservation", Kind::Bytes),
    ("memory-swap", "memory", "swap", Kind::Bytes),
    ("pids-limit", "pids", "limit", Kind::Number),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Number,
    /// With a unit, or -1.
    Bytes,
    Text,
}

/// The document that the options make, each as it is met.
#[derive(Debug, Default)]
struct UpdateFlags {
    file: Option<OsString>,
    document: Map<String, Json>,
}

const TABLE: &Table = &Table {
    own: &{
        let mut flags = [option('r', "resources"); OPTIONS.len() + 3];
        flags[1] = option('\0', "l3-cache-schema");
        flags[2] = option('\0', "mem-bw-schema");
        let mut index = 0;
        while index < OPTIONS.len() {
            flags[index + 3] = option('\0', OPTIONS[index].0);
            index += 1;
        }
        flags
    },
    groups: &[],
};

const fn option(short: char, long: &'static str) -> Flag {
    Flag {
        short,
        long,
        takes: Takes::Value(""),
        help: "",
        offers: Offers::Nothing,
    }
}

impl Flags for UpdateFlags {
    fn table(&self) -> &'static Table {
        TABLE
    }

    fn set(&mut self, option: &str, text: &OsStr) -> Result<bool, String> {
        if option == "resources" {
            self.file = Some(text.to_owned());
            return Ok(true);
        }
        let Some(&(_, section, field, kind)) = OPTIONS.iter().find(|known| known.0 == option)
        else {
            return Err(format!(
                "--{option}: Intel RDT is not changed after creation"
            ));
        };
        let value = text.to_str().and_then(|text| value(kind, text));
        let value = value.ok_or_else(|| format!("--{option} {text:?} is no valid value"))?;
        section_of(&mut self.document, section).insert(field.to_owned(), value);
        Ok(true)
    }
}

pub(crate) fn update(globals: &Globals, words: &[OsString]) -> Outcome {
    let (flags, id): (UpdateFlags, _) = args::container(words, "update")?;
    let UpdateFlags { file, mut document } = flags;
    if let Some(file) = file {
        // As with runc, a file is the whole truth.
        document = read(&file)?;
    }
    let container = Container::load(&globals.root, &id)?;
    let limit = document
        .get_mut("pids")
        .and_then(|pids| pids.get_mut("limit"));
    if let Some(limit) = limit.filter(|limit| limit.as_i64() == Some(0)) {
        *limit = Json::from(cove_sandbox::zero_pids(container.oci_version()));
    }
    let resources: LinuxResources = serde_json::from_value(Json::Object(document))
        .map_err(|error| Failure::new(format!("resources: {error}")))?;
    warn(
        globals,
        cove_sandbox::cgroup::obsolete(&resources).as_slice(),
    );
    container.update(&resources)?;
    Ok(0)
}

fn section_of<'a>(document: &'a mut Map<String, Json>, section: &str) -> &'a mut Map<String, Json> {
    let entry = document
        .entry(section)
        .or_insert_with(|| Json::Object(Map::new()));
    if !entry.is_object() {
        *entry = Json::Object(Map::new());
    }
    match entry {
        Json::Object(map) => map,
        _ => unreachable!("made an object just above"),
    }
}

fn read(file: &OsStr) -> Result<Map<String, Json>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("read resources {}: {error}", file.display()))
    };
    let bytes = if file == "-" {
        cove_sys::fs::read_from(std::io::stdin().lock(), LIMIT)
    } else {
        cove_sys::fs::read(Path::new(file), LIMIT)
    };
    serde_json::from_slice(&bytes.map_err(|error| failed(&error))?).map_err(|error| failed(&error))
}

fn value(kind: Kind, text: &str) -> Option<Json> {
    match kind {
        Kind::Number => text.parse::<i64>().ok().map(Json::from),
        Kind::Bytes => bytes(text).map(Json::from),
        Kind::Text => Some(Json::from(text)),
    }
}

/// `-1`, or a number with an optional unit: `64m`, `1.5GiB`, `512kb`.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let text = text.trim();
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = (text[..at].trim(), text[at..].to_ascii_lowercase());
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let shift = ["", "k", "m", "g", "t", "p"]
        .iter()
        .position(|known| *known == unit)?;
    let factor = 1_i64 << (10 * shift);
    if let Ok(whole) = number.parse::<i64>() {
        return (whole >= 0).then(|| whole.checked_mul(factor)).flatten();
    }
    let (whole, fraction) = number.split_once('.')?;
    let digits = fraction.get(..fraction.len().min(9))?;
    let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    let parts = whole.parse::<u32>().ok()?;
    let rest = if digits.is_empty() {
        0
    } else {
        digits.parse::<u32>().ok()?
    };
    let exact = (i128::from(parts) * scale + i128::from(rest)) * i128::from(factor) / scale;
    i64::try_from(exact).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("64", Some(64)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2kb", Some(2048)),
            ("-5", None),
            ("x", None),
            ("5x", None),
            ("9999999p", None),
        ] {
            assert_eq!(bytes(text), want, "{text}");
        }
    }
}
