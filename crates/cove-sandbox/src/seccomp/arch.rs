//! The architectures a filter can tell apart.

use oci_spec::runtime::Arch;

use super::table::{ARM_PRIVATE, NONE, Row};

/// The bit that sets x32 calls apart from those of x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// One calling convention: its number in `seccomp_data.arch` and its column
/// of the call table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abi {
    pub(super) audit: u32,
    column: usize,
    /// Added to the table's numbers.
    pub(super) base: u32,
    /// Whether arguments are 32 bits wide.
    pub(super) narrow: bool,
}

pub(super) const X86_64: Abi = Abi {
    audit: 0xc000_003e,
    column: 0,
    base: 0,
    narrow: false,
};
pub(super) const X86: Abi = Abi {
    audit: 0x4000_0003,
    column: 1,
    base: 0,
    narrow: true,
};
pub(super) const X32: Abi = Abi {
    audit: 0xc000_003e,
    column: 2,
    base: X32_BIT,
    narrow: true,
};
pub(super) const AARCH64: Abi = Abi {
    audit: 0xc000_00b7,
    column: 3,
    base: 0,
    narrow: false,
};
pub(super) const ARM: Abi = Abi {
    audit: 0x4000_0028,
    column: 4,
    base: 0,
    narrow: true,
};
pub(super) const RISCV64: Abi = Abi {
    audit: 0xc000_00f3,
    column: 5,
    base: 0,
    narrow: false,
};

/// What this program itself runs on.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: Abi = X86_64;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: Abi = AARCH64;
#[cfg(target_arch = "riscv64")]
pub(super) const NATIVE: Abi = RISCV64;

impl Abi {
    /// The call's number in a row of the table.
    pub(super) fn number(&self, row: &Row) -> Option<u32> {
        let number = row.1[self.column];
        (number != NONE).then_some(u32::from(number))
    }

    /// The number of a call that lies outside of the table.
    pub(super) fn private(&self, name: &str) -> Option<u32> {
        if *self != ARM {
            return None;
        }
        ARM_PRIVATE
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number)
    }
}

/// The conventions to filter: the native one and those listed. An
/// architecture without a table cannot occur on a machine Cove runs on, so
/// naming it changes nothing.
pub(super) fn selected(native: Abi, listed: &[Arch]) -> Vec<Abi> {
    let mut abis = vec![native];
    for arch in listed {
        let abi = match arch {
            Arch::ScmpArchNative => native,
            Arch::ScmpArchX86_64 => X86_64,
            Arch::ScmpArchX86 => X86,
            Arch::ScmpArchX32 => X32,
            Arch::ScmpArchAarch64 => AARCH64,
            Arch::ScmpArchArm => ARM,
            Arch::ScmpArchRiscv64 => RISCV64,
            _ => continue,
        };
        if !abis.contains(&abi) {
            abis.push(abi);
        }
    }
    abis
}
