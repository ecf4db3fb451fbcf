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

/// The label a process asks for.
pub(crate) fn label(process: &Process) -> Result<Option<Label>> {
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
        return Ok(Some(Label {
            attribute,
            value: format!("exec {profile}").into_bytes(),
        }));
    }
    let Some(label) = set(process.selinux_label()) else {
        return Ok(None);
    };
    if !selinux() {
        return Err(Error::Unsupported(format!(
            "SELinux label {label:?} is asked for, but SELinux is not enabled"
        )));
    }
    Ok(Some(Label {
        attribute: "attr/exec",
        value: label.into_bytes(),
    }))
}

fn apparmor() -> bool {
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
