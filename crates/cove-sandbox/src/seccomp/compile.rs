//! The compiler: verdicts per call become a program that finds the calling
//! convention, then the call's number in a binary search over intervals of
//! equal verdict, and looks at arguments only where a rule does.
//!
//! Until it looks at arguments a program only loads the number and the
//! architecture, which is what lets the kernel work out the constantly allowed
//! calls once and skip the program for them.

use cove_sys::seccomp::{FilterFlags, MAX_INSTRUCTIONS};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator as Op,
};

use super::arch::{Abi, NATIVE, X32, X32_BIT, X86_64, selected};
use super::assembler::{Assembler, Label, Test};
use super::error::SeccompError;
use super::install::Program;
use super::merge::{Condition, Rule, Rules, Verdict, Verdicts, merge};

const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO_ENOSYS: u32 = 0x0005_0000 | 38;

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Compiles the seccomp section of a specification.
///
/// # Errors
/// What the section says that cannot be; nothing depends on the host here.
pub fn compile(spec: &LinuxSeccomp) -> Result<Program, SeccompError> {
    compile_for(spec, NATIVE)
}

pub(super) fn compile_for(spec: &LinuxSeccomp, native: Abi) -> Result<Program, SeccompError> {
    let abis = selected(native, spec.architectures().as_deref().unwrap_or_default());
    let rules = merge(spec, &abis)?;
    let compiler = Compiler {
        // A tracer and a log see new calls themselves; where the default
        // denies, a new call must look like one the kernel does not have.
        beyond: match spec.default_action() {
            LinuxSeccompAction::ScmpActAllow
            | LinuxSeccompAction::ScmpActLog
            | LinuxSeccompAction::ScmpActTrace => rules.default,
            _ => ERRNO_ENOSYS,
        },
        rules: &rules,
        assembler: Assembler::default(),
    };
    let filter = compiler.run(&abis);
    if filter.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong {
            instructions: filter.len(),
            limit: MAX_INSTRUCTIONS,
        });
    }
    Ok(Program {
        filter,
        flags: flags(spec, rules.notifies),
    })
}

fn flags(spec: &LinuxSeccomp, notifies: bool) -> FilterFlags {
    // As runc: without the field, a filter alone is no reason to pay for the
    // speculation barrier.
    let Some(named) = spec.flags() else {
        let listener = if notifies {
            FilterFlags::NEW_LISTENER
        } else {
            FilterFlags::empty()
        };
        return FilterFlags::SPEC_ALLOW | listener;
    };
    let mut flags = FilterFlags::empty();
    for flag in named {
        flags |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FilterFlags::LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FilterFlags::TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FilterFlags::SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                FilterFlags::WAIT_KILLABLE_RECV
            }
        };
    }
    if notifies {
        flags |= FilterFlags::NEW_LISTENER;
        if flags.contains(FilterFlags::TSYNC) {
            flags |= FilterFlags::TSYNC_ESRCH;
        }
    } else {
        // Nothing is ever received; the kernel refuses the flag then.
        flags -= FilterFlags::WAIT_KILLABLE_RECV;
    }
    flags
}

struct Compiler<'a> {
    rules: &'a Rules,
    /// The action for calls newer than any a rule names.
    beyond: u32,
    assembler: Assembler,
}

impl Compiler<'_> {
    fn run(mut self, abis: &[Abi]) -> Vec<cove_sys::seccomp::SockFilter> {
        let mut sections: Vec<(u32, Label)> = Vec::new();
        // The first convention is written last, so that it is nearest to the start.
        for (abi, verdicts) in abis.iter().zip(&self.rules.verdicts).rev() {
            if *abi == X32 && abis.contains(&X86_64) {
                continue;
            }
            let x32 = abis
                .iter()
                .position(|other| *abi == X86_64 && *other == X32)
                .and_then(|at| self.rules.verdicts.get(at));
            let label = self.section(abi, verdicts, x32);
            sections.push((abi.audit, label));
        }
        let mut entry = self.assembler.ret(KILL_PROCESS);
        for (audit, label) in sections {
            entry = self.assembler.branch(Test::Equal, audit, label, entry);
        }
        let entry = self.assembler.load(ARCH, entry);
        self.assembler.finish(entry)
    }

    /// One value of `seccomp_data.arch`: all numbers from 0 to the largest.
    fn section(&mut self, abi: &Abi, verdicts: &Verdicts, x32: Option<&Verdicts>) -> Label {
        let mut memo = Vec::new();
        let mut intervals: Vec<(u32, Label)> = Vec::new();
        if *abi == X32 {
            // x32 without x86_64 beside it: the other half is foreign.
            let kill = self.assembler.ret(KILL_PROCESS);
            add(&mut intervals, 0, kill);
        }
        self.convention(abi, verdicts, &mut intervals, &mut memo);
        if *abi == X86_64 {
            match x32 {
                Some(verdicts) => {
                    self.convention(&X32, verdicts, &mut intervals, &mut Vec::new());
                }
                // Not listed. Where the default denies, these are calls the
                // kernel seems not to have; elsewhere they must not slip by.
                None if self.beyond != ERRNO_ENOSYS => {
                    let kill = self.assembler.ret(KILL_PROCESS);
                    add(&mut intervals, X32_BIT, kill);
                }
                None => {}
            }
        }
        let tree = self.assembler.search(&intervals);
        self.assembler.load(NUMBER, tree)
    }

    /// The intervals of one calling convention, from its base upwards.
    fn convention(
        &mut self,
        abi: &Abi,
        verdicts: &Verdicts,
        intervals: &mut Vec<(u32, Label)>,
        memo: &mut Vec<(Verdict, Label)>,
    ) {
        let mut number = abi.base;
        for verdict in &verdicts.common {
            let label = self.verdict(abi, verdict, memo);
            add(intervals, number, label);
            number += 1;
        }
        // Without a single named call nothing is known about what is new.
        let beyond = if verdicts.common.is_empty() {
            self.rules.default
        } else {
            self.beyond
        };
        let label = self.assembler.ret(beyond);
        add(intervals, number, label);
        for (number, verdict) in &verdicts.private {
            let label = self.verdict(abi, verdict, memo);
            add(intervals, *number, label);
            let beyond = self.assembler.ret(self.rules.default);
            add(intervals, *number + 1, beyond);
        }
    }

    fn verdict(&mut self, abi: &Abi, verdict: &Verdict, memo: &mut Vec<(Verdict, Label)>) -> Label {
        if let Some(action) = verdict.always {
            return self.assembler.ret(action);
        }
        if verdict.rules.is_empty() {
            return self.assembler.ret(self.rules.default);
        }
        if let Some((_, label)) = memo.iter().find(|(known, _)| known == verdict) {
            return *label;
        }
        let rules: Vec<&Rule> = verdict
            .rules
            .iter()
            .filter_map(|&index| self.rules.conditional.get(usize::from(index)))
            .collect();
        let label = self.conditional(abi, &rules);
        memo.push((verdict.clone(), label));
        label
    }

    /// The rules of one call, the first that matches first.
    fn conditional(&mut self, abi: &Abi, rules: &[&Rule]) -> Label {
        let mut next = self.assembler.ret(self.rules.default);
        let mut end = rules.len();
        while end > 0 {
            let start = (0..end)
                .rev()
                .take_while(|&at| alike(rules[at], rules[end - 1]))
                .last();
            let start = start.unwrap_or(end - 1);
            let group = &rules[start..end];
            let yes = self.assembler.ret(group[0].action);
            if group.len() > 2 && group.iter().all(|rule| is_small(abi, &rule.conditions)) {
                next = self.one_of(abi, group, yes, next);
            } else {
                for rule in group.iter().rev() {
                    let mut label = yes;
                    for condition in rule.conditions.iter().rev() {
                        label = self.condition(abi, condition, label, next);
                    }
                    next = label;
                }
            }
            end = start;
        }
        next
    }

    /// Many comparisons of one argument with small numbers, as one search.
    fn one_of(&mut self, abi: &Abi, group: &[&Rule], yes: Label, no: Label) -> Label {
        let conditions = || group.iter().flat_map(|rule| &rule.conditions);
        let mut bounds = vec![0];
        bounds.extend(conditions().filter_map(|one| u32::try_from(value(abi, one)).ok()));
        bounds.extend(conditions().filter_map(|one| u32::try_from(value(abi, one) + 1).ok()));
        bounds.sort_unstable();
        bounds.dedup();
        let holds = |number: u64| conditions().any(|one| matches(one.op, number, value(abi, one)));
        let mut intervals = Vec::new();
        for bound in bounds {
            add(
                &mut intervals,
                bound,
                if holds(u64::from(bound)) { yes } else { no },
            );
        }
        let index = conditions().next().map_or(0, |one| one.index);
        let low = self.assembler.search(&intervals);
        let low = self.assembler.load(low_word(index), low);
        if abi.narrow {
            return low;
        }
        // All bounds are small, so everything larger is treated alike.
        let large = if holds(u64::MAX) { yes } else { no };
        let test = self.assembler.branch(Test::Equal, 0, low, large);
        self.assembler.load(high_word(index), test)
    }

    /// One condition, 64 bits in two halves.
    fn condition(&mut self, abi: &Abi, one: &Condition, yes: Label, no: Label) -> Label {
        let asm = &mut self.assembler;
        let (high, low) = halves(one.value);
        let (at_high, at_low) = (high_word(one.index), low_word(one.index));
        match one.op {
            Op::ScmpCmpNe => {
                let flipped = Condition {
                    op: Op::ScmpCmpEq,
                    ..*one
                };
                self.condition(abi, &flipped, no, yes)
            }
            Op::ScmpCmpLt => {
                let flipped = Condition {
                    op: Op::ScmpCmpGe,
                    ..*one
                };
                self.condition(abi, &flipped, no, yes)
            }
            Op::ScmpCmpLe => {
                let flipped = Condition {
                    op: Op::ScmpCmpGt,
                    ..*one
                };
                self.condition(abi, &flipped, no, yes)
            }
            Op::ScmpCmpEq => {
                let test = asm.branch(Test::Equal, low, yes, no);
                let test = asm.load(at_low, test);
                if abi.narrow {
                    return test;
                }
                let test = asm.branch(Test::Equal, high, test, no);
                asm.load(at_high, test)
            }
            op @ (Op::ScmpCmpGe | Op::ScmpCmpGt) => {
                let compare = if op == Op::ScmpCmpGe {
                    Test::GreaterOrEqual
                } else {
                    Test::Greater
                };
                let test = asm.branch(compare, low, yes, no);
                let test = asm.load(at_low, test);
                if abi.narrow {
                    return test;
                }
                let equal = asm.branch(Test::Equal, high, test, no);
                let test = asm.branch(Test::Greater, high, yes, equal);
                asm.load(at_high, test)
            }
            Op::ScmpCmpMaskedEq => {
                let (mask_high, mask_low) = halves(one.mask);
                let test = asm.branch(Test::Equal, low, yes, no);
                let test = asm.and(mask_low, test);
                let test = asm.load(at_low, test);
                if abi.narrow || (mask_high == 0 && high == 0) {
                    return test;
                }
                let test = asm.branch(Test::Equal, high, test, no);
                let test = asm.and(mask_high, test);
                asm.load(at_high, test)
            }
        }
    }
}

/// Begins an interval, or makes the one before longer.
fn add(intervals: &mut Vec<(u32, Label)>, start: u32, label: Label) {
    if intervals.last().is_none_or(|(_, last)| *last != label) {
        intervals.push((start, label));
    }
}

/// Whether two rules look at the same argument alone and do the same.
fn alike(one: &Rule, other: &Rule) -> bool {
    match (one.conditions.as_slice(), other.conditions.as_slice()) {
        ([a], [b]) => a.index == b.index && one.action == other.action,
        _ => false,
    }
}

fn is_small(abi: &Abi, conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .all(|one| one.op != Op::ScmpCmpMaskedEq && u32::try_from(value(abi, one)).is_ok())
}

/// The value compared with: 32-bit callers have no more than its low half.
fn value(abi: &Abi, one: &Condition) -> u64 {
    if abi.narrow {
        one.value & u64::from(u32::MAX)
    } else {
        one.value
    }
}

/// Whether an ordering or equality holds.
fn matches(op: Op, argument: u64, value: u64) -> bool {
    match op {
        Op::ScmpCmpNe => argument != value,
        Op::ScmpCmpLt => argument < value,
        Op::ScmpCmpLe => argument <= value,
        Op::ScmpCmpEq => argument == value,
        Op::ScmpCmpGe => argument >= value,
        Op::ScmpCmpGt => argument > value,
        // Never asked: a mask does not order numbers.
        Op::ScmpCmpMaskedEq => false,
    }
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

fn low_word(index: usize) -> u32 {
    let base = ARGUMENTS + 8 * u32::try_from(index).unwrap_or(0);
    if cfg!(target_endian = "big") {
        base + 4
    } else {
        base
    }
}

fn high_word(index: usize) -> u32 {
    let base = ARGUMENTS + 8 * u32::try_from(index).unwrap_or(0);
    if cfg!(target_endian = "big") {
        base
    } else {
        base + 4
    }
}
