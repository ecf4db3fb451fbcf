//! Reading a command line, by the rules and in the order of Go's pflag.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use crate::{Flag, Flags, Takes};

/// Why a command line was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for.
    Help,
    /// No flag has this name.
    Unknown(String),
    /// No flag has this letter.
    UnknownShort {
        /// The letter.
        letter: char,
        /// The letters it stands before, itself among them.
        cluster: String,
    },
    /// The word, without its dashes, is no flag at all.
    Syntax(String),
    /// The value of a flag is missing.
    Missing(&'static Flag),
    /// The value of a flag is missing behind its letter.
    MissingShort(&'static Flag),
    /// A flag cannot have a value.
    Invalid {
        /// The flag.
        flag: &'static Flag,
        /// The value.
        value: OsString,
        /// What its reader says.
        reason: String,
    },
}

/// Reads `words` into `flags` and gives what is no flag, in order. With
/// `interspersed`, flags may stand behind arguments; without, the first argument
/// ends them.
pub fn parse<W: AsRef<OsStr> + Clone>(
    flags: &mut dyn Flags,
    interspersed: bool,
    words: &[W],
) -> Result<Vec<W>, Stop> {
    let mut args = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut next = || rest.next().map(AsRef::as_ref);
        match word.as_ref().as_bytes() {
            b"--" => {
                args.extend(rest.cloned());
                break;
            }
            [b'-', b'-', long @ ..] => read_long(flags, long, &mut next)?,
            [b'-', cluster @ ..] if !cluster.is_empty() => read_short(flags, cluster, &mut next)?,
            _ => {
                args.push(word.clone());
                if !interspersed {
                    args.extend(rest.cloned());
                    break;
                }
            }
        }
    }
    Ok(args)
}

/// The word that comes next.
type Next<'a, 'b> = &'b mut dyn FnMut() -> Option<&'a OsStr>;

fn read_long(flags: &mut dyn Flags, text: &[u8], next: Next<'_, '_>) -> Result<(), Stop> {
    if let [b'-' | b'=', ..] = text {
        return Err(Stop::Syntax(String::from_utf8_lossy(text).into_owned()));
    }
    let equals = text.iter().position(|byte| *byte == b'=');
    let name = String::from_utf8_lossy(&text[..equals.unwrap_or(text.len())]);
    let Some(flag) = flags.table().find(&|flag| flag.long == name) else {
        if name == "help" {
            return Err(Stop::Help);
        }
        return Err(Stop::Unknown(name.into_owned()));
    };
    let value = match (equals, flag.takes) {
        (Some(at), _) => OsStr::from_bytes(&text[at + 1..]),
        (None, Takes::Switch) => OsStr::new("true"),
        (None, Takes::Value(_)) => next().ok_or(Stop::Missing(flag))?,
    };
    set(flags, flag, value)
}

fn read_short(flags: &mut dyn Flags, text: &[u8], next: Next<'_, '_>) -> Result<(), Stop> {
    let mut cluster = text;
    while let Some(letter) = String::from_utf8_lossy(cluster).chars().next() {
        let Some(flag) = flags.table().find(&|flag| flag.short == letter) else {
            if letter == 'h' {
                return Err(Stop::Help);
            }
            let cluster = String::from_utf8_lossy(cluster).into_owned();
            return Err(Stop::UnknownShort { letter, cluster });
        };
        let after = &cluster[letter.len_utf8()..];
        cluster = b"";
        let value = match (after, flag.takes) {
            ([b'=', value @ ..], _) => OsStr::from_bytes(value),
            (_, Takes::Switch) => {
                cluster = after;
                OsStr::new("true")
            }
            (b"", Takes::Value(_)) => next().ok_or(Stop::MissingShort(flag))?,
            (value, Takes::Value(_)) => OsStr::from_bytes(value),
        };
        set(flags, flag, value)?;
    }
    Ok(())
}

fn set(flags: &mut dyn Flags, flag: &'static Flag, value: &OsStr) -> Result<(), Stop> {
    match flags.set(flag.long, value) {
        Ok(true) => Ok(()),
        // The table and the structure are made of one list.
        Ok(false) => Err(Stop::Unknown(flag.long.to_owned())),
        Err(reason) => Err(Stop::Invalid {
            flag,
            value: value.to_owned(),
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod read {
        pub(super) fn switch(text: &str) -> Result<bool, String> {
            text.parse().map_err(|_| "no truth".to_owned())
        }

        pub(super) fn list(text: &str) -> Result<String, String> {
            Ok(text.to_owned())
        }

        pub(super) fn number(text: &str) -> Result<u8, String> {
            text.parse().map_err(|_| format!("no number: '{text}'"))
        }

        pub(super) fn path(value: &std::ffi::OsStr) -> Result<std::path::PathBuf, String> {
            Ok(value.into())
        }
    }

    fn no_links(_: &str) -> Result<(), String> {
        Err("no links".to_owned())
    }

    crate::flags! {
        /// What the two below share.
        struct Process {
            'i' interactive: bool = switch, "in";
            't' tty: bool = switch, "tty";
            'e' env: Vec<String> = list, "env";
        }
    }

    crate::flags! {
        /// As `run`.
        struct Run {
            sig_proxy: Option<bool> = switch, "proxy";
            'm' memory: Option<u8> = number, "memory";
            'b' r#type: Option<std::path::PathBuf> = path, "type";
            limit: Option<u8> = bytes(read::number), "limit";
        }
        groups { process: Process, }
        accepted { 'q' quiet = switch, "quiet"; }
        refused { 'P' publish_all = switch, no_links; link = value, no_links; }
    }

    fn read(interspersed: bool, words: &[&str]) -> Result<(Run, Vec<String>), Stop> {
        let mut run = Run::default();
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let args = parse(&mut run, interspersed, &words)?;
        Ok((run, args))
    }

    #[test]
    fn values_and_clusters_are_read_as_pflag_does() {
        for words in [
            &[
                "-it", "-e", "A=1", "-eB=2", "--env=C", "--env", "D", "image",
            ] as &[&str],
            &[
                "-i=true", "-tqie", "A=1", "-e=B=2", "--env=C", "-eD", "image",
            ],
        ] {
            let (run, args) = read(false, words).unwrap();
            assert!(run.process.interactive && run.process.tty, "{words:?}");
            assert_eq!(run.process.env, ["A=1", "B=2", "C", "D"], "{words:?}");
            assert_eq!(args, ["image"], "{words:?}");
            assert_eq!(run.sig_proxy, None);
        }
        let (run, _) = read(
            false,
            &["-t", "-t=false", "--sig-proxy=false", "-m1", "-m", "2"],
        )
        .unwrap();
        assert!(!run.process.tty);
        assert_eq!((run.sig_proxy, run.memory), (Some(false), Some(2)));
        let (run, _) = read(false, &["--type", "x", "--limit=3"]).unwrap();
        assert_eq!(run.r#type.as_deref(), Some(std::path::Path::new("x")));
        assert_eq!(run.limit, Some(3));
    }

    #[test]
    fn arguments_end_the_flags_only_where_they_must() {
        let (run, args) = read(false, &["-i", "image", "-t", "--", "x"]).unwrap();
        assert_eq!(args, ["image", "-t", "--", "x"]);
        assert!(!run.process.tty);
        let (other, args) = read(true, &["a", "-t", "-", "--", "-i"]).unwrap();
        assert_eq!(args, ["a", "-", "-i"]);
        assert!(other.process.tty && !other.process.interactive);
    }

    #[test]
    fn what_is_no_text_is_read_where_a_path_is() {
        let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let mut run = Run::default();
        let args = parse(&mut run, true, &[word(b"-b/\xff"), word(b"\xfe")]).unwrap();
        assert_eq!(run.r#type.unwrap().as_os_str(), word(b"/\xff"));
        assert_eq!(args, [word(b"\xfe")]);
        for bad in [b"--env=\xff" as &[u8], b"-e\xff", b"-\xff", b"--\xff=1"] {
            assert!(parse(&mut Run::default(), true, &[word(bad)]).is_err());
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        let stop = |words: &[&str]| read(true, words).unwrap_err();
        let unknown = |letter, cluster: &str| Stop::UnknownShort {
            letter,
            cluster: cluster.to_owned(),
        };
        assert_eq!(stop(&["--foo=1"]), Stop::Unknown("foo".to_owned()));
        assert_eq!(stop(&["-itZx"]), unknown('Z', "Zx"));
        assert_eq!(stop(&["--=x"]), Stop::Syntax("=x".to_owned()));
        assert!(matches!(stop(&["--memory"]), Stop::Missing(flag) if flag.long == "memory"));
        assert!(matches!(stop(&["-im"]), Stop::MissingShort(flag) if flag.short == 'm'));
        for (words, name, wrong, why) in [
            (
                &["-m", "bad"] as &[&str],
                "-m, --memory",
                "bad",
                "no number: 'bad'",
            ),
            (&["--tty=maybe"], "-t, --tty", "maybe", "no truth"),
            (&["-q=x"], "-q, --quiet", "x", "no truth"),
            (&["-P"], "-P, --publish-all", "true", "no links"),
            (&["--link", "x"], "--link", "x", "no links"),
        ] {
            let Stop::Invalid {
                flag,
                value,
                reason,
            } = stop(words)
            else {
                panic!("{words:?}")
            };
            assert_eq!(
                (flag.shown().as_str(), value.to_str(), reason.as_str()),
                (name, Some(wrong), why)
            );
        }
        assert_eq!(stop(&["--help"]), Stop::Help);
        assert_eq!(stop(&["-ih"]), Stop::Help);
    }

    #[test]
    fn the_table_has_the_flags_of_the_groups_too() {
        let sorted = Run::TABLE.sorted();
        let names: Vec<_> = sorted.iter().map(|flag| flag.long).collect();
        let all = "env interactive limit link memory publish-all quiet sig-proxy tty type";
        assert_eq!(names.join(" "), all);
        assert_eq!(sorted[4].takes, Takes::Value("number"));
        assert_eq!(sorted[2].takes, Takes::Value("bytes"));
        assert_eq!(sorted[5].takes, Takes::Switch);
    }
}
