//! The commands that are about no single kind of thing, in Docker's words.

use super::{Args, Command, check, refuse, shared};
use crate::commands::{info, system};
use crate::flags::Flag;

const INSPECT_FLAGS: &[Flag] = &[
    Flag::switch(
        's',
        "size",
        "Display total file sizes if the type is container",
    ),
    Flag::value(
        '\0',
        "type",
        "string",
        check::any,
        "Only inspect objects of the given type",
    ),
];

/// `cove inspect`.
pub(crate) static INSPECT: Command = Command {
    usage: &["[OPTIONS] NAME|ID [NAME|ID...]"],
    about: "Return low-level information on objects",
    aliases: &[],
    flags: &[shared::FORMAT, INSPECT_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: system::inspect,
};

/// `cove container inspect`.
pub(crate) static CONTAINER_INSPECT: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Display detailed information on one or more containers",
    aliases: &[],
    flags: &[shared::FORMAT, shared::SIZE],
    args: Args::AtLeast(1),
    interspersed: true,
    run: system::container_inspect,
};

const IMAGE_INSPECT_FLAGS: &[Flag] = &[Flag::value(
    '\0',
    "platform",
    "string",
    check::platform,
    "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
)];

/// `cove image inspect`.
pub(crate) static IMAGE_INSPECT: Command = Command {
    usage: &["[OPTIONS] IMAGE [IMAGE...]"],
    about: "Display detailed information on one or more images",
    aliases: &[],
    flags: &[shared::FORMAT, IMAGE_INSPECT_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: system::image_inspect,
};

/// `cove version`.
pub(crate) static VERSION: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Show the Cove version information",
    aliases: &[],
    flags: &[shared::FORMAT],
    args: Args::None,
    interspersed: true,
    run: system::version,
};

/// `cove info`.
pub(crate) static INFO: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Display system-wide information",
    aliases: &["system info", "info"],
    flags: &[shared::FORMAT],
    args: Args::None,
    interspersed: true,
    run: info::info,
};

const SYSTEM_DF_FLAGS: &[Flag] = &[Flag::switch(
    'v',
    "verbose",
    "Show detailed information on space usage",
)];

/// `cove system df`.
pub(crate) static SYSTEM_DF: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Show disk usage",
    aliases: &[],
    flags: &[shared::TABLE_FORMAT, SYSTEM_DF_FLAGS],
    args: Args::None,
    interspersed: true,
    run: system::system_df,
};

const SYSTEM_PRUNE_FLAGS: &[Flag] = &[
    Flag::switch(
        'a',
        "all",
        "Remove all unused images not just dangling ones",
    ),
    Flag::value(
        '\0',
        "filter",
        "filter",
        check::filter,
        "Provide filter values (e.g. \"label=<key>=<value>\")",
    ),
    Flag::refused_switch('\0', "volumes", refuse::no_volumes),
];

/// `cove system prune`.
pub(crate) static SYSTEM_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove unused data",
    aliases: &[],
    flags: &[shared::NO_PROMPT, SYSTEM_PRUNE_FLAGS],
    args: Args::None,
    interspersed: true,
    run: system::system_prune,
};

const FSCK_FLAGS: &[Flag] = &[Flag::switch(
    '\0',
    "repair",
    "Remove what is damaged so that the next pull brings it back",
)];

/// `cove system fsck`.
pub(crate) static SYSTEM_FSCK: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Verify every stored image against its digests",
    aliases: &[],
    flags: &[FSCK_FLAGS],
    args: Args::None,
    interspersed: true,
    run: system::system_fsck,
};
