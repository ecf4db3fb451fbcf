//! Capability sets: names of the specification become the kernel's bits.

use cove_sys::caps::CapSets;
use oci_spec::runtime::{Capabilities, Capability, Process};

/// In the order of the kernel's numbers, which begin with 0.
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// The highest three came with 5.8 and 5.9.
const OLD: u64 = (1 << 38) - 1;

/// The sets of a process; without any it has none. What this kernel lacks is left out with a warning,
/// as the specification wants it.
pub(super) fn sets(process: &Process, warnings: &mut Vec<String>) -> CapSets {
    let Some(sets) = process.capabilities().as_ref() else {
        return CapSets::default();
    };
    let sets = CapSets {
        bounding: mask(sets.bounding().as_ref()),
        effective: mask(sets.effective().as_ref()),
        inheritable: mask(sets.inheritable().as_ref()),
        permitted: mask(sets.permitted().as_ref()),
        ambient: mask(sets.ambient().as_ref()),
    };
    let all = sets.all();
    if all & !OLD == 0 {
        return sets;
    }
    let known = cove_sys::caps::known();
    if all & !known != 0 {
        let names = names(all & !known);
        warnings.push(format!("ignoring capabilities this kernel lacks: {names}"));
    }
    sets.within(known)
}

fn mask(set: Option<&Capabilities>) -> u64 {
    let bit = |capability| ALL.iter().position(|one| one == capability);
    set.into_iter()
        .flatten()
        .filter_map(bit)
        .fold(0, |mask, bit| mask | 1 << bit)
}

/// `CAP_CHOWN, CAP_KILL`, for a message.
pub(crate) fn names(mask: u64) -> String {
    let named = ALL.iter().enumerate();
    let named = named.filter(|(bit, _)| mask & (1 << bit) != 0);
    let named: Vec<String> = named.map(|(_, one)| format!("CAP_{one}")).collect();
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_SYS_RESOURCE", 24),
            ("CAP_AUDIT_READ", 37),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            let one: Capability = serde_json::from_value(name.into()).unwrap();
            assert_eq!(mask(Some(&Capabilities::from([one]))), 1 << number);
            assert_eq!(names(1 << number), name);
        }
        let mut different = ALL.to_vec();
        different.sort_by_key(ToString::to_string);
        different.dedup();
        assert_eq!(different.len(), ALL.len());
        assert_eq!(names(0b100001), "CAP_CHOWN, CAP_KILL");
    }
}
