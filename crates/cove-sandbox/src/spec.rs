//! Reading `config.json`: the types of oci-spec, plus the tolerance the specification asks for.

use std::path::Path;

use oci_spec::runtime::{Capability, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// Largest document that is read.
const LIMIT: u64 = 16 << 20;

/// A document with what was left out of it.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The document.
    pub value: T,
    /// One sentence per thing that was ignored as the specification wants it.
    pub warnings: Vec<String>,
}

/// Reads `config.json` of a bundle. Capabilities this version does not know are left out with a
/// warning.
///
/// # Errors
/// If the file cannot be read or is no specification.
pub fn load(bundle: &Path) -> Result<Loaded<Spec>> {
    document(&bundle.join("config.json"), |value| {
        value.get_mut("process")
    })
}

/// Reads a process document as `exec --process` takes it.
///
/// # Errors
/// If the file cannot be read or is no process.
pub fn load_process(path: &Path) -> Result<Loaded<Process>> {
    document(path, |value| Some(value))
}

fn document<T: DeserializeOwned>(
    path: &Path,
    process: impl FnOnce(&mut Value) -> Option<&mut Value>,
) -> Result<Loaded<T>> {
    let bytes = cove_sys::fs::read(path, LIMIT).map_err(|source| Error::ReadConfig {
        path: path.to_owned(),
        source,
    })?;
    let failed = |source| Error::ParseConfig {
        path: path.to_owned(),
        source,
    };
    let first = match serde_json::from_slice(&bytes) {
        Ok(value) => {
            return Ok(Loaded {
                value,
                warnings: Vec::new(),
            });
        }
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_slice(&bytes).map_err(failed)?;
    let warnings = process(&mut value)
        .map(drop_unknown_capabilities)
        .unwrap_or_default();
    if warnings.is_empty() {
        return Err(failed(first));
    }
    Ok(Loaded {
        value: serde_json::from_value(value).map_err(failed)?,
        warnings,
    })
}

fn drop_unknown_capabilities(process: &mut Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let sets = process
        .get_mut("capabilities")
        .and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        let Some(names) = set.as_array_mut() else {
            continue;
        };
        names.retain(|name| {
            let known = serde_json::from_value::<Capability>(name.clone()).is_ok();
            if !known && name.is_string() {
                let warning = format!("ignoring unknown capability {name}");
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            known || !name.is_string()
        });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("config.json"), text).unwrap();
        write(
            r#"{"ociVersion":"1.3.0","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},
            "capabilities":{"bounding":["CAP_KILL","CAP_FLY"],"effective":["CAP_FLY"]}}}"#,
        );
        let loaded = load(dir.path()).unwrap();
        assert_eq!(
            loaded.warnings,
            [r#"ignoring unknown capability "CAP_FLY""#]
        );
        write(r#"{"ociVersion":"1.3.0","process":{"cwd":7}}"#);
        assert!(matches!(load(dir.path()), Err(Error::ParseConfig { .. })));
        assert!(matches!(
            load(Path::new("/nonexistent")),
            Err(Error::ReadConfig { .. })
        ));
    }
}
