//! Mounts: as they were asked for, and as they are.

use cove_model::instance::{Mount, MountSource};

use crate::document::document;

document! {
    /// A mount as a container has it.
    pub struct MountPoint {
        kind: String = "Type",
        name: String = "Name" omitempty,
        source: String = "Source",
        destination: String = "Destination",
        driver: String = "Driver" omitempty,
        mode: String = "Mode",
        rw: bool = "RW",
        propagation: String = "Propagation",
    }

    /// A mount as `--mount` asks for it.
    pub struct MountRequest {
        kind: String = "Type" omitempty,
        source: String = "Source" omitempty,
        target: String = "Target" omitempty,
        read_only: bool = "ReadOnly" omitempty,
        bind_options: Option<BindOptions> = "BindOptions" omitempty,
        tmpfs_options: Option<TmpfsOptions> = "TmpfsOptions" omitempty,
    }

    /// What only mounts of the host's directories have.
    pub struct BindOptions {
        propagation: String = "Propagation" omitempty,
        non_recursive: bool = "NonRecursive" omitempty,
    }

    /// What only mounts in memory have.
    pub struct TmpfsOptions {
        size_bytes: u64 = "SizeBytes" omitempty,
        mode: u32 = "Mode" omitempty,
    }
}

impl MountPoint {
    /// The mounts that Docker lists: `--tmpfs` makes none of them.
    pub(super) fn of(mount: &Mount) -> Option<Self> {
        let destination = mount.target.clone();
        let rw = !mount.read_only;
        match &mount.source {
            MountSource::Bind {
                path, propagation, ..
            } => Some(Self {
                kind: "bind".to_owned(),
                source: path.display().to_string(),
                destination,
                mode: if rw { "" } else { "ro" }.to_owned(),
                rw,
                propagation: propagation.as_deref().unwrap_or("rprivate").to_owned(),
                ..Self::default()
            }),
            MountSource::Tmpfs { mount: true, .. } => Some(Self {
                kind: "tmpfs".to_owned(),
                destination,
                rw,
                ..Self::default()
            }),
            MountSource::Tmpfs { mount: false, .. } => None,
        }
    }
}

impl MountRequest {
    /// What `--mount` says and neither `-v` nor `--tmpfs` does.
    pub(super) fn of(mount: &Mount) -> Option<Self> {
        let request = Self {
            target: mount.target.clone(),
            read_only: mount.read_only,
            ..Self::default()
        };
        match &mount.source {
            MountSource::Bind {
                path,
                propagation,
                non_recursive,
                create: false,
            } => Some(Self {
                kind: "bind".to_owned(),
                source: path.display().to_string(),
                bind_options: (propagation.is_some() || *non_recursive).then(|| BindOptions {
                    propagation: propagation.clone().unwrap_or_default(),
                    non_recursive: *non_recursive,
                }),
                ..request
            }),
            MountSource::Tmpfs {
                options,
                mount: true,
            } => Some(Self {
                kind: "tmpfs".to_owned(),
                tmpfs_options: TmpfsOptions::read(options),
                ..request
            }),
            MountSource::Bind { create: true, .. } | MountSource::Tmpfs { mount: false, .. } => {
                None
            }
        }
    }
}

impl TmpfsOptions {
    fn read(options: &str) -> Option<Self> {
        let value = |name: &str| {
            options
                .split(',')
                .find_map(|option| option.strip_prefix(name))
        };
        let size = value("size=").and_then(|size| size.parse().ok());
        let mode = value("mode=").and_then(|mode| u32::from_str_radix(mode, 8).ok());
        (size.is_some() || mode.is_some()).then(|| Self {
            size_bytes: size.unwrap_or_default(),
            mode: mode.unwrap_or_default(),
        })
    }
}

/// A bind mount as `-v` asks for it.
pub(super) fn bind(mount: &Mount) -> Option<String> {
    match &mount.source {
        MountSource::Bind {
            path,
            propagation,
            create: true,
            ..
        } => {
            let read_only = mount.read_only.then_some("ro");
            let options: Vec<&str> = read_only
                .into_iter()
                .chain(propagation.as_deref())
                .collect();
            let colon = if options.is_empty() { "" } else { ":" };
            let options = options.join(",");
            Some(format!(
                "{}:{}{colon}{options}",
                path.display(),
                mount.target
            ))
        }
        MountSource::Bind { create: false, .. } | MountSource::Tmpfs { .. } => None,
    }
}

/// A mount as `--tmpfs` asks for it: where, and how.
pub(super) fn tmpfs(mount: &Mount) -> Option<(String, String)> {
    match &mount.source {
        MountSource::Tmpfs {
            options,
            mount: false,
        } => Some((mount.target.clone(), options.clone())),
        MountSource::Tmpfs { mount: true, .. } | MountSource::Bind { .. } => None,
    }
}
