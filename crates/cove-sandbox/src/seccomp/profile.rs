//! The default profile: what a container may call unless told otherwise.
//!
//! The lists are Docker's, kept in `default_profile.txt`; this file adds the
//! rules that look at arguments. Blocked are, among others, `io_uring_*`,
//! `keyctl`, `userfaultfd`, new namespaces without `CAP_SYS_ADMIN`, and sockets
//! of the families `AF_VSOCK` (which reaches the hypervisor past every network
//! rule) and `AF_ALG` (kernel crypto, a recurring source of escalations).

use std::str::FromStr;

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

const LISTS: &str = include_str!("default_profile.txt");

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Socket families from 12 up that may be used. Missing are `AF_DECnet`,
/// `AF_ECONET`, `AF_ATMSVC`, `AF_IRDA`, `AF_WANPIPE`, `AF_ISDN`, `AF_CAIF`,
/// `AF_ALG` and `AF_VSOCK`.
const FAMILIES: [u64; 25] = [
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];

/// Execution domains that may be chosen: Linux, 32-bit uname, both without
/// address randomization's read-implies-exec bit, and asking for the current one.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const NAMESPACES: u64 = 0x7e02_0000;

/// The profile for a container that may hold `caps` (its bounding set), on a
/// machine of architecture `arch`.
#[must_use]
pub fn default_profile(caps: &[Capability], arch: Arch) -> LinuxSeccomp {
    let (name, architectures) = match arch {
        Arch::ScmpArchX86_64 => ("amd64", vec![arch, Arch::ScmpArchX86, Arch::ScmpArchX32]),
        Arch::ScmpArchAarch64 => ("arm64", vec![arch, Arch::ScmpArchArm]),
        Arch::ScmpArchRiscv64 => ("riscv64", vec![arch]),
        other => ("", vec![other]),
    };
    let mut names: Vec<String> = Vec::with_capacity(448);
    let mut take = false;
    for line in LISTS.lines() {
        let Some((condition, list)) = line.split_once('|') else {
            continue;
        };
        let mut words = condition.split_whitespace();
        take = match words.next() {
            // The list before goes on.
            None => take,
            Some("always") => true,
            Some("cap") => words.any(|name| {
                let name = name.strip_prefix("CAP_").unwrap_or(name);
                Capability::from_str(name).is_ok_and(|cap| caps.contains(&cap))
            }),
            Some("arch") => words.any(|arch| arch == name),
            Some(_) => false,
        };
        if take && !line.starts_with('#') {
            names.extend(list.split_whitespace().map(str::to_owned));
        }
    }
    let mut syscalls = vec![rule(names, Action::ScmpActAllow, None)];
    syscalls.push(on("socket", Op::ScmpCmpLt, 12));
    syscalls.extend(
        FAMILIES
            .iter()
            .map(|&family| on("socket", Op::ScmpCmpEq, family)),
    );
    syscalls.extend(
        PERSONALITIES
            .iter()
            .map(|&value| on("personality", Op::ScmpCmpEq, value)),
    );
    if !caps.contains(&Capability::SysAdmin) {
        syscalls.push(on("clone", Op::ScmpCmpMaskedEq, NAMESPACES));
        // Its flags lie in memory; C libraries fall back to clone.
        syscalls.push(rule(
            vec!["clone3".to_owned()],
            Action::ScmpActErrno,
            Some(ENOSYS),
        ));
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno);
    profile.set_default_errno_ret(Some(EPERM));
    profile.set_architectures(Some(architectures));
    profile.set_syscalls(Some(syscalls));
    profile
}

/// Allows a call whose first argument compares; with a mask, to nothing.
fn on(name: &str, op: Op, value: u64) -> LinuxSyscall {
    let condition = LinuxSeccompArgBuilder::default()
        .index(0_usize)
        .op(op)
        .value(value)
        .build();
    let mut rule = rule(vec![name.to_owned()], Action::ScmpActAllow, None);
    // Every field has a default, so building cannot fail; were it to, the rule
    // would compare with zero, not allow everything.
    rule.set_args(Some(vec![condition.unwrap_or_default()]));
    rule
}

fn rule(names: Vec<String>, action: Action, errno: Option<u32>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names);
    rule.set_action(action);
    rule.set_errno_ret(errno);
    rule
}
