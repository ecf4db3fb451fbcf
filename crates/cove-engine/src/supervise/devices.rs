//! Device nodes of the host that an instance gets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use cove_model::instance::InstanceSpec;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

use crate::error::{Error, Result};

/// Below `/dev`, but no devices of the host: the instance has its own.
const OWN: [&str; 6] = ["pts", "ptmx", "shm", "mqueue", "fd", "console"];

/// The devices the user named, in that order; of a privileged instance, all.
///
/// # Errors
/// When a named device is not there or is no device.
pub(super) fn devices(spec: &InstanceSpec) -> Result<Vec<LinuxDevice>> {
    let mut list = Vec::new();
    for mapping in &spec.devices {
        let device = device(&mapping.host, &mapping.container)?;
        list.push(device.ok_or_else(|| {
            Error::Invalid(format!(
                "error gathering device information while adding custom device \"{}\": not a device node",
                mapping.host.display()
            ))
        })?);
    }
    if spec.security.privileged {
        collect(Path::new("/dev"), &mut list, 0)?;
    }
    Ok(list)
}

/// The node at `path`; `None` when it is something else.
fn device(path: &Path, target: &str) -> Result<Option<LinuxDevice>> {
    let metadata = fs::metadata(path).map_err(|source| Error::File {
        action: "use the device",
        path: path.to_owned(),
        source,
    })?;
    let kind = metadata.file_type();
    let kind = if kind.is_char_device() {
        LinuxDeviceType::C
    } else if kind.is_block_device() {
        LinuxDeviceType::B
    } else {
        return Ok(None);
    };
    let number = metadata.rdev();
    LinuxDeviceBuilder::default()
        .path(target)
        .typ(kind)
        .major(i64::from(rustix::fs::major(number)))
        .minor(i64::from(rustix::fs::minor(number)))
        .file_mode(metadata.permissions().mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build()
        .map(Some)
        .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))
}

fn collect(directory: &Path, list: &mut Vec<LinuxDevice>, depth: u32) -> Result<()> {
    let fail = |source| Error::File {
        action: "read",
        path: directory.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(fail)?;
        if depth == 0 && OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        if kind.is_dir() && depth < 4 {
            collect(&path, list, depth + 1)?;
        } else if (kind.is_char_device() || kind.is_block_device())
            && let Some(target) = path.to_str()
            && !list.iter().any(|known| known.path() == &path)
        {
            list.extend(device(&path, target)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cove_model::instance::DeviceMapping;

    use super::*;

    fn spec(host: &str) -> InstanceSpec {
        InstanceSpec {
            devices: vec![DeviceMapping {
                host: host.into(),
                container: "/dev/mine".to_owned(),
                permissions: "rw".to_owned(),
            }],
            ..InstanceSpec::default()
        }
    }

    #[test]
    fn a_privileged_instance_has_the_hosts_devices_but_its_own_terminals() {
        let mut spec = InstanceSpec::default();
        spec.security.privileged = true;
        let list = devices(&spec).unwrap();
        let has = |path: &str| list.iter().any(|device| device.path() == Path::new(path));
        assert!(has("/dev/full"));
        assert!(!has("/dev/ptmx"));
    }

    #[test]
    fn a_device_keeps_its_number_under_another_name() {
        let list = devices(&spec("/dev/null")).unwrap();
        assert_eq!((list[0].major(), list[0].minor()), (1, 3));
        assert_eq!(list[0].path(), Path::new("/dev/mine"));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        assert!(
            devices(&spec("/etc/passwd"))
                .unwrap_err()
                .to_string()
                .contains("not a device")
        );
        assert!(devices(&spec("/dev/nope")).is_err());
    }
}
