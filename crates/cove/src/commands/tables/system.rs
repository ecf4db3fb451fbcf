//! The commands that are about no single kind of thing, in Docker's words.

use cove_flags::{Offers, flags};

use super::{Args, Command, NoFlags, call, read, refuse, shared};
use crate::commands::{completion, events, info, man, system};

flags! {
    /// What `cove inspect` takes.
    pub(crate) struct InspectFlags {
        'f' format: String = string, shared::FORMAT;
        r#type: String = string, "Only inspect objects of the given type",
            Offers::Words(&["container", "image"]);
        's' size: bool = switch, "Display total file sizes if the type is container";
    }
}

/// `cove inspect`.
pub(crate) static INSPECT: Command = Command {
    usage: &["[OPTIONS] NAME|ID [NAME|ID...]"],
    about: "Return low-level information on objects",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Objects],
    call: call!(InspectFlags, system::inspect),
};

flags! {
    /// What `cove container inspect` takes.
    pub(crate) struct ContainerInspectFlags {
        'f' format: String = string, shared::FORMAT;
        's' size: bool = switch, shared::SIZE;
    }
}

/// `cove container inspect`.
pub(crate) static CONTAINER_INSPECT: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Display detailed information on one or more containers",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Containers],
    call: call!(ContainerInspectFlags, system::container_inspect),
};

flags! {
    /// What `cove image inspect` takes.
    pub(crate) struct ImageInspectFlags {
        'f' format: String = string, shared::FORMAT;
        platform: String = string(read::platform),
            "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)";
    }
}

/// `cove image inspect`.
pub(crate) static IMAGE_INSPECT: Command = Command {
    usage: &["[OPTIONS] IMAGE [IMAGE...]"],
    about: "Display detailed information on one or more images",
    aliases: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Images],
    call: call!(ImageInspectFlags, system::image_inspect),
};

flags! {
    /// What `cove version` and `cove info` take.
    pub(crate) struct FormatFlags {
        'f' format: String = string, shared::FORMAT;
    }
}

/// `cove version`.
pub(crate) static VERSION: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Show the Cove version information",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(FormatFlags, system::version),
};

/// `cove info`.
pub(crate) static INFO: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Display system-wide information",
    aliases: &["system info", "info"],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(FormatFlags, info::info),
};

flags! {
    /// What `cove system df` takes.
    pub(crate) struct SystemDfFlags {
        format: String = string, shared::TABLE_FORMAT;
        'v' verbose: bool = switch, "Show detailed information on space usage";
    }
}

/// `cove system df`.
pub(crate) static SYSTEM_DF: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Show disk usage",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(SystemDfFlags, system::system_df),
};

flags! {
    /// What `cove system prune` takes.
    pub(crate) struct SystemPruneFlags {
        'a' all: bool = switch, "Remove all unused images not just dangling ones";
        filter: Vec<String> = filter, "Provide filter values (e.g. \"label=<key>=<value>\")";
        'f' force: bool = switch, shared::NO_PROMPT;
    }
    refused {
        volumes = switch, refuse::no_volumes;
    }
}

/// `cove system prune`.
pub(crate) static SYSTEM_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove unused data",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(SystemPruneFlags, system::system_prune),
};

flags! {
    /// What `cove system fsck` takes.
    pub(crate) struct SystemFsckFlags {
        repair: bool = switch, "Remove what is damaged so that the next pull brings it back";
    }
}

/// `cove system fsck`.
pub(crate) static SYSTEM_FSCK: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Verify every stored image against its digests",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(SystemFsckFlags, system::system_fsck),
};

/// `cove completion`.
pub(crate) static COMPLETION: Command = Command {
    usage: &["bash|fish|zsh"],
    about: "Print the completions of a shell\n\nbash: source <(cove completion bash)\nfish: cove completion fish | source\nzsh:  source <(cove completion zsh)",
    aliases: &[],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Words(&["bash", "fish", "zsh"])],
    call: call!(NoFlags, completion::completion),
};

flags! {
    /// What `cove man` takes.
    pub(crate) struct ManFlags {
        'o' output: String = string, "Write all pages to this directory, instead of one to STDOUT",
            Offers::Directories;
    }
}

/// `cove man`.
pub(crate) static MAN: Command = Command {
    usage: &["[OPTIONS] [COMMAND...]"],
    about: "Print the manual page of a command\n\ncove man run | man -l -\ncove man -o /usr/local/share/man/man1",
    aliases: &[],
    args: Args::AtMost(2),
    interspersed: true,
    offers: &[Offers::Nothing],
    call: call!(ManFlags, man::man),
};

/// `cove events`.
pub(crate) static EVENTS: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Show what happens to containers and images as it happens",
    aliases: &["system events", "events"],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(events::EventsFlags, events::events),
};
