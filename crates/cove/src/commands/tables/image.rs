//! The commands of images, in Docker's words.

use cove_flags::{Offers, flags};

use super::{Args, Command, NoFlags, call, read, refuse, shared};
use crate::commands::image;

flags! {
    /// What `cove history` takes.
    pub(crate) struct HistoryFlags {
        format: String = string, shared::TABLE_FORMAT;
        'H' human: Option<bool> = switch, "Print sizes and dates in human readable format (default true)";
        no_trunc: bool = switch, shared::NO_TRUNC;
        platform: String = string(read::platform),
            "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")";
        'q' quiet: bool = switch, shared::IMAGE_IDS;
    }
}

/// `cove history`.
pub(crate) static HISTORY: Command = Command {
    usage: &["[OPTIONS] IMAGE"],
    about: "Show the history of an image",
    aliases: &["image history", "history"],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Images, Offers::Nothing],
    call: call!(HistoryFlags, image::history),
};

flags! {
    /// What `cove import` takes.
    pub(crate) struct ImportFlags {
        'c' change: Vec<String> = list, shared::CHANGE;
        'm' message: String = string, "Set commit message for imported image";
        platform: String = string, shared::PLATFORM;
    }
}

/// `cove import`.
pub(crate) static IMPORT: Command = Command {
    usage: &["[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"],
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: &["image import", "import"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Files, Offers::Nothing],
    call: call!(ImportFlags, image::import),
};

flags! {
    /// What `cove load` takes.
    pub(crate) struct LoadFlags {
        'i' input: String = string, "Read from tar archive file, instead of STDIN", Offers::Files;
    }
    accepted {
        'q' quiet = switch, "Suppress the load output";
    }
    refused {
        platform = value, refuse::no_variants;
    }
}

/// `cove load`.
pub(crate) static LOAD: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Load an image from a tar archive or STDIN",
    aliases: &["image load", "load"],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(LoadFlags, image::load),
};

flags! {
    /// What `cove pull` takes.
    pub(crate) struct PullFlags {
        platform: String = string, shared::PLATFORM;
        'q' quiet: bool = switch, "Suppress verbose output";
    }
    refused {
        'a' all_tags = switch, refuse::no_all_tags;
        disable_content_trust = switch, refuse::no_trust;
    }
}

/// `cove pull`.
pub(crate) static PULL: Command = Command {
    usage: &["[OPTIONS] NAME[:TAG|@DIGEST]"],
    about: "Download an image from a registry",
    aliases: &["image pull", "pull"],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Images, Offers::Nothing],
    call: call!(PullFlags, image::pull),
};

flags! {
    /// What `cove image prune` takes.
    pub(crate) struct ImagePruneFlags {
        'a' all: bool = switch, "Remove all unused images, not just dangling ones";
        filter: Vec<String> = filter, shared::PRUNE_FILTER;
        'f' force: bool = switch, shared::NO_PROMPT;
    }
}

/// `cove image prune`.
pub(crate) static IMAGE_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove unused images",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(ImagePruneFlags, image::image_prune),
};

flags! {
    /// What `cove images` takes.
    pub(crate) struct ImagesFlags {
        digests: bool = switch, "Show digests";
        'f' filter: Vec<String> = filter, shared::FILTER;
        format: String = string, shared::TABLE_FORMAT;
        no_trunc: bool = switch, shared::NO_TRUNC;
        'q' quiet: bool = switch, shared::IMAGE_IDS;
    }
    accepted {
        'a' all = switch, "Show all images (default hides intermediate images)";
    }
}

/// `cove images`.
pub(crate) static IMAGES: Command = Command {
    usage: &["[OPTIONS] [REPOSITORY[:TAG]]"],
    about: "List images",
    aliases: &["image ls", "image list", "images"],
    args: Args::AtMost(1),
    interspersed: true,
    offers: &[Offers::Images, Offers::Nothing],
    call: call!(ImagesFlags, image::images),
};

flags! {
    /// What `cove rmi` takes.
    pub(crate) struct RmiFlags {
        'f' force: bool = switch, "Force removal of the image";
        no_prune: bool = switch, "Do not delete untagged parents";
    }
    refused {
        platform = value, refuse::no_variants;
    }
}

/// `cove rmi`.
pub(crate) static RMI: Command = Command {
    usage: &["[OPTIONS] IMAGE [IMAGE...]"],
    about: "Remove one or more images",
    aliases: &["image rm", "image remove", "rmi"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Images],
    call: call!(RmiFlags, image::rmi),
};

flags! {
    /// What `cove save` takes.
    pub(crate) struct SaveFlags {
        'o' output: String = string, shared::OUTPUT, Offers::Files;
    }
    refused {
        platform = value, refuse::no_variants;
    }
}

/// `cove save`.
pub(crate) static SAVE: Command = Command {
    usage: &["[OPTIONS] IMAGE [IMAGE...]"],
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases: &["image save", "save"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Images],
    call: call!(SaveFlags, image::save),
};

/// `cove tag`.
pub(crate) static TAG: Command = Command {
    usage: &["SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"],
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases: &["image tag", "tag"],
    args: Args::Exactly(2),
    interspersed: false,
    offers: &[Offers::Images, Offers::Nothing],
    call: call!(NoFlags, image::tag),
};

flags! {
    /// What `cove login` takes.
    pub(crate) struct LoginFlags {
        'p' password: Option<String> = string, "Password or Personal Access Token (PAT)";
        password_stdin: bool = switch,
            "Take the Password or Personal Access Token (PAT) from stdin";
        'u' username: String = string, "Username";
    }
}

/// `cove login`.
pub(crate) static LOGIN: Command = Command {
    usage: &["[OPTIONS] [SERVER]"],
    about: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    aliases: &[],
    args: Args::AtMost(1),
    interspersed: true,
    offers: &[],
    call: call!(LoginFlags, image::login),
};

/// `cove logout`.
pub(crate) static LOGOUT: Command = Command {
    usage: &["[SERVER]"],
    about: "Log out from a registry.\nIf no server is specified, the default is Docker Hub.",
    aliases: &[],
    args: Args::AtMost(1),
    interspersed: true,
    offers: &[],
    call: call!(NoFlags, image::logout),
};
