//! Device rules: what the specification allows and denies, in one form that
//! both cgroup versions are written from.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};

use super::error::{CgroupError, Result};

pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Char,
}

/// One rule; of several that match an access, the last decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    /// Any kind where it is `None`.
    pub(super) kind: Option<Kind>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    /// Bits of [`ALL`].
    pub(super) access: u8,
}

impl Rule {
    /// Whether it is about every device and every access.
    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }

    /// The line for `devices.allow` or `devices.deny`.
    pub(super) fn line(&self) -> String {
        let kind = match self.kind {
            None => 'a',
            Some(Kind::Block) => 'b',
            Some(Kind::Char) => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        let mut line = format!("{kind} {}:{} ", number(self.major), number(self.minor));
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                line.push(letter);
            }
        }
        line
    }
}

/// The device rules in force for a specification: its own, then those every
/// container gets (null, zero, full, random, urandom, tty, console, ptmx, pts
/// and mknod of anything).
#[must_use]
pub fn device_rules(resources: &LinuxResources) -> Vec<LinuxDeviceCgroup> {
    let mut rules = resources.devices().clone().unwrap_or_default();
    rules.extend(default_device_rules());
    rules
}

/// The rules every container gets after its own: the harmless devices and its
/// terminals; and any node may be made, since making one is not opening it.
#[must_use]
pub fn default_device_rules() -> Vec<LinuxDeviceCgroup> {
    let rule = |kind, major, minor, access: &str| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(kind))
            .set_major(major)
            .set_minor(minor)
            .set_access(Some(access.to_owned()));
        rule
    };
    let (c, b) = (LinuxDeviceType::C, LinuxDeviceType::B);
    vec![
        rule(c, None, None, "m"),
        rule(b, None, None, "m"),
        rule(c, Some(1), Some(3), "rwm"), // null
        rule(c, Some(1), Some(5), "rwm"), // zero
        rule(c, Some(1), Some(7), "rwm"), // full
        rule(c, Some(1), Some(8), "rwm"), // random
        rule(c, Some(1), Some(9), "rwm"), // urandom
        rule(c, Some(5), Some(0), "rwm"), // tty
        rule(c, Some(5), Some(1), "rwm"), // console
        rule(c, Some(5), Some(2), "rwm"), // ptmx
        rule(c, Some(136), None, "rwm"),  // pts
    ]
}

/// Reads the specification's rules. What comes before a rule about everything
/// no longer matters and is left out; a rule of no kind about one device
/// becomes one per kind.
pub(super) fn parse(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>> {
    let mut parsed: Vec<Rule> = Vec::with_capacity(rules.len() + 1);
    for rule in rules {
        let refuse = |reason| {
            let value = format!("{} {rule}", if rule.allow() { "allow" } else { "deny" });
            CgroupError::Value {
                limit: "devices",
                value,
                reason,
            }
        };
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| refuse("a device number is between 0 and 4294967295")),
        };
        let mut access = 0;
        for letter in rule.access().as_deref().unwrap_or("rwm").chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err(refuse("access is made of r, w and m")),
            };
        }
        if access == 0 {
            access = ALL;
        }
        let kinds: &[Option<Kind>] = match rule.typ() {
            None | Some(LinuxDeviceType::A) => &[None],
            Some(LinuxDeviceType::B) => &[Some(Kind::Block)],
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => &[Some(Kind::Char)],
            Some(LinuxDeviceType::P) => return Err(refuse("a FIFO is no device")),
        };
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        let one = Rule {
            allow: rule.allow(),
            kind: kinds[0],
            major,
            minor,
            access,
        };
        if one.is_everything() {
            parsed.clear();
            parsed.push(one);
        } else if one.kind.is_none() {
            // v1 would take a rule of kind `a` for everything there is.
            parsed.push(Rule {
                kind: Some(Kind::Char),
                ..one
            });
            parsed.push(Rule {
                kind: Some(Kind::Block),
                ..one
            });
        } else {
            parsed.push(one);
        }
    }
    Ok(parsed)
}

/// Whether nothing is ever refused by these rules.
pub(super) fn allows_everything(rules: &[Rule]) -> bool {
    rules
        .first()
        .is_some_and(|rule| rule.allow && rule.is_everything())
        && rules.iter().all(|rule| rule.allow)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn rule(json: &str) -> LinuxDeviceCgroup {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rules_are_read() {
        let given = [
            rule(r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}"#),
            rule(r#"{"allow":false,"access":"rwm"}"#),
            rule(r#"{"allow":true,"type":"a","major":7,"access":"rw"}"#),
            rule(r#"{"allow":true,"type":"c","major":10,"minor":-1,"access":"m"}"#),
        ];
        let lines: Vec<_> = parse(&given).unwrap().iter().map(Rule::line).collect();
        assert_eq!(lines, ["a *:* rwm", "c 7:* rw", "b 7:* rw", "c 10:* m"]);
        assert!(parse(&[rule(r#"{"allow":true,"type":"c","access":"x"}"#)]).is_err());
        assert!(parse(&[rule(r#"{"allow":true,"type":"c","major":-7}"#)]).is_err());
        assert_eq!(parse(&default_device_rules()).unwrap().len(), 11);
    }

    #[test]
    fn everything_is_everything() {
        let all = rule(r#"{"allow":true,"access":"rwm"}"#);
        let deny = rule(r#"{"allow":false,"type":"c","major":1,"access":"w"}"#);
        for (rules, want) in [
            (vec![all.clone()], true),
            (vec![deny.clone(), all.clone()], true),
            (vec![all, deny], false),
            (vec![], false),
        ] {
            assert_eq!(
                allows_everything(&parse(&rules).unwrap()),
                want,
                "{rules:?}"
            );
        }
    }
}
