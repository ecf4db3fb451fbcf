//! The device filter of cgroup v2: an eBPF program from device rules.
//!
//! The program keeps the accesses not yet allowed in a register and goes
//! through the rules from the last to the first. A matching rule that allows
//! takes its accesses off; with none left the answer is yes. A matching rule
//! that denies one still wanted makes it no. So each access is decided by the
//! last rule about it, which is what v1 does with a list.

use cove_sys::bpf::Insn;

use super::devices::{ALL, Kind, Rule};

// Registers.
const R0: u8 = 0;
const CTX: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Operations on 32 bits with an immediate.
const LOAD_WORD: u8 = 0x61;
const MOV: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_EQUAL: u8 = 0x16;
const MOV_REG: u8 = 0xbc;
const EXIT: u8 = 0x95;

const BPF_DEVCG_DEV_BLOCK: i32 = 1;
const BPF_DEVCG_DEV_CHAR: i32 = 2;

/// Writes the program for rules as [`super::devices::parse`] returns them.
pub(super) fn generate(rules: &[Rule]) -> Vec<Insn> {
    let mut program = vec![
        // struct bpf_cgroup_dev_ctx { access_type (kind | access << 16), major, minor }
        insn(LOAD_WORD, KIND, CTX, 0, 0),
        insn(MOV_REG, WANTED, KIND, 0, 0),
        insn(AND, KIND, 0, 0, 0xffff),
        insn(SHIFT_RIGHT, WANTED, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, CTX, 4, 0),
        insn(LOAD_WORD, MINOR, CTX, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(one_rule(rule));
    }
    program.extend(answer(0));
    program
}

fn one_rule(rule: &Rule) -> Vec<Insn> {
    let access = i32::from(rule.access);
    let mut body = if rule.allow {
        // Take the allowed accesses off; finished when nothing is left.
        vec![
            insn(AND, WANTED, 0, 0, i32::from(ALL) & !access),
            insn(JUMP_NOT_EQUAL, WANTED, 0, 2, 0),
        ]
    } else {
        // R0 := what is wanted and denied here.
        vec![
            insn(MOV_REG, R0, WANTED, 0, 0),
            insn(AND, R0, 0, 0, access),
            insn(JUMP_EQUAL, R0, 0, 2, 0),
        ]
    };
    body.extend(answer(i32::from(rule.allow)));

    let mut tests = Vec::new();
    if let Some(kind) = rule.kind {
        let number = match kind {
            Kind::Block => BPF_DEVCG_DEV_BLOCK,
            Kind::Char => BPF_DEVCG_DEV_CHAR,
        };
        tests.push((KIND, number));
    }
    tests.extend(rule.major.map(|major| (MAJOR, major.cast_signed())));
    tests.extend(rule.minor.map(|minor| (MINOR, minor.cast_signed())));

    let count = tests.len();
    let skips = tests
        .into_iter()
        .enumerate()
        .map(|(at, (register, value))| {
            // At most three tests and five instructions: the sum fits.
            let offset = i16::try_from(count - at - 1 + body.len()).unwrap_or(i16::MAX);
            insn(JUMP_NOT_EQUAL, register, 0, offset, value)
        });
    skips
        .collect::<Vec<_>>()
        .into_iter()
        .chain(body.iter().copied())
        .collect()
}

fn answer(value: i32) -> [Insn; 2] {
    [insn(MOV, R0, 0, 0, value), insn(EXIT, 0, 0, 0, 0)]
}

fn insn(code: u8, destination: u8, source: u8, offset: i16, imm: i32) -> Insn {
    Insn {
        code,
        registers: source << 4 | destination,
        offset,
        imm,
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE, parse, tests::rule};
    use super::*;

    /// Runs the program on one access, as the kernel would.
    fn run(program: &[Insn], kind: u32, access: u8, major: u32, minor: u32) -> bool {
        let context = [kind | u32::from(access) << 16, major, minor];
        let mut registers = [0_u32; 6];
        let mut pc = 0;
        loop {
            let Insn {
                code,
                registers: used,
                offset,
                imm,
            } = program[pc];
            let (to, from) = (usize::from(used & 15), usize::from(used >> 4));
            let (imm, skip) = (imm.cast_unsigned(), usize::try_from(offset).unwrap());
            pc += 1;
            match code {
                LOAD_WORD => registers[to] = context[skip / 4],
                MOV => registers[to] = imm,
                MOV_REG => registers[to] = registers[from],
                AND => registers[to] &= imm,
                SHIFT_RIGHT => registers[to] >>= imm,
                JUMP_NOT_EQUAL if registers[to] != imm => pc += skip,
                JUMP_EQUAL if registers[to] == imm => pc += skip,
                JUMP_NOT_EQUAL | JUMP_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_rule_about_an_access_decides() {
        let rules = parse(&[
            rule(r#"{"allow":false,"access":"rwm"}"#),
            rule(r#"{"allow":true,"type":"c","access":"m"}"#),
            rule(r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}"#),
            rule(r#"{"allow":true,"type":"b","major":8,"access":"rwm"}"#),
            rule(r#"{"allow":false,"type":"b","major":8,"minor":1,"access":"w"}"#),
        ])
        .unwrap();
        let program = generate(&rules);
        for (kind, access, major, minor, want) in [
            (2, READ | WRITE, 1, 3, true),
            // Allowed by two rules together.
            (2, READ | WRITE | MKNOD, 1, 3, true),
            (2, READ, 1, 5, false),
            (2, MKNOD, 200, 1, true),
            (1, MKNOD, 200, 1, false),
            (1, READ | WRITE, 8, 0, true),
            (1, READ, 8, 1, true),
            (1, READ | WRITE, 8, 1, false),
            (2, READ, 8, 0, false),
        ] {
            let got = run(&program, kind, access, major, minor);
            assert_eq!(got, want, "{kind} {access} {major}:{minor}");
        }
        let open = parse(&[rule(r#"{"allow":true,"access":"rwm"}"#)]).unwrap();
        assert!(run(&generate(&open), 1, ALL, 4_000_000_000, 0));
        assert!(!run(&generate(&[]), 1, READ, 1, 3));
    }

    #[test]
    fn the_kernel_takes_it() {
        let mut rules = super::super::default_device_rules();
        rules.insert(0, rule(r#"{"allow":false,"access":"rwm"}"#));
        let program = generate(&parse(&rules).unwrap());
        match cove_sys::bpf::load_device_program(&program) {
            // A kernel or a sandbox without bpf(2) for us has nothing to say.
            Ok(_) | Err(rustix::io::Errno::PERM | rustix::io::Errno::NOSYS) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
