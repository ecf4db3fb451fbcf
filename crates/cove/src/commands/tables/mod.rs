//! Every command: its words, its flags, how many arguments it takes, and the
//! function behind it. The tables are constants; nothing is built at start.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod planned;
pub(crate) mod read;
pub(crate) mod refuse;
pub(crate) mod run;
pub(crate) mod shared;
pub(crate) mod system;

use cove_flags::{Offers, Table, flags};

use crate::settings::Session;

/// One command of the command line.
pub(crate) struct Command {
    /// What follows the words, one line per form.
    pub(crate) usage: &'static [&'static str],
    /// What it does.
    pub(crate) about: &'static str,
    /// All words that call it.
    pub(crate) aliases: &'static [&'static str],
    /// How many arguments it takes.
    pub(crate) args: Args,
    /// Whether flags may stand behind arguments.
    pub(crate) interspersed: bool,
    /// What a shell offers for each argument; the last goes for all that follow.
    pub(crate) offers: &'static [Offers],
    /// Its flags, and what it runs.
    pub(crate) call: Call,
}

/// A structure of flags and the function that is given one; [`call!`] makes it.
pub(crate) struct Call {
    /// The flags.
    pub(crate) flags: &'static Table,
    /// Reads them, runs the function, and tells how it ended.
    pub(crate) run: fn(&Session, &Command, &[String]) -> u8,
}

/// The [`Call`] of a structure and a function of the session, that structure and
/// the arguments.
macro_rules! call {
    ($flags:ty, $function:path) => {
        $crate::commands::tables::Call {
            flags: <$flags>::TABLE,
            run: |session, command, words| {
                $crate::cli::call::<$flags>(session, command, words, $function)
            },
        }
    };
}
use call;

flags! {
    /// What a command takes that has no flags.
    pub(crate) struct NoFlags {}
}

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Args {
    /// None.
    None,
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From so many to so many.
    Between(usize, usize),
}

impl Args {
    /// The complaint about `count` arguments, after the command's name.
    pub(crate) fn complaint(self, count: usize) -> Option<String> {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match self {
            Self::None if count > 0 => Some("accepts no arguments".to_owned()),
            Self::Exactly(want) if count != want => {
                Some(format!("requires {want} argument{}", plural(want)))
            }
            Self::AtLeast(want) if count < want => {
                Some(format!("requires at least {want} argument{}", plural(want)))
            }
            Self::AtMost(want) if count > want => {
                Some(format!("requires at most {want} argument{}", plural(want)))
            }
            Self::Between(least, most) if count < least || count > most => Some(format!(
                "requires at least {least} and at most {most} argument{}",
                plural(most)
            )),
            Self::None
            | Self::Exactly(_)
            | Self::AtLeast(_)
            | Self::AtMost(_)
            | Self::Between(..) => None,
        }
    }
}

/// A word that only groups commands.
pub(crate) struct Group {
    /// The word.
    pub(crate) name: &'static str,
    /// What the commands are about.
    pub(crate) about: &'static str,
    /// The commands by word; the first word of a command is the one shown.
    pub(crate) commands: &'static [(&'static str, &'static Command)],
}

/// Shown first in the help.
pub(crate) const COMMON: &[&str] = &[
    "run", "exec", "ps", "pull", "images", "login", "logout", "version", "info",
];

/// Commands of the top level.
pub(crate) static TOP: &[(&str, &Command)] = &[
    ("run", &run::RUN),
    ("exec", &container::EXEC),
    ("ps", &container::PS),
    ("pull", &image::PULL),
    ("images", &image::IMAGES),
    ("login", &image::LOGIN),
    ("logout", &image::LOGOUT),
    ("version", &system::VERSION),
    ("info", &system::INFO),
    ("attach", &container::ATTACH),
    ("commit", &container::COMMIT),
    ("completion", &system::COMPLETION),
    ("cp", &container::CP),
    ("create", &run::CREATE),
    ("diff", &container::DIFF),
    ("events", &system::EVENTS),
    ("export", &container::EXPORT),
    ("history", &image::HISTORY),
    ("import", &image::IMPORT),
    ("inspect", &system::INSPECT),
    ("kill", &container::KILL),
    ("load", &image::LOAD),
    ("logs", &container::LOGS),
    ("man", &system::MAN),
    ("pause", &container::PAUSE),
    ("rename", &container::RENAME),
    ("restart", &container::RESTART),
    ("rm", &container::RM),
    ("rmi", &image::RMI),
    ("save", &image::SAVE),
    ("start", &container::START),
    ("stop", &container::STOP),
    ("tag", &image::TAG),
    ("top", &container::TOP),
    ("unpause", &container::UNPAUSE),
    ("update", &container::UPDATE),
    ("wait", &container::WAIT),
];

/// The groups.
pub(crate) static GROUPS: &[Group] = &[
    Group {
        name: "container",
        about: "Manage containers",
        commands: &[
            ("attach", &container::ATTACH),
            ("commit", &container::COMMIT),
            ("cp", &container::CP),
            ("create", &run::CREATE),
            ("diff", &container::DIFF),
            ("exec", &container::EXEC),
            ("export", &container::EXPORT),
            ("inspect", &system::CONTAINER_INSPECT),
            ("kill", &container::KILL),
            ("logs", &container::LOGS),
            ("ls", &container::PS),
            ("list", &container::PS),
            ("ps", &container::PS),
            ("pause", &container::PAUSE),
            ("prune", &container::CONTAINER_PRUNE),
            ("rename", &container::RENAME),
            ("restart", &container::RESTART),
            ("rm", &container::RM),
            ("remove", &container::RM),
            ("run", &run::RUN),
            ("start", &container::START),
            ("stop", &container::STOP),
            ("top", &container::TOP),
            ("unpause", &container::UNPAUSE),
            ("update", &container::UPDATE),
            ("wait", &container::WAIT),
        ],
    },
    Group {
        name: "image",
        about: "Manage images",
        commands: &[
            ("history", &image::HISTORY),
            ("import", &image::IMPORT),
            ("inspect", &system::IMAGE_INSPECT),
            ("load", &image::LOAD),
            ("ls", &image::IMAGES),
            ("list", &image::IMAGES),
            ("prune", &image::IMAGE_PRUNE),
            ("pull", &image::PULL),
            ("rm", &image::RMI),
            ("remove", &image::RMI),
            ("save", &image::SAVE),
            ("tag", &image::TAG),
        ],
    },
    Group {
        name: "system",
        about: "Manage Cove",
        commands: &[
            ("df", &system::SYSTEM_DF),
            ("events", &system::EVENTS),
            ("fsck", &system::SYSTEM_FSCK),
            ("info", &system::INFO),
            ("prune", &system::SYSTEM_PRUNE),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flags_of_a_command_share_a_name() {
        let commands = TOP
            .iter()
            .chain(GROUPS.iter().flat_map(|group| group.commands.iter()));
        for (name, command) in commands {
            let flags = command.call.flags.sorted();
            for (index, flag) in flags.iter().enumerate() {
                let twin = flags[..index].iter().find(|other| {
                    other.long == flag.long || (flag.short != '\0' && other.short == flag.short)
                });
                assert!(twin.is_none(), "{name}: {} twice", flag.long);
            }
        }
    }

    #[test]
    fn counts_of_arguments_are_complained_about_in_dockers_words() {
        for (args, count, complaint) in [
            (Args::None, 2, Some("accepts no arguments")),
            (Args::Exactly(1), 2, Some("requires 1 argument")),
            (Args::Exactly(2), 1, Some("requires 2 arguments")),
            (Args::AtLeast(1), 0, Some("requires at least 1 argument")),
            (Args::AtLeast(2), 1, Some("requires at least 2 arguments")),
            (Args::AtMost(1), 2, Some("requires at most 1 argument")),
            (
                Args::Between(1, 2),
                3,
                Some("requires at least 1 and at most 2 arguments"),
            ),
            (Args::AtLeast(1), 5, None),
            (Args::None, 0, None),
        ] {
            assert_eq!(
                args.complaint(count).as_deref(),
                complaint,
                "{args:?} {count}"
            );
        }
    }
}
