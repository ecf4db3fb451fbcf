//! The compiler against a direct reading of the rules, by an interpreter of
//! the kernel's BPF; and real filters in a forked child.

use std::time::Instant;

use cove_sys::seccomp::SockFilter;
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Op,
    LinuxSyscall,
};
use proptest::prelude::*;

use super::arch::{AARCH64, ARM, Abi, RISCV64, X32, X32_BIT, X86, X86_64};
use super::compile::compile_for;
use super::table::CALLS;
use super::{SeccompError, compile, default_profile};

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}

/// Runs a program as the kernel does. Panics where the kernel would refuse it.
fn interpret(program: &[SockFilter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0_u8; 64];
    data[..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&arch.to_ne_bytes());
    for (slot, argument) in data[16..].chunks_exact_mut(8).zip(arguments) {
        slot.copy_from_slice(&argument.to_ne_bytes());
    }
    let mut a = 0_u32;
    let mut pc = 0;
    loop {
        let SockFilter { code, jt, jf, k } = program[pc];
        pc += 1;
        let test = match code {
            0x20 => {
                let at = usize::try_from(k).unwrap();
                assert!(at.is_multiple_of(4));
                a = u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
                continue;
            }
            0x54 => {
                a &= k;
                continue;
            }
            0x05 => {
                pc += usize::try_from(k).unwrap();
                continue;
            }
            0x06 => return k,
            0x15 => a == k,
            0x25 => a > k,
            0x35 => a >= k,
            other => panic!("unexpected instruction {other:#x}"),
        };
        pc += usize::from(if test { jt } else { jf });
    }
}

fn number(abi: &Abi, name: &str) -> u32 {
    let row = CALLS.iter().find(|(known, _)| *known == name).unwrap();
    abi.number(row).unwrap() + abi.base
}

fn spec(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

/// The outcome of `name` under a compiled section, native x86_64.
fn outcome(spec: &LinuxSeccomp, abi: &Abi, name: &str, arguments: [u64; 6]) -> u32 {
    let program = compile_for(spec, X86_64).unwrap();
    interpret(
        program.instructions(),
        abi.audit,
        number(abi, name),
        arguments,
    )
}

#[test]
fn the_table_is_sorted_and_known() {
    assert!(CALLS.is_sorted_by(|a, b| a.0 < b.0));
    for (abi, name, want) in [
        (&X86_64, "read", 0),
        (&X86, "read", 3),
        (&X32, "ioctl", X32_BIT + 514),
        (&AARCH64, "openat2", 437),
        (&ARM, "read", 3),
        (&RISCV64, "clone3", 435),
    ] {
        assert_eq!(number(abi, name), want, "{name}");
    }
}

#[test]
fn actions() {
    for (action, errno_ret, want) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, errno(1)),
        ("SCMP_ACT_ERRNO", Some(13), errno(13)),
        ("SCMP_ACT_TRACE", Some(7), 0x7ff0_0007),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
    ] {
        let extra = errno_ret.map_or(String::new(), |e| format!(r#","errnoRet":{e}"#));
        let spec = spec(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[
                {{"names":["getcwd","no_such_call"],"action":"{action}"{extra}}}]}}"#
        ));
        assert_eq!(outcome(&spec, &X86_64, "getcwd", [0; 6]), want, "{action}");
        assert_eq!(outcome(&spec, &X86_64, "read", [0; 6]), ALLOW);
        assert_eq!(
            compile(&spec).unwrap().notifies(),
            action == "SCMP_ACT_NOTIFY"
        );
    }
}

#[test]
fn precedence_is_libseccomps() {
    // A rule without arguments beats those with, wherever it stands.
    let both = spec(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["dup"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["dup"],"action":"SCMP_ACT_ALLOW"},
            {"names":["dup"],"action":"SCMP_ACT_TRAP"},
            {"names":["dup2"],"action":"SCMP_ACT_ERRNO"},
            {"names":["dup2"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["dup3"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(outcome(&both, &X86_64, "dup", [1, 0, 0, 0, 0, 0]), ALLOW);
    // A rule that only repeats the default does not shadow the next one.
    assert_eq!(outcome(&both, &X86_64, "dup2", [1, 0, 0, 0, 0, 0]), ALLOW);
    // Two conditions on one argument are alternatives.
    for (argument, want) in [(1, ALLOW), (2, ALLOW), (3, errno(1))] {
        assert_eq!(
            outcome(&both, &X86_64, "dup3", [argument, 0, 0, 0, 0, 0]),
            want
        );
    }
}

#[test]
fn unknown_calls_and_foreign_architectures() {
    let deny = spec(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
            "syscalls":[{"names":["read","statx"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let program = compile_for(&deny, X86_64).unwrap();
    let run = |arch, number| interpret(program.instructions(), arch, number, [0; 6]);
    assert_eq!(run(X86_64.audit, 331), errno(1));
    assert_eq!(run(X86_64.audit, 332), ALLOW);
    assert_eq!(run(X86_64.audit, 333), errno(38));
    assert_eq!(run(X86_64.audit, u32::MAX), errno(38));
    // x32 is not listed: as if the kernel did not have it.
    assert_eq!(run(X86_64.audit, X32_BIT), errno(38));
    assert_eq!(run(X86.audit, 3), ALLOW);
    assert_eq!(run(AARCH64.audit, 63), KILL_PROCESS);

    let allow = spec(
        r#"{"defaultAction":"SCMP_ACT_ALLOW",
            "syscalls":[{"names":["socket"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let program = compile_for(&allow, X86_64).unwrap();
    let run = |arch, number| interpret(program.instructions(), arch, number, [0; 6]);
    assert_eq!(run(X86_64.audit, 9999), ALLOW);
    // Neither x32 nor 32-bit may be a way around the rule.
    assert_eq!(run(X86_64.audit, X32_BIT + 41), KILL_PROCESS);
    assert_eq!(run(X86.audit, 359), KILL_PROCESS);
}

#[test]
fn socketcall_is_the_same_socket() {
    let spec = spec(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],
            "syscalls":[{"names":["socket","shmget"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    for (call, selector, want) in [
        ("socketcall", 1, errno(1)),
        ("socketcall", 2, ALLOW),
        ("ipc", 23, errno(1)),
        ("ipc", 1, ALLOW),
    ] {
        assert_eq!(
            outcome(&spec, &X86, call, [selector, 0, 0, 0, 0, 0]),
            want,
            "{call}"
        );
    }
    assert_eq!(outcome(&spec, &X32, "socket", [0; 6]), errno(1));
}

#[test]
fn what_cannot_be_is_refused() {
    type Check = fn(&SeccompError) -> bool;
    let cases: [(&str, Check); 7] = [
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
            |e| matches!(e, SeccompError::ErrnoUnsupported { .. }),
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#,
            |e| matches!(e, SeccompError::ErrnoRange { .. }),
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x"}"#,
            |e| matches!(e, SeccompError::Notify { .. }),
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[
                {"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            |e| matches!(e, SeccompError::Notify { .. }),
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[
                {"names":["mkdir","sendmsg"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            |e| matches!(e, SeccompError::Notify { .. }),
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            |e| matches!(e, SeccompError::NoListener),
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["mkdir"],"action":"SCMP_ACT_TRAP","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
            |e| matches!(e, SeccompError::Argument { index: 6, .. }),
        ),
    ];
    for (json, check) in cases {
        let error = compile(&spec(json)).unwrap_err();
        assert!(check(&error), "{json}: {error}");
    }
}

#[test]
fn the_default_profile() {
    let plain = default_profile(&[], Arch::ScmpArchX86_64);
    let admin = default_profile(&[Capability::SysAdmin], Arch::ScmpArchX86_64);
    let family = |family| [family, 0, 0, 0, 0, 0];
    for abi in [&X86_64, &X86, &X32] {
        for (name, arguments, want, want_admin) in [
            ("read", [0; 6], ALLOW, ALLOW),
            ("io_uring_setup", [0; 6], errno(1), errno(1)),
            ("keyctl", [0; 6], errno(1), errno(1)),
            ("userfaultfd", [0; 6], errno(1), errno(1)),
            ("mount", [0; 6], errno(1), ALLOW),
            ("ptrace", [0; 6], ALLOW, ALLOW),
            ("clone3", [0; 6], errno(38), ALLOW),
            ("clone", [0x11, 0, 0, 0, 0, 0], ALLOW, ALLOW),
            ("clone", [0x1000_0011, 0, 0, 0, 0, 0], errno(1), ALLOW),
            ("clone", [0x0200_0000, 0, 0, 0, 0, 0], errno(1), ALLOW),
            ("socket", family(2), ALLOW, ALLOW),
            ("socket", family(11), ALLOW, ALLOW),
            ("socket", family(12), errno(1), errno(1)),
            ("socket", family(16), ALLOW, ALLOW),
            ("socket", family(38), errno(1), errno(1)),
            ("socket", family(40), errno(1), errno(1)),
            ("socket", family(44), ALLOW, ALLOW),
            ("socket", family(46), errno(1), errno(1)),
            ("personality", family(0x2_0008), ALLOW, ALLOW),
            ("personality", family(0x4_0000), errno(1), errno(1)),
        ] {
            let got = (
                outcome(&plain, abi, name, arguments),
                outcome(&admin, abi, name, arguments),
            );
            assert_eq!(got, (want, want_admin), "{name} {arguments:x?} {abi:?}");
        }
    }
    // What a 64-bit caller hides in the high half of a family.
    assert_eq!(
        outcome(&plain, &X86_64, "socket", family(1 << 32 | 2)),
        errno(1)
    );
    let chroot = default_profile(&[Capability::SysChroot], Arch::ScmpArchX86_64);
    assert_eq!(outcome(&chroot, &X86_64, "chroot", [0; 6]), ALLOW);
    assert_eq!(outcome(&plain, &X86_64, "chroot", [0; 6]), errno(1));
    for (arch, native) in [
        (Arch::ScmpArchAarch64, AARCH64),
        (Arch::ScmpArchRiscv64, RISCV64),
    ] {
        let program = compile_for(&default_profile(&[], arch), native).unwrap();
        let run = |abi: &Abi, number| interpret(program.instructions(), abi.audit, number, [0; 6]);
        assert_eq!(run(&native, number(&native, "openat")), ALLOW);
        assert_eq!(run(&native, number(&native, "mount")), errno(1));
        if native == AARCH64 {
            assert_eq!(run(&ARM, 0xf_0002), ALLOW);
            assert_eq!(run(&ARM, 0xf_0005), ALLOW);
            assert_eq!(run(&ARM, 0xf_0003), errno(1));
            assert_eq!(run(&ARM, 0xe_0000), errno(38));
        }
    }
}

#[test]
fn the_default_profile_is_small_and_quick() {
    let profile = default_profile(&[], Arch::ScmpArchX86_64);
    let rounds = 50;
    let start = Instant::now();
    let mut length = 0;
    for _ in 0..rounds {
        length = compile(&profile).unwrap().instructions().len();
    }
    let each = start.elapsed() / rounds;
    let start = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(default_profile(&[], Arch::ScmpArchX86_64));
    }
    println!(
        "{length} instructions, compiled in {each:?}, built in {:?}",
        start.elapsed() / rounds
    );
    assert!(length < 700, "{length}");
}

#[test]
fn flags() {
    use cove_sys::seccomp::FilterFlags as F;
    let with = |flags: Option<Vec<Flag>>, notify: bool| {
        let mut spec = spec(r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#);
        spec.set_flags(flags);
        if notify {
            let mut rule = LinuxSyscall::default();
            rule.set_names(vec!["mkdir".to_owned()]);
            rule.set_action(Action::ScmpActNotify);
            spec.set_syscalls(Some(vec![rule]));
        }
        compile(&spec).unwrap().flags
    };
    assert_eq!(with(None, false), F::SPEC_ALLOW);
    assert_eq!(with(Some(vec![]), false), F::empty());
    let all = vec![
        Flag::SeccompFilterFlagLog,
        Flag::SeccompFilterFlagTsync,
        Flag::SeccompFilterFlagWaitKillableRecv,
    ];
    assert_eq!(with(Some(all.clone()), false), F::LOG | F::TSYNC);
    assert_eq!(
        with(Some(all), true),
        F::LOG | F::TSYNC | F::TSYNC_ESRCH | F::NEW_LISTENER | F::WAIT_KILLABLE_RECV
    );
}

/// A direct reading of the rules, sharing nothing with the compiler.
fn direct(spec: &LinuxSeccomp, narrow: bool, name: &str, arguments: [u64; 6]) -> u32 {
    let value = |action: Action, errno: Option<u32>| action.as_u32(errno);
    let default = value(spec.default_action(), spec.default_errno_ret());
    let entries = || {
        spec.syscalls().iter().flatten().filter(|entry| {
            entry.names().iter().any(|n| n == name)
                && value(entry.action(), entry.errno_ret()) != default
        })
    };
    let plain = entries().find(|entry| entry.args().as_ref().is_none_or(Vec::is_empty));
    if let Some(entry) = plain {
        return value(entry.action(), entry.errno_ret());
    }
    let holds = |one: &LinuxSeccompArg| {
        let cut = |v: u64| if narrow { v & 0xffff_ffff } else { v };
        let (got, want) = (cut(arguments[one.index()]), cut(one.value()));
        match one.op() {
            Op::ScmpCmpNe => got != want,
            Op::ScmpCmpLt => got < want,
            Op::ScmpCmpLe => got <= want,
            Op::ScmpCmpEq => got == want,
            Op::ScmpCmpGe => got >= want,
            Op::ScmpCmpGt => got > want,
            Op::ScmpCmpMaskedEq => got & want == cut(one.value_two().unwrap_or(0)),
        }
    };
    for entry in entries() {
        let conditions = entry.args().as_ref().unwrap();
        let mut indices: Vec<_> = conditions.iter().map(LinuxSeccompArg::index).collect();
        indices.sort_unstable();
        indices.dedup();
        let matched = if indices.len() < conditions.len() {
            conditions.iter().any(holds)
        } else {
            conditions.iter().all(holds)
        };
        if matched {
            return value(entry.action(), entry.errno_ret());
        }
    }
    default
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..6_u64,
        Just(u64::from(u32::MAX)),
        Just(1 << 32),
        Just((1 << 32) | 2),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

fn rules() -> impl Strategy<Value = LinuxSyscall> {
    let ops = [
        Op::ScmpCmpNe,
        Op::ScmpCmpLt,
        Op::ScmpCmpLe,
        Op::ScmpCmpEq,
        Op::ScmpCmpGe,
        Op::ScmpCmpGt,
        Op::ScmpCmpMaskedEq,
    ];
    let argument = (
        0..3_usize,
        prop::sample::select(ops.to_vec()),
        numbers(),
        numbers(),
    )
        .prop_map(|(index, op, value, two)| {
            LinuxSeccompArgBuilder::default()
                .index(index)
                .op(op)
                .value(value)
                .value_two(two)
                .build()
                .unwrap()
        });
    let names = prop::collection::vec(prop::sample::select(vec!["read", "dup", "dup2"]), 1..3);
    let actions = prop::sample::select(vec![
        Action::ScmpActAllow,
        Action::ScmpActErrno,
        Action::ScmpActTrap,
        Action::ScmpActKillProcess,
    ]);
    (names, actions, prop::collection::vec(argument, 0..4)).prop_map(
        |(names, action, arguments)| {
            let mut rule = LinuxSyscall::default();
            rule.set_names(names.into_iter().map(str::to_owned).collect());
            rule.set_action(action);
            rule.set_args((!arguments.is_empty()).then_some(arguments));
            rule
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_program_does_what_the_rules_say(
        rules in prop::collection::vec(rules(), 0..9),
        allow in any::<bool>(),
        calls in prop::collection::vec(
            (prop::sample::select(vec!["read", "dup", "dup2", "close"]), [numbers(), numbers(), numbers()]), 1..12),
    ) {
        let mut spec = LinuxSeccomp::default();
        spec.set_default_action(if allow { Action::ScmpActAllow } else { Action::ScmpActErrno });
        spec.set_architectures(Some(vec![Arch::ScmpArchX86, Arch::ScmpArchX32]));
        // The newest call of all, so that none is too new.
        let mut newest = LinuxSyscall::default();
        newest.set_names(vec!["mseal".to_owned()]);
        newest.set_action(Action::ScmpActTrap);
        let mut all = rules;
        all.push(newest);
        spec.set_syscalls(Some(all));
        let program = compile_for(&spec, X86_64).unwrap();
        for (name, [a, b, c]) in calls {
            for abi in [X86_64, X86, X32] {
                let arguments = [a, b, c, 0, 0, 0];
                let got = interpret(program.instructions(), abi.audit, number(&abi, name), arguments);
                prop_assert_eq!(got, direct(&spec, abi.narrow, name, arguments));
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Every entry of the table, all at once: long jumps included.
    #[test]
    fn many_calls(seed in any::<u64>()) {
        let actions = [Action::ScmpActAllow, Action::ScmpActTrap, Action::ScmpActErrno];
        let mut spec = LinuxSeccomp::default();
        spec.set_default_action(Action::ScmpActErrno);
        let mut state = seed | 1;
        let entries = CALLS.iter().map(|(name, _)| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut entry = LinuxSyscall::default();
            entry.set_names(vec![(*name).to_owned()]);
            entry.set_action(actions[usize::try_from(state >> 62).unwrap() % 3]);
            if state >> 60 & 3 == 0 {
                entry.set_args(Some(vec![LinuxSeccompArgBuilder::default().index(1_usize).value(state >> 20).build().unwrap()]));
            }
            entry
        });
        spec.set_syscalls(Some(entries.collect()));
        let program = compile_for(&spec, X86_64).unwrap();
        for (name, _) in CALLS.iter().filter(|row| X86_64.number(row).is_some()) {
            let got = interpret(program.instructions(), X86_64.audit, number(&X86_64, name), [0; 6]);
            prop_assert_eq!(got, direct(&spec, false, name, [0; 6]), "{}", name);
        }
    }
}

/// A shell under a real filter; its exit status.
#[expect(
    clippy::disallowed_methods,
    unsafe_code,
    reason = "a filter stays with its process"
)]
fn shell_under(spec: &LinuxSeccomp, script: &str) -> std::process::ExitStatus {
    use std::os::unix::process::CommandExt;
    let program = compile(spec).unwrap();
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", script])
        .stderr(std::process::Stdio::null());
    // SAFETY: installing a compiled filter allocates nothing.
    unsafe {
        command.pre_exec(move || {
            rustix::thread::set_no_new_privs(true)?;
            program
                .install()
                .map(drop)
                .map_err(|_| std::io::ErrorKind::InvalidInput.into())
        });
    }
    command.status().unwrap()
}

#[test]
fn the_kernel_agrees() {
    use std::os::unix::process::ExitStatusExt;
    let profile = default_profile(&[], Arch::ScmpArchX86_64);
    assert!(shell_under(&profile, "cat /dev/null && (sleep 0) | cat").success());
    assert!(!shell_under(&profile, "unshare -m true").success());
    let deny = |action: &str| {
        spec(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW",
                "architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[
                {{"names":["personality"],"action":"{action}","args":[
                    {{"index":0,"value":8,"op":"SCMP_CMP_EQ"}}]}}]}}"#
        ))
    };
    // setarch asks for personality 8 (linux32) and for others.
    for (action, arch, want) in [
        ("SCMP_ACT_ERRNO", "linux32", (Some(1), None)),
        ("SCMP_ACT_ERRNO", "linux64", (Some(0), None)),
        ("SCMP_ACT_LOG", "linux32", (Some(0), None)),
        ("SCMP_ACT_KILL_PROCESS", "linux32", (None, Some(31))),
        ("SCMP_ACT_TRAP", "linux32", (None, Some(31))),
    ] {
        let status = shell_under(&deny(action), &format!("exec setarch {arch} true"));
        assert_eq!((status.code(), status.signal()), want, "{action} {arch}");
    }
}
