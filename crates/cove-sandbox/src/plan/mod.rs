//! What the specification says, checked and turned into what the init needs. Pure but for opening
//! the namespaces it names; everything that can be refused is refused here, before a process exists.

mod capabilities;
mod env;
mod idmap;
mod mount;
mod namespaces;
mod process;

pub(crate) use capabilities::names as capability_names;
pub(crate) use env::set as set_variable;
pub(crate) use idmap::{IdMaps, Ids};
pub(crate) use mount::{Kind, MountPlan, clean};
pub(crate) use namespaces::{Join, Namespaces};
pub use process::highest_limit;
pub(crate) use process::{ProcessPlan, numbers};

use std::path::{Path, PathBuf};

use cove_sys::sysctl::Sysctl;
use oci_spec::runtime::{Hook, Linux, Process, Spec};

use crate::error::{Error, Result};
use crate::seccomp;

/// Everything the init does, fixed.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub spec: &'a Spec,
    pub linux: Option<&'a Linux>,
    /// Absolute path of the root filesystem on the host.
    pub rootfs: PathBuf,
    pub readonly_root: bool,
    /// `MS_*` of `rootfsPropagation` and whether it is recursive.
    pub propagation: Option<(u64, bool)>,
    pub namespaces: Namespaces,
    pub sysctls: Vec<(Sysctl, &'a str)>,
    pub mounts: Vec<MountPlan<'a>>,
    pub process: ProcessPlan<'a>,
    pub seccomp: Option<seccomp::Program>,
    /// Hooks that expect the host's root to be in reach while they run.
    pub early_hooks: bool,
    pub warnings: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(spec: &'a Spec, bundle: &Path) -> Result<Self> {
        check_version(spec.version())?;
        let linux = spec.linux().as_ref();
        let root = spec
            .root()
            .as_ref()
            .ok_or_else(|| invalid("root is missing"))?;
        if root.path().as_os_str().is_empty() {
            // It would be the bundle.
            return Err(invalid("root.path is missing"));
        }
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| invalid("process is missing"))?;
        let mut warnings = Vec::new();
        let namespaces = Namespaces::new(linux)?;
        let rootfs = bundle.join(root.path());
        let joins = namespaces.joins(cove_sys::ns::USER);
        let mounts = mount::plan(spec, bundle, &rootfs, joins, &mut warnings)?;
        namespaces.check(spec, linux)?;
        let sysctls = linux.and_then(|linux| linux.sysctl().as_ref());
        let sysctls = sysctls
            .into_iter()
            .flatten()
            .map(|(key, value)| Ok((namespaces.sysctl(key)?, value.as_str())))
            .collect::<Result<_>>()?;
        if let Some(linux) = linux {
            check_linux(linux)?;
        }
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        warnings.extend(resources.and_then(crate::cgroup::obsolete));
        let seccomp = match linux.and_then(|l| l.seccomp().as_ref()) {
            Some(profile) => {
                Some(seccomp::compile(profile).map_err(|source| Error::Seccomp { source })?)
            }
            None => None,
        };
        Ok(Self {
            spec,
            linux,
            rootfs,
            readonly_root: root.readonly().unwrap_or(false),
            propagation: propagation(linux)?,
            namespaces,
            sysctls,
            mounts,
            process: process_plan(spec, process, &mut warnings)?,
            seccomp,
            early_hooks: early_hooks(spec),
            warnings,
        })
    }

    /// The part that a process executed in a running container needs; `spec` holds no more.
    pub(crate) fn for_exec(spec: &'a Spec, rootfs: &Path) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| invalid("process is missing"))?;
        let mut warnings = Vec::new();
        let profile = linux.and_then(|l| l.seccomp().as_ref());
        Ok(Self {
            spec,
            linux,
            rootfs: rootfs.to_owned(),
            readonly_root: false,
            propagation: None,
            namespaces: Namespaces::default(),
            sysctls: Vec::new(),
            mounts: Vec::new(),
            process: process_plan(spec, process, &mut warnings)?,
            seccomp: profile
                .map(seccomp::compile)
                .transpose()
                .map_err(|source| Error::Seccomp { source })?,
            early_hooks: false,
            warnings,
        })
    }

    pub(crate) fn mount_label(&self) -> Option<&'a str> {
        filled(self.linux.and_then(|linux| linux.mount_label().as_ref()))
    }

    /// What is written to the kernel for `timeOffsets`, where there are any.
    pub(crate) fn time_offsets(&self) -> Option<String> {
        let offsets = self.linux?.time_offsets().as_ref()?;
        let mut text = String::new();
        for (clock, offset) in offsets {
            let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            text.push_str(&format!("{clock} {secs} {nanos}\n"));
        }
        (!text.is_empty()).then_some(text)
    }

    pub(crate) fn hooks(&self, kind: HookKind) -> &'a [Hook] {
        kind.of(self.spec.hooks().as_ref())
    }
}

/// The six points of a life at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookKind {
    /// Those that run before the user's program does.
    pub(crate) const OF_CREATION: [Self; 4] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// Whether such hooks run among the runtime's own namespaces.
    pub(crate) fn is_of_runtime(self) -> bool {
        match self {
            Self::Prestart | Self::CreateRuntime | Self::Poststart | Self::Poststop => true,
            Self::CreateContainer | Self::StartContainer => false,
        }
    }

    pub(crate) fn of(self, hooks: Option<&oci_spec::runtime::Hooks>) -> &[Hook] {
        let Some(hooks) = hooks else { return &[] };
        let list = match self {
            Self::Prestart => hooks.prestart(),
            Self::CreateRuntime => hooks.create_runtime(),
            Self::CreateContainer => hooks.create_container(),
            Self::StartContainer => hooks.start_container(),
            Self::Poststart => hooks.poststart(),
            Self::Poststop => hooks.poststop(),
        };
        list.as_deref().unwrap_or_default()
    }
}

/// A text that the specification may also leave empty, which says as little as its absence.
pub(crate) fn filled(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

pub(crate) fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

fn process_plan<'a>(
    spec: &Spec,
    process: &'a Process,
    warnings: &mut Vec<String>,
) -> Result<ProcessPlan<'a>> {
    let mut plan = ProcessPlan::new(process, warnings)?;
    // Podman's `--group-add keep-groups`.
    let annotations = spec.annotations().as_ref();
    let keep = annotations.and_then(|all| all.get("run.oci.keep_original_groups"));
    plan.keep_groups = keep.is_some_and(|value| value == "1");
    Ok(plan)
}

fn early_hooks(spec: &Spec) -> bool {
    // But for the last, which runs when it has changed.
    let [early @ .., _] = HookKind::OF_CREATION;
    early
        .into_iter()
        .any(|kind| !kind.of(spec.hooks().as_ref()).is_empty())
}

fn check_version(version: &str) -> Result<()> {
    let major = version.split('.').next();
    if major != Some("1") {
        return Err(invalid(format!("ociVersion {version:?} is not 1.x")));
    }
    Ok(())
}

fn check_linux(linux: &Linux) -> Result<()> {
    for path in linux
        .masked_paths()
        .iter()
        .chain(linux.readonly_paths())
        .flatten()
    {
        if !path.starts_with('/') {
            return Err(invalid(format!(
                "masked or read-only path {path:?} is not absolute"
            )));
        }
    }
    for device in linux.devices().iter().flatten() {
        if !device.path().is_absolute() {
            return Err(invalid(format!(
                "device path {:?} is not absolute",
                device.path()
            )));
        }
    }
    if linux.intel_rdt().is_some() {
        crate::lsm::check_resctrl()?;
    }
    Ok(())
}

fn propagation(linux: Option<&Linux>) -> Result<Option<(u64, bool)>> {
    let Some(name) = filled(linux.and_then(|l| l.rootfs_propagation().as_ref())) else {
        return Ok(None);
    };
    mount::propagation_of(name)
        .map(Some)
        .ok_or_else(|| invalid(format!("rootfsPropagation {name:?} is unknown")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert!(check_version("1.0.2-dev").is_ok());
        assert!(check_version("1.3.0").is_ok());
        for bad in ["", "2.0.0", "10.1", "x"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }
}
