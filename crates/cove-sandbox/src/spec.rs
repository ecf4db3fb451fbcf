//! Reading `config.json`: the types of oci-spec, plus the tolerance the specification asks for.

use std::path::Path;

use oci_spec::runtime::{Capability, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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

/// Reads `config.json` of a bundle, or the file that has another name. Capabilities this version does
/// not know are left out with a warning.
///
/// # Errors
/// If the file cannot be read or is no specification.
pub fn load(path: &Path) -> Result<Loaded<Spec>> {
    let bytes = read(path)?;
    let mut loaded: Loaded<Spec> = parse(path, &bytes, |value| value.get_mut("process"))?;
    settle_pids(&mut loaded.value, &bytes);
    Ok(loaded)
}

/// What a `pids.limit` of 0 says, by the version of the specification that a configuration was written
/// for: before 1.3 that there is no limit, which Podman means by it up to 5.4; since then that no
/// process can be made. The first one is there in any case, so that is a limit of 1.
#[must_use]
pub fn zero_pids(version: &str) -> i64 {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(1), Some(minor)) if minor >= 3 => 1,
        _ => -1,
    }
}

/// Reads a process document as `exec --process` takes it.
///
/// # Errors
/// If the file cannot be read or is no process.
pub fn load_process(path: &Path) -> Result<Loaded<Process>> {
    parse(path, &read(path)?, |value| Some(value))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    cove_sys::fs::read(path, LIMIT).map_err(|source| Error::ReadConfig {
        path: path.to_owned(),
        source,
    })
}

fn parse<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    process: impl FnOnce(&mut Value) -> Option<&mut Value>,
) -> Result<Loaded<T>> {
    let failed = |source| Error::ParseConfig {
        path: path.to_owned(),
        source,
    };
    let first = match serde_json::from_slice(bytes) {
        Ok(value) => {
            return Ok(Loaded {
                value,
                warnings: Vec::new(),
            });
        }
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_slice(bytes).map_err(|_| failed(first))?;
    drop_nulls(&mut value);
    let mut warnings = Vec::new();
    if let Some(process) = process(&mut value) {
        warnings = drop_unknown_capabilities(process);
        spell_flags(process);
        if let Value::Object(process) = process {
            // The type wants it; the specification does not, and knows what it is then.
            process.entry("user").or_insert_with(|| json!({}));
        }
    }
    let value = serde_json::from_value(value).map_err(failed)?;
    Ok(Loaded { value, warnings })
}

/// Programs in Go write `null` for a list, a map or a text that they have nothing in.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The type makes its names of its variants, and so has two that are not the specification's.
fn spell_flags(process: &mut Value) {
    let flags = process
        .pointer_mut("/scheduler/flags")
        .and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = json!("SCHED_RESET_ON_FORK"),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = json!("SCHED_FLAG_D_L_OVERRUN"),
            Some(_) | None => {}
        }
    }
}

/// The type has 0 for a limit that is 0 and for one that is absent.
fn settle_pids(spec: &mut Spec, bytes: &[u8]) {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let pids = resources.and_then(|resources| *resources.pids());
    let (Some(linux), Some(mut pids)) = (linux, pids.filter(|pids| pids.limit() == 0)) else {
        return;
    };
    let said = || {
        let value: Option<Value> = serde_json::from_slice(bytes).ok();
        let limit = value?.pointer("/linux/resources/pids/limit").cloned()?;
        limit.is_number().then_some(())
    };
    let pids = said().map(|()| {
        pids.set_limit(zero_pids(spec.version()));
        pids
    });
    let mut linux = linux.clone();
    if let Some(mut resources) = linux.resources().clone() {
        resources.set_pids(pids);
        linux.set_resources(Some(resources));
    }
    spec.set_linux(Some(linux));
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
        let path = dir.path().join("config.json");
        let loaded = load(&path).unwrap();
        assert_eq!(
            loaded.warnings,
            [r#"ignoring unknown capability "CAP_FLY""#]
        );
        write(r#"{"ociVersion":"1.3.0","process":{"cwd":7}}"#);
        assert!(matches!(load(&path), Err(Error::ParseConfig { .. })));
        assert!(matches!(
            load(Path::new("/nonexistent")),
            Err(Error::ReadConfig { .. })
        ));
    }

    #[test]
    fn what_may_be_absent_may_be_null_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let null = r#"{"ociVersion":null,"root":{"path":"rootfs","readonly":null},
            "hostname":null,"hooks":{"prestart":null,"poststop":[{"path":"/x","env":null}]},
            "annotations":null,"mounts":[{"destination":"/x","type":null,"options":null}],
            "process":{"cwd":"/","args":["x"],"env":null,"user":null,"rlimits":null,
            "capabilities":{"bounding":null},"noNewPrivileges":null,"terminal":null,
            "consoleSize":null},"linux":{"namespaces":null,"uidMappings":null,"devices":null,
            "resources":{"devices":null,"memory":{"limit":null},"unified":null},
            "seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,"flags":null,
            "syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG","args":null}]}}}"#;
        let absent = r#"{"root":{"path":"rootfs"},"hooks":{"poststop":[{"path":"/x"}]},
            "mounts":[{"destination":"/x"}],"process":{"cwd":"/","args":["x"],
            "capabilities":{}},"linux":{"resources":{"memory":{}},
            "seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],
            "action":"SCMP_ACT_LOG"}]}}}"#;
        let [null, absent] = [null, absent].map(|text| {
            std::fs::write(&path, text).unwrap();
            load(&path).unwrap().value
        });
        assert_eq!(null, absent);
        let process = null.process().as_ref().unwrap();
        assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
        std::fs::write(&path, r#"{"cwd":"/","args":["x"],"env":null}"#).unwrap();
        let loaded = load_process(&path).unwrap().value;
        assert_eq!(loaded.user().uid(), 0);
        // A working directory is demanded.
        std::fs::write(&path, r#"{"args":["x"]}"#).unwrap();
        let error = load_process(&path).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("cwd"), "{cause}");
    }

    #[test]
    fn a_limit_of_no_processes_is_read_by_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let limit = |version: &str, pids: &str| {
            let text = format!(
                r#"{{"ociVersion":"{version}","linux":{{"resources":{{"pids":{pids}}}}}}}"#
            );
            std::fs::write(&path, text).unwrap();
            let spec = load(&path).unwrap().value;
            let resources = spec.linux().as_ref().unwrap().resources().clone();
            resources.unwrap().pids().map(|pids| pids.limit())
        };
        // As Podman 4.3 writes it for `--pids-limit -1`.
        assert_eq!(limit("1.0.2-dev", r#"{"limit":0}"#), Some(-1));
        assert_eq!(limit("1.2.1", r#"{"limit":0}"#), Some(-1));
        assert_eq!(limit("1.3.0", r#"{"limit":0}"#), Some(1));
        assert_eq!(limit("1.3.0", r#"{"limit":-1}"#), Some(-1));
        assert_eq!(limit("1.3.0", r#"{"limit":7}"#), Some(7));
        assert_eq!(limit("1.3.0", "{}"), None);
        assert_eq!(limit("1.3.0", "null"), None);
    }

    #[test]
    fn flags_of_the_scheduler_have_the_specifications_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        for name in [
            "SCHED_FLAG_RESET_ON_FORK",
            "SCHED_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
        ] {
            let text = format!(
                r#"{{"cwd":"/","args":["x"],"scheduler":{{"policy":"SCHED_OTHER","flags":["{name}"]}}}}"#
            );
            std::fs::write(&path, text).unwrap();
            let process = load_process(&path).unwrap().value;
            let flags = process.scheduler().clone().unwrap().flags().clone();
            assert_eq!(flags.unwrap().len(), 1, "{name}");
        }
    }
}
