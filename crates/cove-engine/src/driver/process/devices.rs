//! Device nodes of the host that an instance gets.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use cove_model::instance::{DeviceMapping, InstanceSpec};
use oci_spec::runtime::{LinuxDeviceBuilder, LinuxDeviceType};

use crate::error::{Error, Result};
use crate::spec::Device;

/// Below `/dev`, but no devices of the host: the instance has its own.
const OWN: [&str; 6] = ["pts", "ptmx", "shm", "mqueue", "fd", "console"];

/// The devices the user named, in that order; of a privileged instance, all.
///
/// # Errors
/// When a named device is not there, or is neither a device nor a directory that has some.
pub(super) fn devices(spec: &InstanceSpec) -> Result<Vec<Device>> {
    let mut list = Vec::new();
    for mapping in &spec.devices {
        list.extend(named(mapping)?);
    }
    if spec.security.privileged {
        for device in below(Path::new("/dev"), Path::new("/dev"), "rwm", &OWN)? {
            let path = device.node.path();
            if !list.iter().any(|known| known.node.path() == path) {
                list.push(device);
            }
        }
    }
    Ok(list)
}

/// The device of a mapping, or all that are below its directory.
fn named(mapping: &DeviceMapping) -> Result<Vec<Device>> {
    let DeviceMapping {
        host,
        container,
        permissions,
    } = mapping;
    let metadata = fs::metadata(host).map_err(|source| Error::File {
        action: "use the device",
        path: host.clone(),
        source,
    })?;
    let target = Path::new(container);
    let found = if metadata.is_dir() {
        below(host, target, permissions, &[])?
    } else {
        Vec::from_iter(device(&metadata, target, permissions)?)
    };
    if found.is_empty() {
        return Err(Error::Invalid(format!(
            "error gathering device information while adding custom device \"{}\": not a device node",
            host.display()
        )));
    }
    Ok(found)
}

/// The node; `None` when it is something else.
fn device(metadata: &Metadata, target: &Path, access: &str) -> Result<Option<Device>> {
    let kind = metadata.file_type();
    let kind = if kind.is_char_device() {
        LinuxDeviceType::C
    } else if kind.is_block_device() {
        LinuxDeviceType::B
    } else {
        return Ok(None);
    };
    let number = metadata.rdev();
    let node = LinuxDeviceBuilder::default()
        .path(target)
        .typ(kind)
        .major(i64::from(rustix::fs::major(number)))
        .minor(i64::from(rustix::fs::minor(number)))
        .file_mode(metadata.permissions().mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build()
        .map_err(|error| Error::Invalid(format!("{}: {error}", target.display())))?;
    Ok(Some(Device {
        node,
        access: access.to_owned(),
    }))
}

/// The devices below a directory of the host, for an instance that has them below
/// `target`. Symbolic links lead to others, or out of it. Without the entries `except`.
fn below(directory: &Path, target: &Path, access: &str, except: &[&str]) -> Result<Vec<Device>> {
    let fail = |source| Error::File {
        action: "read",
        path: directory.to_owned(),
        source,
    };
    let mut list = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        if except.iter().any(|own| name == *own) {
            continue;
        }
        let target = target.join(&name);
        let metadata = match entry.metadata() {
            // The host's devices come and go.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(fail)?,
        };
        if metadata.is_dir() {
            list.extend(below(&entry.path(), &target, access, &[])?);
        } else {
            list.extend(device(&metadata, &target, access)?);
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
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
        let has = |path: &str| {
            list.iter()
                .any(|device| device.node.path() == Path::new(path))
        };
        assert!(has("/dev/full"));
        assert!(!has("/dev/ptmx"));
    }

    #[test]
    fn a_device_keeps_its_number_under_another_name() {
        let list = devices(&spec("/dev/null")).unwrap();
        let node = &list[0].node;
        assert_eq!((node.major(), node.minor()), (1, 3));
        assert_eq!(node.path(), Path::new("/dev/mine"));
    }

    #[test]
    fn a_directory_stands_for_the_devices_below_it() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("by")).unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/dev/full", place.path().join("link")).unwrap();
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            place.path().join("by/zero"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::RUSR,
            rustix::fs::makedev(1, 5),
        );
        made.unwrap();
        let mut spec = spec(place.path().to_str().unwrap());
        // The rule that follows belongs to another mapping.
        spec.devices.push(DeviceMapping {
            host: "/dev/null".into(),
            container: "/dev/other".to_owned(),
            permissions: "m".to_owned(),
        });
        let list = devices(&spec).unwrap();
        let shown = list.iter().map(|Device { node, access }| {
            (node.path().to_str().unwrap(), node.minor(), access.as_str())
        });
        assert_eq!(
            Vec::from_iter(shown),
            [("/dev/mine/by/zero", 5, "rw"), ("/dev/other", 3, "m")]
        );
        fs::remove_dir_all(place.path().join("by")).unwrap();
        assert!(devices(&spec).is_err());
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
