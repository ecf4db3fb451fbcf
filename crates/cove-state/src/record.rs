//! Records as files: what is read of them, and how one changes.
//!
//! A record is one JSON object: its `version`, an `id`, a `name`, and what the
//! resource adds. Those three mean the same in every version, so that a program
//! which meets a newer record knows whose it is and leaves it alone.

use std::io;
use std::path::Path;

use cove_model::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Records are small; anything larger is no record of ours.
const MAX_RECORD: u64 = 4 << 20;

const VERSION: &str = "version";
/// How a record begins that we wrote: the version is told without a look at the rest.
const BEGINNING: &[u8] = b"{\"version\":";

/// Records had no version once.
const fn first_version() -> u32 {
    1
}

/// A record with its version, as it is written.
#[derive(Serialize)]
struct Versioned<'a, R> {
    version: u32,
    #[serde(flatten)]
    record: &'a R,
}

/// What can be told of a record whatever its version.
#[derive(Deserialize)]
struct Head {
    #[serde(default = "first_version")]
    version: u32,
    name: String,
}

/// A record and the document that it was read from.
#[derive(Debug)]
pub(crate) struct Document<R> {
    fields: Map<String, Value>,
    before: Value,
    pub(crate) record: R,
}

/// Reads a record; `None`: there is none.
pub(crate) fn read<R: Resource>(path: &Path) -> Result<Option<R>> {
    let Some(bytes) = bytes(path)? else {
        return Ok(None);
    };
    check_version::<R>(path, &bytes)?;
    parse(path, &bytes).map(Some)
}

/// The name that a record of any version carries; `None`: there is no record.
pub(crate) fn name(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = bytes(path)? else {
        return Ok(None);
    };
    parse::<Head>(path, &bytes).map(|head| Some(head.name))
}

/// Writes the record of a resource that is new.
pub(crate) fn create<R: Resource>(path: &Path, record: &R) -> Result<()> {
    let version = R::VERSION;
    write(path, &Versioned { version, record }, record.is_transient())
}

impl<R: Resource> Document<R> {
    /// Reads a record to change it; `None`: there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = bytes(path)? else {
            return Ok(None);
        };
        check_version::<R>(path, &bytes)?;
        let record: R = parse(path, &bytes)?;
        Ok(Some(Self {
            fields: parse(path, &bytes)?,
            before: value(path, &record)?,
            record,
        }))
    }

    /// Writes what has changed over what was read: fields that this program
    /// does not know stay as another one wrote them.
    pub(crate) fn write(mut self, path: &Path) -> Result<()> {
        let after = value(path, &self.record)?;
        if let (Value::Object(before), Value::Object(after)) = (self.before, after) {
            merge(&mut self.fields, &before, after);
        }
        self.fields.shift_remove(VERSION);
        self.fields
            .shift_insert(0, VERSION.to_owned(), R::VERSION.into());
        write(path, &self.fields, self.record.is_transient())
    }
}

/// Applies the difference between two objects to a third.
fn merge(fields: &mut Map<String, Value>, before: &Map<String, Value>, after: Map<String, Value>) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        fields.shift_remove(key);
    }
    for (key, new) in after {
        match (before.get(&key), fields.get_mut(&key), new) {
            // Also a field that was left out, which means its default: it still is.
            (Some(old), _, new) if *old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(fields)), Value::Object(new)) => {
                merge(fields, old, new);
            }
            (_, _, new) => {
                fields.insert(key, new);
            }
        }
    }
}

/// A record that is not durable may lose its content to a power cut and keep
/// its name; then there is none, and its owner was not to outlive one.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match cove_sys::fs::read(path, MAX_RECORD) {
        Ok(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether a file that is there holds a record.
pub(crate) fn exists(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn check_version<R: Resource>(path: &Path, bytes: &[u8]) -> Result<()> {
    let version = match written_version(bytes) {
        Some(version) => version,
        None => parse::<Head>(path, bytes)?.version,
    };
    if version > R::VERSION {
        return Err(Error::Newer {
            path: path.to_owned(),
            version,
        });
    }
    Ok(())
}

/// The version where we write it: at the beginning.
fn written_version(bytes: &[u8]) -> Option<u32> {
    let rest = bytes.strip_prefix(BEGINNING)?;
    let digits = rest.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| Error::Damaged {
        path: path.to_owned(),
        source,
    })
}

fn value<R: Resource>(path: &Path, record: &R) -> Result<Value> {
    serde_json::to_value(record).map_err(|source| Error::Encode {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, document: &impl Serialize, transient: bool) -> Result<()> {
    let bytes = serde_json::to_vec(document).map_err(|source| Error::Encode {
        path: path.to_owned(),
        source,
    })?;
    cove_sys::fs::write_atomic(path, &bytes, !transient).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}
