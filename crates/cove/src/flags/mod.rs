//! Flags as Docker's command line reads them: the rules, the order and the
//! words of Go's pflag, over tables that cost nothing until they are used.
//!
//! This is not clap because what people type is pflag's grammar: `--rm=false`
//! and `-t=true` for switches, `-it` clusters that end in a value, flags that
//! may stand behind arguments in most commands and end at the first argument
//! in `run`, and errors that scripts compare.

pub(crate) mod help;

use crate::format::go::quote;

/// Tells whether a value can be what a flag takes; the message is what follows
/// `invalid argument … for … flag:`.
pub(crate) type Check = fn(&str) -> Result<(), String>;

/// One flag of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// The letter, or NUL where there is none.
    pub(crate) short: char,
    /// The name behind two dashes.
    pub(crate) long: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// The help; empty hides the flag.
    pub(crate) usage: &'static str,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Nothing, or a truth value behind `=`.
    Switch,
    /// A value.
    Value {
        /// The type's name in the help.
        type_name: &'static str,
        /// Whether a text is such a value.
        check: Check,
    },
}

impl Flag {
    /// A flag without a value. Help texts tell which are on by default.
    pub(crate) const fn switch(short: char, long: &'static str, usage: &'static str) -> Self {
        Self {
            short,
            long,
            kind: Kind::Switch,
            usage,
        }
    }

    /// A flag with a value.
    pub(crate) const fn value(
        short: char,
        long: &'static str,
        type_name: &'static str,
        check: Check,
        usage: &'static str,
    ) -> Self {
        Self {
            short,
            long,
            kind: Kind::Value { type_name, check },
            usage,
        }
    }

    /// A flag of Docker's that Cove has nothing behind yet: `check` says so.
    pub(crate) const fn refused(
        short: char,
        long: &'static str,
        type_name: &'static str,
        check: Check,
    ) -> Self {
        Self {
            short,
            long,
            kind: Kind::Value { type_name, check },
            usage: "",
        }
    }

    /// A switch of Docker's that Cove has nothing behind yet. It is a value
    /// with an implied `true`, so that `check` sees it.
    pub(crate) const fn refused_switch(short: char, long: &'static str, check: Check) -> Self {
        Self {
            short,
            long,
            kind: Kind::Value {
                type_name: "",
                check,
            },
            usage: "",
        }
    }

    /// Whether the flag may stand without a value.
    fn implied(&self) -> bool {
        match self.kind {
            Kind::Switch => true,
            Kind::Value { type_name, .. } => type_name.is_empty(),
        }
    }

    /// The flag as messages name it: `-m, --memory`.
    fn shown(&self) -> String {
        if self.short == '\0' {
            format!("--{}", self.long)
        } else {
            format!("-{}, --{}", self.short, self.long)
        }
    }
}

/// What a command line said.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    values: Vec<(Flag, String)>,
    /// Everything that is no flag, in order.
    pub(crate) args: Vec<String>,
}

/// Why a command line was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Help was asked for.
    Help,
    /// A mistake, in pflag's words.
    Error(String),
}

impl Matches {
    /// The last value of the flag `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(flag, _)| flag.long == name)
            .map(|(_, value)| value.as_str())
    }

    /// The last value of the flag `name`, or nothing when it is empty.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Every value of the flag `name`, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(flag, _)| flag.long == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Whether the flag `name` was given.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of the switch `name`; `default` when it was not given.
    pub(crate) fn switch_or(&self, name: &str, default: bool) -> bool {
        self.get(name)
            .map_or(default, |value| parse_bool(value) == Some(true))
    }

    /// Whether the switch `name` is on; switches that are on by default are
    /// read with [`Matches::switch_or`].
    pub(crate) fn on(&self, name: &str) -> bool {
        self.switch_or(name, false)
    }
}

/// Reads `args`. With `interspersed`, flags may stand behind arguments;
/// without, the first argument ends them.
pub(crate) fn parse(
    flags: &[&[Flag]],
    interspersed: bool,
    args: &[String],
) -> Result<Matches, Stop> {
    let mut found = Matches::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            found.args.extend(rest.cloned());
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            parse_long(flags, long, &mut rest, &mut found)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            parse_short(flags, &arg[1..], &mut rest, &mut found)?;
        } else {
            found.args.push(arg.clone());
            if !interspersed {
                found.args.extend(rest.cloned());
                break;
            }
        }
    }
    Ok(found)
}

fn parse_long<'a>(
    flags: &[&[Flag]],
    text: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    found: &mut Matches,
) -> Result<(), Stop> {
    if text.starts_with(['-', '=']) {
        return Err(Stop::Error(format!("bad flag syntax: --{text}")));
    }
    let (name, inline) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let Some(flag) = find(flags, |flag| flag.long == name) else {
        if name == "help" {
            return Err(Stop::Help);
        }
        return Err(Stop::Error(format!("unknown flag: --{name}")));
    };
    let value = match inline {
        Some(value) => value.to_owned(),
        None if flag.implied() => "true".to_owned(),
        None => rest
            .next()
            .cloned()
            .ok_or_else(|| Stop::Error(format!("flag needs an argument: --{name}")))?,
    };
    set(found, flag, value)
}

fn parse_short<'a>(
    flags: &[&[Flag]],
    text: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    found: &mut Matches,
) -> Result<(), Stop> {
    let mut cluster = text;
    while let Some(letter) = cluster.chars().next() {
        let after = &cluster[letter.len_utf8()..];
        let Some(flag) = find(flags, |flag| flag.short == letter) else {
            if letter == 'h' {
                return Err(Stop::Help);
            }
            return Err(Stop::Error(format!(
                "unknown shorthand flag: '{letter}' in -{cluster}"
            )));
        };
        let value = if let Some(value) = after.strip_prefix('=') {
            cluster = "";
            value.to_owned()
        } else if flag.implied() {
            cluster = after;
            "true".to_owned()
        } else if after.is_empty() {
            let value = rest.next().cloned().ok_or_else(|| {
                Stop::Error(format!("flag needs an argument: '{letter}' in -{cluster}"))
            })?;
            cluster = "";
            value
        } else {
            cluster = "";
            after.to_owned()
        };
        set(found, flag, value)?;
    }
    Ok(())
}

fn find<'a>(flags: &[&'a [Flag]], wanted: impl Fn(&Flag) -> bool) -> Option<&'a Flag> {
    flags
        .iter()
        .flat_map(|set| set.iter())
        .find(|flag| wanted(flag))
}

fn set(found: &mut Matches, flag: &Flag, value: String) -> Result<(), Stop> {
    let checked = match flag.kind {
        Kind::Switch => parse_bool(&value).map(drop).ok_or_else(|| {
            format!(
                "strconv.ParseBool: parsing {}: invalid syntax",
                quote(&value)
            )
        }),
        Kind::Value { check, .. } => check(&value),
    };
    match checked {
        Ok(()) => {
            found.values.push((*flag, value));
            Ok(())
        }
        Err(reason) => Err(Stop::Error(format!(
            "invalid argument {} for {} flag: {reason}",
            quote(&value),
            quote(&flag.shown())
        ))),
    }
}

/// The texts that Go's `strconv.ParseBool` takes.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Result<(), String> {
        if text == "bad" {
            Err(format!("invalid size: '{text}'"))
        } else {
            Ok(())
        }
    }

    fn no_links(_: &str) -> Result<(), String> {
        Err("no links".to_owned())
    }

    const FLAGS: &[Flag] = &[
        Flag::switch('i', "interactive", "in"),
        Flag::switch('t', "tty", "tty"),
        Flag::switch('\0', "sig-proxy", "proxy"),
        Flag::value('e', "env", "list", size, "env"),
        Flag::value('m', "memory", "bytes", size, "memory"),
        Flag::refused_switch('P', "publish-all", no_links),
    ];

    fn read(interspersed: bool, args: &[&str]) -> Result<Matches, Stop> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        parse(&[FLAGS], interspersed, &args)
    }

    #[test]
    fn values_and_clusters_are_read_as_pflag_does() {
        for args in [
            &[
                "-it", "-e", "A=1", "-eB=2", "--env=C", "--env", "D", "image",
            ] as &[&str],
            &[
                "-i=true", "-tie", "A=1", "-e=B=2", "--env=C", "-eD", "image",
            ],
        ] {
            let found = read(false, args).unwrap();
            assert!(found.on("interactive") && found.on("tty"), "{args:?}");
            assert_eq!(found.all("env"), ["A=1", "B=2", "C", "D"], "{args:?}");
            assert_eq!(found.args, ["image"], "{args:?}");
        }
        let off = read(false, &["-t=false", "--sig-proxy=0"]).unwrap();
        assert!(!off.on("tty") && off.given("tty"));
        assert!(!off.switch_or("sig-proxy", true));
    }

    #[test]
    fn arguments_end_the_flags_only_where_they_must() {
        let run = read(false, &["-i", "image", "-t", "--", "x"]).unwrap();
        assert_eq!(run.args, ["image", "-t", "--", "x"]);
        assert!(!run.on("tty"));
        let other = read(true, &["a", "-t", "-", "--", "-i"]).unwrap();
        assert_eq!(other.args, ["a", "-", "-i"]);
        assert!(other.on("tty") && !other.on("interactive"));
    }

    #[test]
    fn mistakes_are_told_in_pflags_words() {
        for (args, message) in [
            (&["--foo"] as &[&str], "unknown flag: --foo"),
            (&["--foo=1"], "unknown flag: --foo"),
            (&["-Z"], "unknown shorthand flag: 'Z' in -Z"),
            (&["-itZ"], "unknown shorthand flag: 'Z' in -Z"),
            (&["--memory"], "flag needs an argument: --memory"),
            (&["-m"], "flag needs an argument: 'm' in -m"),
            (
                &["-m", "bad"],
                "invalid argument \"bad\" for \"-m, --memory\" flag: invalid size: 'bad'",
            ),
            (
                &["--tty=maybe"],
                "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (&["--=x"], "bad flag syntax: --=x"),
            (
                &["-P"],
                "invalid argument \"true\" for \"-P, --publish-all\" flag: no links",
            ),
        ] {
            assert_eq!(
                read(true, args).unwrap_err(),
                Stop::Error(message.to_owned()),
                "{args:?}"
            );
        }
        assert_eq!(read(true, &["--help"]).unwrap_err(), Stop::Help);
        assert_eq!(read(true, &["-ih"]).unwrap_err(), Stop::Help);
    }
}
