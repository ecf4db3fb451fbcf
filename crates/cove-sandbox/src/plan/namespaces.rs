//! Which namespaces are new, which are joined, and which combinations make no sense.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cove_sys::ns;
use cove_sys::sysctl::Sysctl;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};
use rustix::fs::{CWD, Mode, OFlags, fstat, stat};

use super::{filled, invalid};
use crate::error::{Error, Result};

/// A namespace to join.
#[derive(Debug)]
pub(crate) struct Join {
    pub kind: u64,
    pub fd: OwnedFd,
    pub path: PathBuf,
    /// It is the one that this process is in.
    pub ours: bool,
}

/// The namespaces of a container.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW*` bits of those that are made.
    pub new: u64,
    /// Those that exist.
    pub join: Vec<Join>,
}

impl Namespaces {
    pub(super) fn new(linux: Option<&Linux>) -> Result<Self> {
        let mut result = Self::default();
        let mut seen = 0;
        for namespace in linux
            .and_then(|l| l.namespaces().as_ref())
            .into_iter()
            .flatten()
        {
            let (kind, name) = kind_of(namespace.typ());
            if seen & kind != 0 {
                return Err(invalid(format!(
                    "namespace {} is listed twice",
                    namespace.typ()
                )));
            }
            seen |= kind;
            match namespace
                .path()
                .as_ref()
                .filter(|path| !path.as_os_str().is_empty())
            {
                None => result.new |= kind,
                Some(path) => {
                    let join = open(kind, name, path)?;
                    // Nobody enters the user namespace that he is in.
                    if kind != ns::USER || !join.ours {
                        result.join.push(join);
                    }
                }
            }
        }
        Ok(result)
    }

    /// New or joined, and not that of this process, in which a change would be the host's.
    pub(crate) fn has(&self, kind: u64) -> bool {
        let joins = |join: &Join| join.kind == kind && !join.ours;
        self.new & kind != 0 || self.join.iter().any(joins)
    }

    pub(crate) fn joins(&self, kind: u64) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// Whether the init is made in its new namespaces at once. Else a first process joins others
    /// before: one of another owner cannot be joined from a new user namespace, and those that are
    /// new belong to the user namespace that they are made in.
    pub(crate) fn made_at_once(&self) -> bool {
        let joins = self.join.iter().any(|join| !join.ours);
        !(self.joins(ns::USER) || joins && self.new & ns::USER != 0)
    }

    /// Whether that first process makes a second one to go on, since it cannot itself be in the user
    /// or pid namespace.
    pub(crate) fn goes_on_in_second(&self) -> bool {
        let pid = self.joins(ns::PID) || self.new & ns::PID != 0;
        !self.made_at_once() && (pid || self.new & ns::USER != 0)
    }

    /// All that differ from the caller's.
    pub(crate) fn all(&self) -> u64 {
        self.join.iter().fold(self.new, |all, join| all | join.kind)
    }

    pub(super) fn check(&self, spec: &Spec, linux: Option<&Linux>) -> Result<()> {
        if !self.has(ns::MOUNT) {
            // The specification allows it, and runc and crun then mount in the runtime's namespace and
            // change the root by chroot. Every mount would be the host's, there for all to see and
            // left behind by a runtime that is killed, and root would leave such a root.
            return Err(invalid(
                "a container needs a mount namespace of its own: without one its mounts would be \
                 the host's, and its root a chroot that root leaves",
            ));
        }
        let host = rustix::system::uname();
        let names = [
            (spec.hostname(), host.nodename()),
            (spec.domainname(), host.domainname()),
        ];
        // Who joins the host's may say what it is called.
        let own = |name: &str, now: &CStr| self.joins(ns::UTS) && name.as_bytes() == now.to_bytes();
        let renames = names
            .iter()
            .any(|(name, now)| filled(name.as_ref()).is_some_and(|name| !own(name, now)));
        if renames && !self.has(ns::UTS) {
            return Err(invalid("hostname and domainname need a uts namespace"));
        }
        let Some(linux) = linux else { return Ok(()) };
        let mapped = |maps: &Option<Vec<_>>| maps.as_ref().is_some_and(|maps| !maps.is_empty());
        let maps = (mapped(linux.uid_mappings()), mapped(linux.gid_mappings()));
        if self.new & ns::USER != 0 && maps != (true, true) {
            return Err(invalid(
                "a new user namespace needs uidMappings and gidMappings",
            ));
        }
        if !self.has(ns::USER) && maps != (false, false) {
            return Err(invalid("uidMappings and gidMappings need a user namespace"));
        }
        let offsets = linux
            .time_offsets()
            .as_ref()
            .is_some_and(|map| !map.is_empty());
        if offsets && self.new & ns::TIME == 0 {
            return Err(invalid("timeOffsets need a new time namespace"));
        }
        if linux
            .net_devices()
            .as_ref()
            .is_some_and(|map| !map.is_empty())
            && !self.has(ns::NET)
        {
            return Err(invalid("netDevices need a network namespace"));
        }
        Ok(())
    }

    /// A sysctl that no namespace confines would change the host.
    pub(super) fn sysctl(&self, key: &str) -> Result<Sysctl> {
        let Some(sysctl) = Sysctl::parse(key) else {
            return Err(invalid(format!(
                "sysctl {key:?} is not separate per container"
            )));
        };
        if self.has(sysctl.namespace) {
            return Ok(sysctl);
        }
        Err(invalid(format!(
            "sysctl {key:?} needs a namespace of its own, else it is the host's"
        )))
    }
}

/// The bit of a kind and its name in `/proc/self/ns`.
fn kind_of(kind: LinuxNamespaceType) -> (u64, &'static str) {
    match kind {
        LinuxNamespaceType::Mount => (ns::MOUNT, "mnt"),
        LinuxNamespaceType::Cgroup => (ns::CGROUP, "cgroup"),
        LinuxNamespaceType::Uts => (ns::UTS, "uts"),
        LinuxNamespaceType::Ipc => (ns::IPC, "ipc"),
        LinuxNamespaceType::User => (ns::USER, "user"),
        LinuxNamespaceType::Pid => (ns::PID, "pid"),
        LinuxNamespaceType::Network => (ns::NET, "net"),
        LinuxNamespaceType::Time => (ns::TIME, "time"),
    }
}

fn open(kind: u64, name: &str, path: &PathBuf) -> Result<Join> {
    if !path.is_absolute() {
        return Err(invalid(format!("namespace path {path:?} is not absolute")));
    }
    let fd = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::path("open namespace", path, e))?;
    match ns::kind_of(&fd) {
        Ok(found) if found == kind => {}
        Ok(_) => return Err(invalid(format!("{path:?} is a namespace of another type"))),
        Err(_) => return Err(invalid(format!("{path:?} is no namespace"))),
    }
    let own = PathBuf::from("/proc/self/ns").join(name);
    let ours = stat(&own).map_err(|e| Error::path("examine namespace", own, e))?;
    let found = fstat(&fd).map_err(|e| Error::path("examine namespace", path, e))?;
    Ok(Join {
        kind,
        fd,
        path: path.clone(),
        ours: (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_without_its_namespace_is_refused() {
        let none = Namespaces::default();
        let net = Namespaces {
            new: ns::NET,
            join: Vec::new(),
        };
        assert!(net.sysctl("net.ipv4.ip_forward").is_ok());
        assert!(none.sysctl("net.ipv4.ip_forward").is_err());
        assert!(net.sysctl("kernel.shmmax").is_err());
        assert!(net.sysctl("kernel.core_pattern").is_err());
        let ours = Namespaces {
            new: 0,
            join: vec![open(ns::NET, "net", &"/proc/self/ns/net".into()).unwrap()],
        };
        let refused = ours.sysctl("net.ipv4.ip_forward").unwrap_err();
        assert!(refused.to_string().contains("the host's"), "{refused}");
    }

    #[test]
    fn a_path_of_another_type_is_refused() {
        let net = "/proc/self/ns/net".into();
        assert!(open(ns::NET, "net", &net).is_ok());
        assert!(open(ns::UTS, "uts", &net).is_err());
        assert!(open(ns::UTS, "uts", &"/dev/null".into()).is_err());
    }
}
