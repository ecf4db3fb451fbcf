//! From the specification's list of rules to one verdict per call.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator as Op, LinuxSyscall,
};

use super::arch::{Abi, X86};
use super::error::SeccompError;
use super::table::{CALLS, IPC, SOCKETCALL};
use LinuxSeccompAction as Action;

const EPERM: u32 = 1;
const MAX_ERRNO: u32 = 4095;

/// A comparison of one argument: `(argument & mask) op value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    pub(super) index: usize,
    pub(super) op: Op,
    pub(super) value: u64,
    /// All ones but for [`Op::ScmpCmpMaskedEq`].
    pub(super) mask: u64,
}

impl Condition {
    pub(super) fn equals(index: usize, value: u64) -> Self {
        Self {
            index,
            op: Op::ScmpCmpEq,
            value,
            mask: u64::MAX,
        }
    }

    /// The specification puts the mask into `value`, and what must be left
    /// into `valueTwo`.
    fn new(argument: &LinuxSeccompArg) -> Self {
        let (index, op) = (argument.index(), argument.op());
        if op == Op::ScmpCmpMaskedEq {
            let value = argument.value_two().unwrap_or(0);
            return Self {
                index,
                op,
                value,
                mask: argument.value(),
            };
        }
        Self {
            index,
            op,
            value: argument.value(),
            mask: u64::MAX,
        }
    }
}

/// A rule with conditions: all hold, then the action.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
}

/// What becomes of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The action of the first rule without conditions: it beats all others.
    pub(super) always: Option<u32>,
    /// Rules with conditions, in order, as indices of [`Rules::conditional`].
    pub(super) rules: Vec<u16>,
}

/// The verdicts of one calling convention.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// By number, up to the newest call any rule names.
    pub(super) common: Vec<Verdict>,
    /// Calls outside of the common range, ascending.
    pub(super) private: Vec<(u32, Verdict)>,
}

/// The whole section, read once for all calling conventions.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) default: u32,
    pub(super) conditional: Vec<Rule>,
    pub(super) verdicts: Vec<Verdicts>,
    pub(super) notifies: bool,
}

/// Reads and checks the rules for each of `abis`.
pub(super) fn merge(spec: &LinuxSeccomp, abis: &[Abi]) -> Result<Rules, SeccompError> {
    if spec.default_action() == Action::ScmpActNotify {
        return Err(SeccompError::Notify {
            place: "the default action",
        });
    }
    let mut rules = Rules {
        default: action_value(spec.default_action(), spec.default_errno_ret())?,
        conditional: Vec::new(),
        verdicts: abis
            .iter()
            .map(|_| Verdicts {
                common: Vec::new(),
                private: Vec::new(),
            })
            .collect(),
        notifies: false,
    };
    for entry in spec.syscalls().iter().flatten() {
        rules.add(entry, abis)?;
    }
    if rules.notifies && spec.listener_path().is_none() {
        return Err(SeccompError::NoListener);
    }
    Ok(rules)
}

impl Rules {
    fn add(&mut self, entry: &LinuxSyscall, abis: &[Abi]) -> Result<(), SeccompError> {
        let action = action_value(entry.action(), entry.errno_ret())?;
        if entry.action() == Action::ScmpActNotify {
            self.notifies = true;
            for name in entry.names() {
                // With the one the init hands the listener over, behind the filter already: nobody
                // would answer. The other no runtime takes.
                let place = match name.as_str() {
                    "sendmsg" => "the action of sendmsg",
                    "write" => "the action of write",
                    _ => continue,
                };
                return Err(SeccompError::Notify { place });
            }
        }
        // A rule that repeats the default says nothing, but it names calls.
        let mute = action == self.default;
        let added = if mute {
            0..0
        } else {
            self.add_conditional(entry, action)?
        };
        let unconditional = !mute && added.is_empty();
        for name in entry.names() {
            for (abi, verdicts) in abis.iter().zip(&mut self.verdicts) {
                if let Some(verdict) = verdicts.of(abi, name) {
                    if unconditional {
                        verdict.always.get_or_insert(action);
                    }
                    verdict.rules.extend(added.clone());
                }
            }
            if unconditional && abis.contains(&X86) {
                self.add_multiplexed(name, action, abis);
            }
        }
        Ok(())
    }

    /// The rules an entry with arguments stands for; none without arguments.
    fn add_conditional(
        &mut self,
        entry: &LinuxSyscall,
        action: u32,
    ) -> Result<std::ops::Range<u16>, SeccompError> {
        let conditions = entry.args().as_deref().unwrap_or_default();
        let mut seen = [0_u8; 6];
        for condition in conditions {
            let Some(count) = seen.get_mut(condition.index()) else {
                let call = entry.names().first().cloned().unwrap_or_default();
                return Err(SeccompError::Argument {
                    call,
                    index: condition.index(),
                });
            };
            *count = count.saturating_add(1);
        }
        let first = self.conditional.len();
        if seen.iter().any(|&count| count > 1) {
            self.conditional.extend(conditions.iter().map(|one| Rule {
                conditions: vec![Condition::new(one)],
                action,
            }));
        } else if !conditions.is_empty() {
            self.conditional.push(Rule {
                conditions: conditions.iter().map(Condition::new).collect(),
                action,
            });
        }
        let index = |at: usize| {
            u16::try_from(at).map_err(|_| SeccompError::TooLong {
                instructions: at,
                limit: cove_sys::seccomp::MAX_INSTRUCTIONS,
            })
        };
        Ok(index(first)?..index(self.conditional.len())?)
    }

    /// 32-bit x86 has a second way to the socket and System V calls. A rule
    /// without conditions holds there too; conditions cannot be looked at,
    /// since the arguments lie in memory.
    fn add_multiplexed(&mut self, name: &str, action: u32, abis: &[Abi]) {
        for (call, table) in [("socketcall", &SOCKETCALL[..]), ("ipc", &IPC[..])] {
            let Some((_, selector)) = table.iter().find(|(known, _)| *known == name) else {
                continue;
            };
            let Ok(index) = u16::try_from(self.conditional.len()) else {
                continue;
            };
            let condition = Condition::equals(0, *selector);
            self.conditional.push(Rule {
                conditions: vec![condition],
                action,
            });
            for (abi, verdicts) in abis.iter().zip(&mut self.verdicts) {
                if *abi == X86
                    && let Some(verdict) = verdicts.of(abi, call)
                {
                    verdict.rules.push(index);
                }
            }
        }
    }
}

impl Verdicts {
    /// The verdict of a call, made where it is new. `None` for a call this
    /// calling convention does not have.
    fn of(&mut self, abi: &Abi, name: &str) -> Option<&mut Verdict> {
        if let Some(number) = abi.private(name) {
            let at = match self
                .private
                .binary_search_by_key(&number, |(known, _)| *known)
            {
                Ok(at) => at,
                Err(at) => {
                    self.private.insert(at, (number, Verdict::default()));
                    at
                }
            };
            return self.private.get_mut(at).map(|(_, verdict)| verdict);
        }
        let row = CALLS.binary_search_by_key(&name, |(known, _)| known).ok()?;
        let number = usize::try_from(abi.number(&CALLS[row])?).ok()?;
        if self.common.len() <= number {
            self.common.resize_with(number + 1, Verdict::default);
        }
        self.common.get_mut(number)
    }
}

/// The kernel's number for an action.
fn action_value(action: Action, errno: Option<u32>) -> Result<u32, SeccompError> {
    let (base, limit) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (0, 0),
        Action::ScmpActKillProcess => (0x8000_0000, 0),
        Action::ScmpActTrap => (0x0003_0000, 0),
        Action::ScmpActErrno => (0x0005_0000, MAX_ERRNO),
        Action::ScmpActNotify => (0x7fc0_0000, 0),
        Action::ScmpActTrace => (0x7ff0_0000, 0xffff),
        Action::ScmpActLog => (0x7ffc_0000, 0),
        Action::ScmpActAllow => (0x7fff_0000, 0),
    };
    match (errno, limit) {
        (None, 0) => Ok(base),
        (None, _) => Ok(base | EPERM),
        (Some(_), 0) => Err(SeccompError::ErrnoUnsupported { action }),
        (Some(errno), limit) if errno > limit => Err(SeccompError::ErrnoRange {
            action,
            errno,
            limit,
        }),
        (Some(errno), _) => Ok(base | errno),
    }
}
