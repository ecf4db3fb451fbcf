//! System-call profiles in Docker's JSON format, reduced to the runtime
//! specification's: conditions on capabilities, architecture and kernel are
//! decided here.

use std::collections::HashSet;

use cove_model::nullable;
use oci_spec::runtime::{Arch, Capability, LinuxSeccomp, LinuxSyscall};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::security;
use crate::error::{Error, Result};

/// The parts of Docker's format that the runtime specification does not have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// What the conditions are about.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The capabilities that the instance may hold.
    pub(super) capabilities: &'a HashSet<Capability>,
    /// Go's name of the architecture.
    pub(super) architecture: &'a str,
    /// Major and minor version of the running kernel.
    pub(super) kernel: (u32, u32),
}

/// Reads a profile.
///
/// # Errors
/// When it is no profile or names something unknown.
pub(super) fn parse(text: &str, facts: &Facts<'_>) -> Result<LinuxSeccomp> {
    let invalid = |error: &dyn std::fmt::Display| {
        Error::Invalid(format!("Decoding seccomp profile failed: {error}"))
    };
    let mut profile: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| invalid(&error))?;
    let rules = match profile.remove("syscalls") {
        Some(Value::Array(rules)) => rules,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(invalid(&"syscalls is no list")),
    };
    let mut syscalls: Vec<LinuxSyscall> = Vec::new();
    for rule in rules {
        let Value::Object(mut rule) = rule else {
            return Err(invalid(&"a rule is no object"));
        };
        let mut conditions = |key| match rule.remove(key) {
            Some(value) if !value.is_null() => {
                nullable::from_value::<Conditions>(value).map_err(|error| invalid(&error))
            }
            _ => Ok(Conditions::default()),
        };
        let (includes, excludes) = (conditions("includes")?, conditions("excludes")?);
        if !includes.hold(facts)? || excludes.any_holds(facts)? {
            continue;
        }
        // The old form has one name.
        if let Some(name) = rule.remove("name").filter(|name| !name.is_null())
            && !rule.contains_key("names")
        {
            rule.insert("names".to_owned(), json!([name]));
        }
        rule.retain(|key, value| key != "comment" && !value.is_null());
        let rule = nullable::from_value(Value::Object(rule)).map_err(|error| invalid(&error))?;
        syscalls.push(rule);
    }
    if let Some(map) = profile.remove("archMap").filter(|map| !map.is_null()) {
        let list = architectures(&map, facts.architecture);
        profile.insert("architectures".to_owned(), json!(list));
    }
    profile.insert("syscalls".to_owned(), json!(syscalls));
    nullable::from_value(Value::Object(profile)).map_err(|error| invalid(&error))
}

impl Conditions {
    /// Whether all of them hold; true without any.
    fn hold(&self, facts: &Facts<'_>) -> Result<bool> {
        for name in &self.caps {
            if !facts.capabilities.contains(&security::capability(name)?) {
                return Ok(false);
            }
        }
        if !self.arches.is_empty() && !self.arches.iter().any(|arch| arch == facts.architecture) {
            return Ok(false);
        }
        match &self.min_kernel {
            Some(version) => Ok(facts.kernel >= kernel_version(version)?),
            None => Ok(true),
        }
    }

    /// Whether one of them holds; false without any.
    fn any_holds(&self, facts: &Facts<'_>) -> Result<bool> {
        for name in &self.caps {
            if facts.capabilities.contains(&security::capability(name)?) {
                return Ok(true);
            }
        }
        if self.arches.iter().any(|arch| arch == facts.architecture) {
            return Ok(true);
        }
        match &self.min_kernel {
            Some(version) => Ok(facts.kernel >= kernel_version(version)?),
            None => Ok(false),
        }
    }
}

/// The architectures that go with ours.
fn architectures(map: &Value, own: &str) -> Vec<Value> {
    let native = json!(match own {
        "amd64" => Arch::ScmpArchX86_64,
        "arm64" => Arch::ScmpArchAarch64,
        _ => Arch::ScmpArchRiscv64,
    });
    let entry = map
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry.get("architecture") == Some(&native));
    let others = entry.and_then(|entry| entry.get("subArchitectures")?.as_array().cloned());
    std::iter::once(native)
        .chain(others.into_iter().flatten())
        .collect()
}

/// The first two numbers of a kernel's version.
pub(super) fn kernel_version(text: &str) -> Result<(u32, u32)> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(Error::Invalid(format!("invalid kernel version \"{text}\""))),
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccompAction;

    use super::*;

    fn reduce(text: &str, capabilities: &[Capability]) -> Result<LinuxSeccomp> {
        let capabilities = capabilities.iter().copied().collect();
        let facts = Facts {
            capabilities: &capabilities,
            architecture: "amd64",
            kernel: (6, 1),
        };
        parse(text, &facts)
    }

    fn names(profile: &LinuxSeccomp) -> Vec<String> {
        profile
            .syscalls()
            .iter()
            .flatten()
            .flat_map(|rule| rule.names().clone())
            .collect()
    }

    const PROFILE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[
          {"names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"comment":"x"},
          {"name":"write","action":"SCMP_ACT_ALLOW","includes":{},"excludes":{}},
          {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
          {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
          {"names":["future"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"9.0"}},
          {"names":["arm"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
          {"names":["clone"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;

    #[test]
    fn conditions_are_decided_here() {
        let plain = reduce(PROFILE, &[]).unwrap();
        assert_eq!(names(&plain), ["read", "write", "ptrace", "clone"]);
        assert_eq!(plain.default_action(), LinuxSeccompAction::ScmpActErrno);
        assert_eq!(plain.architectures().as_ref().unwrap().len(), 2);
        let admin = reduce(PROFILE, &[Capability::SysAdmin]).unwrap();
        assert_eq!(names(&admin), ["read", "write", "mount", "ptrace"]);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for bad in [
            "",
            "[]",
            "{\"defaultAction\":\"SCMP_ACT_MAYBE\"}",
            "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":3}",
            "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"a\"]}]}",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],
                "action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_FLY"]}}]}"#,
        ] {
            assert!(reduce(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn null_is_as_if_absent() {
        let document = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{
                "names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1, "comment": "c",
                "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}],
                "includes": {"caps": [], "arches": ["amd64"], "minKernel": "4.8"},
                "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": [], "minKernel": "99.1"},
            }],
        });
        let read = |value: &Value| reduce(&value.to_string(), &[]).ok();
        assert!(read(&document).is_some());
        for pair in testkit::nulls::pairs(&document, &[]) {
            // What must be there may have nothing in it, which is no more use.
            let (null, absent) = (read(&pair.null), read(&pair.absent));
            assert!(null == absent || absent.is_none(), "{}", pair.path);
        }
    }
}
