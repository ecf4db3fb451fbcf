//! Flags of a command line. [`flags!`] makes two things of one list: a structure
//! with a field for each flag, so that a misspelt one does not compile, and a
//! constant table, from which the line is read, help is laid out, and completions
//! and man pages are made.
//!
//! This is not clap because what people type is the grammar of Go's pflag:
//! `--rm=false` and `-t=true` for switches, `-it` clusters that end in a value,
//! flags that may stand behind arguments in most commands and end at the first
//! argument in `run`; because a mistake, a [`Stop`], is told in the words of the
//! program whose place a face takes; and because nothing is built at start.

mod field;
mod parse;

use std::ffi::OsStr;

pub use field::{Field, Text, long_name};
pub use parse::{Stop, parse};

/// One flag of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// The letter, or NUL where there is none.
    pub short: char,
    /// The name behind two dashes.
    pub long: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// The help; empty hides the flag.
    pub help: &'static str,
    /// What a shell offers for its value.
    pub offers: Offers,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or a truth value behind `=`.
    Switch,
    /// A value; help calls it so.
    Value(&'static str),
}

/// What a shell offers where a value or an argument is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// Nothing: it can be anything.
    Nothing,
    /// The names of all containers.
    Containers,
    /// The names of the containers that run.
    Running,
    /// The names of all images.
    Images,
    /// Containers and images.
    Objects,
    /// Files.
    Files,
    /// Directories.
    Directories,
    /// Containers, a colon behind each, and files.
    Copies,
    /// These words.
    Words(&'static [&'static str]),
}

impl Flag {
    /// The flag as messages name it: `-m, --memory`.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.short == '\0' {
            format!("--{}", self.long)
        } else {
            format!("-{}, --{}", self.short, self.long)
        }
    }
}

/// The flags of a structure, and those of the structures in it.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its own.
    pub own: &'static [Flag],
    /// Those of flags that commands share.
    pub groups: &'static [&'static Table],
}

impl Table {
    /// The first flag that is `wanted`.
    pub fn find(&self, wanted: &dyn Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.own
            .iter()
            .find(|flag| wanted(flag))
            .or_else(|| self.groups.iter().find_map(|group| group.find(wanted)))
    }

    /// All flags, sorted by name.
    #[must_use]
    pub fn sorted(&self) -> Vec<&'static Flag> {
        fn collect(table: &Table, all: &mut Vec<&'static Flag>) {
            all.extend(table.own);
            for group in table.groups {
                collect(group, all);
            }
        }
        let mut all = Vec::new();
        collect(self, &mut all);
        all.sort_by_key(|flag| flag.long);
        all
    }
}

/// A structure that [`flags!`] made.
pub trait Flags {
    /// Its table.
    fn table(&self) -> &'static Table;

    /// Reads the value of a flag; whether there is such a flag, or what is wrong
    /// with the value.
    fn set(&mut self, flag: &str, value: &OsStr) -> Result<bool, String>;
}

/// Makes a structure of flags, its table and its [`Flags`].
///
/// A flag is `'letter' field: Type = kind(reader), "help", Offers;`. Its name is
/// the field's with dashes. The kind is `switch`, or what help calls the value. The
/// reader is a function of the value's text (`&str`, or `&OsStr` for paths); where
/// none is named it is the function of the kind's name in a module `read`. A field
/// is a `bool`, a `String`, an `Option`, or a `Vec` of all values that were given.
/// Letter, reader and offers may be missing; a flag without help is hidden.
///
/// Behind the structure stand, in this order and each only where it is needed,
/// `groups { field: Structure, }` for flags that commands share, `accepted { … }`
/// for flags that ask for what is so anyway, and
/// `refused { 'letter' name = switch | value, check; }` for hidden ones that are
/// there to be told why not.
#[macro_export]
macro_rules! flags {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $($short:literal)? $field:ident: $type:ty = $kind:ident $(($read:path))?, $help:expr
                $(, $offers:expr)?;
            )*
        }
        $(groups { $($(#[$group_meta:meta])* $group:ident: $group_type:ty,)* })?
        $(accepted {
            $($($a_short:literal)? $a_name:ident = $a_kind:ident $(($a_read:path))?, $a_help:expr;)*
        })?
        $(refused {
            $($($r_short:literal)? $r_name:ident = $r_kind:ident, $r_check:path;)*
        })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $($vis $field: $type,)*
            $($($(#[$group_meta])* $vis $group: $group_type,)*)?
        }

        impl $name {
            /// Its flags.
            $vis const TABLE: &'static $crate::Table = &$crate::Table {
                own: &[
                    $($crate::Flag {
                        short: $crate::flags!(@short $($short)?),
                        long: $crate::flags!(@long $field),
                        takes: $crate::flags!(@takes $kind),
                        help: $help,
                        offers: $crate::flags!(@offers $($offers)?),
                    },)*
                    $($($crate::Flag {
                        short: $crate::flags!(@short $($a_short)?),
                        long: $crate::flags!(@long $a_name),
                        takes: $crate::flags!(@takes $a_kind),
                        help: $a_help,
                        offers: $crate::Offers::Nothing,
                    },)*)?
                    $($($crate::Flag {
                        short: $crate::flags!(@short $($r_short)?),
                        long: $crate::flags!(@long $r_name),
                        takes: $crate::flags!(@takes $r_kind),
                        help: "",
                        offers: $crate::Offers::Nothing,
                    },)*)?
                ],
                groups: &[$($(<$group_type>::TABLE,)*)?],
            };
        }

        impl $crate::Flags for $name {
            fn table(&self) -> &'static $crate::Table {
                Self::TABLE
            }

            fn set(&mut self, flag: &str, value: &::std::ffi::OsStr) -> Result<bool, String> {
                $(if flag == $crate::flags!(@long $field) {
                    let value = $crate::flags!(@read $kind $(($read))?)($crate::Text::of(value)?)?;
                    $crate::Field::put(&mut self.$field, value);
                    return Ok(true);
                })*
                $($(if flag == $crate::flags!(@long $a_name) {
                    $crate::flags!(@read $a_kind $(($a_read))?)($crate::Text::of(value)?)?;
                    return Ok(true);
                })*)?
                $($(if flag == $crate::flags!(@long $r_name) {
                    $r_check($crate::Text::of(value)?)?;
                    return Ok(true);
                })*)?
                Ok(false $($(|| $crate::Flags::set(&mut self.$group, flag, value)?)*)?)
            }
        }
    };
    (@short) => { '\0' };
    (@short $short:literal) => { $short };
    (@long $name:ident) => {{
        const NAME: &str = stringify!($name);
        const LONG: &str = {
            const BYTES: [u8; $crate::long_name::length(NAME)] = $crate::long_name::bytes(NAME);
            match ::std::str::from_utf8(&BYTES) {
                Ok(long) => long,
                Err(_) => NAME,
            }
        };
        LONG
    }};
    (@takes switch) => { $crate::Takes::Switch };
    (@takes $kind:ident) => { $crate::Takes::Value(stringify!($kind)) };
    (@offers) => { $crate::Offers::Nothing };
    (@offers $offers:expr) => { $offers };
    (@read $kind:ident) => { read::$kind };
    (@read $kind:ident ($read:path)) => { $read };
}
