//! The commands of images, in Docker's words.

use super::{Args, Command, check, refuse, shared};
use crate::commands::image;
use crate::flags::Flag;

const HISTORY_FLAGS: &[Flag] = &[
    Flag::switch(
        'H',
        "human",
        "Print sizes and dates in human readable format (default true)",
    ),
    Flag::value(
        '\0',
        "platform",
        "string",
        check::platform,
        "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
];

/// `cove history`.
pub(crate) static HISTORY: Command = Command {
    usage: &["[OPTIONS] IMAGE"],
    about: "Show the history of an image",
    aliases: &["image history", "history"],
    flags: &[
        shared::TABLE_FORMAT,
        shared::NO_TRUNC,
        shared::IMAGE_IDS,
        HISTORY_FLAGS,
    ],
    args: Args::Exactly(1),
    interspersed: true,
    run: image::history,
};

const IMPORT_FLAGS: &[Flag] = &[Flag::value(
    'm',
    "message",
    "string",
    check::any,
    "Set commit message for imported image",
)];

/// `cove import`.
pub(crate) static IMPORT: Command = Command {
    usage: &["[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"],
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: &["image import", "import"],
    flags: &[shared::CHANGE, shared::PLATFORM, IMPORT_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: image::import,
};

const LOAD_FLAGS: &[Flag] = &[
    Flag::value(
        'i',
        "input",
        "string",
        check::any,
        "Read from tar archive file, instead of STDIN",
    ),
    Flag::switch('q', "quiet", "Suppress the load output"),
];

/// `cove load`.
pub(crate) static LOAD: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Load an image from a tar archive or STDIN",
    aliases: &["image load", "load"],
    flags: &[shared::NO_PLATFORM, LOAD_FLAGS],
    args: Args::None,
    interspersed: true,
    run: image::load,
};

const PULL_FLAGS: &[Flag] = &[
    Flag::refused_switch('a', "all-tags", refuse::no_all_tags),
    Flag::switch('q', "quiet", "Suppress verbose output"),
];

/// `cove pull`.
pub(crate) static PULL: Command = Command {
    usage: &["[OPTIONS] NAME[:TAG|@DIGEST]"],
    about: "Download an image from a registry",
    aliases: &["image pull", "pull"],
    flags: &[shared::PLATFORM, shared::TRUST, PULL_FLAGS],
    args: Args::Exactly(1),
    interspersed: true,
    run: image::pull,
};

const IMAGE_PRUNE_FLAGS: &[Flag] = &[Flag::switch(
    'a',
    "all",
    "Remove all unused images, not just dangling ones",
)];

/// `cove image prune`.
pub(crate) static IMAGE_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove unused images",
    aliases: &[],
    flags: &[shared::PRUNE_FILTER, shared::NO_PROMPT, IMAGE_PRUNE_FLAGS],
    args: Args::None,
    interspersed: true,
    run: image::image_prune,
};

const IMAGES_FLAGS: &[Flag] = &[
    Flag::switch(
        'a',
        "all",
        "Show all images (default hides intermediate images)",
    ),
    Flag::switch('\0', "digests", "Show digests"),
];

/// `cove images`.
pub(crate) static IMAGES: Command = Command {
    usage: &["[OPTIONS] [REPOSITORY[:TAG]]"],
    about: "List images",
    aliases: &["image ls", "image list", "images"],
    flags: &[
        shared::FILTER,
        shared::TABLE_FORMAT,
        shared::NO_TRUNC,
        shared::IMAGE_IDS,
        IMAGES_FLAGS,
    ],
    args: Args::AtMost(1),
    interspersed: true,
    run: image::images,
};

const RMI_FLAGS: &[Flag] = &[
    Flag::switch('f', "force", "Force removal of the image"),
    Flag::switch('\0', "no-prune", "Do not delete untagged parents"),
    Flag::refused('\0', "platform", "strings", refuse::no_variants),
];

/// `cove rmi`.
pub(crate) static RMI: Command = Command {
    usage: &["[OPTIONS] IMAGE [IMAGE...]"],
    about: "Remove one or more images",
    aliases: &["image rm", "image remove", "rmi"],
    flags: &[RMI_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: image::rmi,
};

/// `cove save`.
pub(crate) static SAVE: Command = Command {
    usage: &["[OPTIONS] IMAGE [IMAGE...]"],
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases: &["image save", "save"],
    flags: &[shared::OUTPUT, shared::NO_PLATFORM],
    args: Args::AtLeast(1),
    interspersed: true,
    run: image::save,
};

/// `cove tag`.
pub(crate) static TAG: Command = Command {
    usage: &["SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"],
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases: &["image tag", "tag"],
    flags: &[],
    args: Args::Exactly(2),
    interspersed: false,
    run: image::tag,
};

const LOGIN_FLAGS: &[Flag] = &[
    Flag::value(
        'p',
        "password",
        "string",
        check::any,
        "Password or Personal Access Token (PAT)",
    ),
    Flag::switch(
        '\0',
        "password-stdin",
        "Take the Password or Personal Access Token (PAT) from stdin",
    ),
    Flag::value('u', "username", "string", check::any, "Username"),
];

/// `cove login`.
pub(crate) static LOGIN: Command = Command {
    usage: &["[OPTIONS] [SERVER]"],
    about: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    aliases: &[],
    flags: &[LOGIN_FLAGS],
    args: Args::AtMost(1),
    interspersed: true,
    run: image::login,
};

/// `cove logout`.
pub(crate) static LOGOUT: Command = Command {
    usage: &["[SERVER]"],
    about: "Log out from a registry.\nIf no server is specified, the default is Docker Hub.",
    aliases: &[],
    flags: &[],
    args: Args::AtMost(1),
    interspersed: true,
    run: image::logout,
};
