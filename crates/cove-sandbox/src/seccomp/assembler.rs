//! Classic BPF, written from the last instruction to the first, so that the
//! target of every jump is known when the jump is written.

use cove_sys::seccomp::SockFilter;

const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// A test of the accumulator against a constant.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// An instruction that is written already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction comes first.
    reversed: Vec<SockFilter>,
    /// The newest place of each return.
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(SockFilter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }

    /// How many instructions the next one has to skip to get to `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target.0 - 1
    }

    /// Ends the program with an action.
    pub(super) fn ret(&mut self, action: u32) -> Label {
        // Some slack, so that what is written next still reaches it directly.
        let near = |label: &Label| self.reversed.len() - label.0 < 200;
        let known = self.returns.iter_mut().find(|(known, _)| *known == action);
        if let Some((_, label)) = &known
            && near(label)
        {
            return *label;
        }
        let label = Label(self.reversed.len());
        match known {
            Some(entry) => entry.1 = label,
            None => self.returns.push((action, label)),
        }
        self.push(RET_K, 0, 0, action)
    }

    /// Makes `target` the next instruction.
    fn fall_into(&mut self, target: Label) {
        let distance = self.distance(target);
        if distance > 0 {
            self.push(JMP_JA, 0, 0, u32::try_from(distance).unwrap_or(u32::MAX));
        }
    }

    /// Loads 32 bits of `seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(LD_W_ABS, 0, 0, offset)
    }

    /// Masks the accumulator, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(ALU_AND_K, 0, 0, mask)
    }

    /// Goes one way or the other.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (mut yes, mut no) = (yes, no);
        loop {
            let (Ok(jt), Ok(jf)) = (
                u8::try_from(self.distance(yes)),
                u8::try_from(self.distance(no)),
            ) else {
                // A conditional jump reaches 255 instructions; a plain one goes further.
                let far = if self.distance(yes) > 255 {
                    &mut yes
                } else {
                    &mut no
                };
                let distance = u32::try_from(self.distance(*far)).unwrap_or(u32::MAX);
                *far = self.push(JMP_JA, 0, 0, distance);
                continue;
            };
            return self.push(test as u16, jt, jf, k);
        }
    }

    /// Finds the interval the accumulator lies in: `intervals` are the
    /// beginnings, ascending from 0, with the place to go on at.
    pub(super) fn search(&mut self, intervals: &[(u32, Label)]) -> Label {
        match intervals {
            [(_, only)] => *only,
            [] => self.ret(0),
            _ => {
                let (low, high) = intervals.split_at(intervals.len() / 2);
                let start = high[0].0;
                let high = self.search(high);
                let low = self.search(low);
                self.branch(Test::GreaterOrEqual, start, high, low)
            }
        }
    }

    /// The program, in the order it runs. `entry` is where it starts.
    pub(super) fn finish(mut self, entry: Label) -> Vec<SockFilter> {
        self.fall_into(entry);
        self.reversed.reverse();
        self.reversed
    }
}
