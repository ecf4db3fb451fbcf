//! What the kernel's security modules and resource control offer: a label that cannot be applied
//! is an error, never silently absent.

use std::path::Path;

use oci_spec::runtime::Process;

use crate::error::{Error, Result};

/// A label for the next exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Below `/proc/self/`.
    pub attribute: &'static str,
    pub value: Vec<u8>,
}

/// The labels a process asks for, of each module its own.
pub(crate) fn labels(process: &Process) -> Result<Vec<Label>> {
    labels_with(process, apparmor, selinux)
}

/// Whether a module is in force.
type Enabled = fn() -> bool;

fn labels_with(process: &Process, apparmor: Enabled, selinux: Enabled) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    if let Some(profile) = set(process.apparmor_profile()) {
        if !apparmor() {
            return Err(Error::Unsupported(format!(
                "AppArmor profile {profile:?} is asked for, but AppArmor is not enabled"
            )));
        }
        let own = Path::new("/proc/self/attr/apparmor/exec").exists();
        let attribute = if own {
            "attr/apparmor/exec"
        } else {
            "attr/exec"
        };
        labels.push(Label {
            attribute,
            value: format!("exec {profile}").into_bytes(),
        });
    }
    if let Some(label) = set(process.selinux_label()) {
        if !selinux() {
            return Err(Error::Unsupported(format!(
                "SELinux label {label:?} is asked for, but SELinux is not enabled"
            )));
        }
        labels.push(Label {
            attribute: "attr/exec",
            value: label.into_bytes(),
        });
    }
    Ok(labels)
}

/// Whether AppArmor is in force.
pub fn apparmor() -> bool {
    let path = "/sys/module/apparmor/parameters/enabled";
    cove_sys::fs::read(Path::new(path), 16).is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// Whether SELinux is there to label mounts.
pub(crate) fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Intel resource director: groups of `resctrl`, which must be mounted.
pub(crate) fn check_resctrl() -> Result<()> {
    Err(Error::Unsupported(
        if Path::new("/sys/fs/resctrl/schemata").exists() {
            "linux.intelRdt is not implemented".to_owned()
        } else {
            "linux.intelRdt needs resctrl, which this host does not have mounted".to_owned()
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_lost_beside_another() {
        let process = serde_json::json!({"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0},
            "apparmorProfile": "a", "selinuxLabel": "b"});
        let process: Process = serde_json::from_value(process).unwrap();
        let (yes, no): (Enabled, Enabled) = (|| true, || false);
        let labels = labels_with(&process, yes, yes).unwrap();
        let values: Vec<_> = labels.iter().map(|label| &label.value[..]).collect();
        assert_eq!(values, [&b"exec a"[..], b"b"]);
        for (apparmor, selinux, missing) in [(yes, no, "SELinux"), (no, yes, "AppArmor")] {
            let error = labels_with(&process, apparmor, selinux).unwrap_err();
            let text = format!("{missing} is not enabled");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }
}
