//! The commands of containers, in Docker's words.

use cove_flags::{Offers, flags};

use super::shared::{Limits, Process};
use super::{Args, Command, NoFlags, call, read, refuse, shared};
use crate::commands::container;

flags! {
    /// What `cove attach` takes.
    pub(crate) struct AttachFlags {
        detach_keys: String = string, shared::DETACH_KEYS;
        no_stdin: bool = switch, "Do not attach STDIN";
        sig_proxy: Option<bool> = switch, "Proxy all received signals to the process (default true)";
    }
}

/// `cove attach`.
pub(crate) static ATTACH: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Attach local standard input, output, and error streams to a running container",
    aliases: &["container attach", "attach"],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Running, Offers::Nothing],
    call: call!(AttachFlags, container::attach),
};

flags! {
    /// What `cove commit` takes.
    pub(crate) struct CommitFlags {
        'a' author: Option<String> = string, "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")";
        'c' change: Vec<String> = list, shared::CHANGE;
        'm' message: Option<String> = string, "Commit message";
        'p' pause: Option<bool> = switch, "Pause container during commit (default true)";
    }
}

/// `cove commit`.
pub(crate) static COMMIT: Command = Command {
    usage: &["[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"],
    about: "Create a new image from a container's changes",
    aliases: &["container commit", "commit"],
    args: Args::Between(1, 2),
    interspersed: true,
    offers: &[Offers::Containers, Offers::Nothing],
    call: call!(CommitFlags, container::commit),
};

flags! {
    /// What `cove cp` takes.
    pub(crate) struct CpFlags {
        'a' archive: bool = switch, "Archive mode (copy all uid/gid information)";
        'L' follow_link: bool = switch, "Always follow symlinks in SRC_PATH";
        'q' quiet: Option<bool> = switch,
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached";
    }
}

/// `cove cp`.
pub(crate) static CP: Command = Command {
    usage: &[
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
        "[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    ],
    about: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    aliases: &["container cp", "cp"],
    args: Args::Exactly(2),
    interspersed: true,
    offers: &[Offers::Copies],
    call: call!(CpFlags, container::cp),
};

/// `cove diff`.
pub(crate) static DIFF: Command = Command {
    usage: &["CONTAINER"],
    about: "Inspect changes to files or directories on a container's filesystem",
    aliases: &["container diff", "diff"],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Containers, Offers::Nothing],
    call: call!(NoFlags, container::diff),
};

flags! {
    /// What `cove exec` takes.
    pub(crate) struct ExecFlags {
        'd' detach: bool = switch, "Detached mode: run command in the background";
        detach_keys: String = string, shared::DETACH_KEYS;
        privileged: bool = switch, "Give extended privileges to the command";
        'u' user: String = string, "Username or UID (format: \"<name|uid>[:<group|gid>]\")";
    }
    groups {
        process: Process,
    }
}

/// `cove exec`.
pub(crate) static EXEC: Command = Command {
    usage: &["[OPTIONS] CONTAINER COMMAND [ARG...]"],
    about: "Execute a command in a running container",
    aliases: &["container exec", "exec"],
    args: Args::AtLeast(2),
    interspersed: false,
    offers: &[Offers::Running, Offers::Nothing],
    call: call!(ExecFlags, container::exec),
};

flags! {
    /// What `cove export` takes.
    pub(crate) struct ExportFlags {
        'o' output: String = string, shared::OUTPUT, Offers::Files;
    }
}

/// `cove export`.
pub(crate) static EXPORT: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Export a container's filesystem as a tar archive",
    aliases: &["container export", "export"],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Containers, Offers::Nothing],
    call: call!(ExportFlags, container::export),
};

flags! {
    /// What `cove kill` takes.
    pub(crate) struct KillFlags {
        's' signal: String = string, shared::SIGNAL;
    }
}

/// `cove kill`.
pub(crate) static KILL: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Kill one or more running containers",
    aliases: &["container kill", "kill"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Running],
    call: call!(KillFlags, container::kill),
};

flags! {
    /// What `cove logs` takes.
    pub(crate) struct LogsFlags {
        details: bool = switch, "Show extra details provided to logs";
        'f' follow: bool = switch, "Follow log output";
        since: String = string,
            "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)";
        'n' tail: String = string,
            "Number of lines to show from the end of the logs (default \"all\")";
        't' timestamps: bool = switch, "Show timestamps";
        until: String = string,
            "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)";
    }
}

/// `cove logs`.
pub(crate) static LOGS: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Fetch the logs of a container",
    aliases: &["container logs", "logs"],
    args: Args::Exactly(1),
    interspersed: true,
    offers: &[Offers::Containers, Offers::Nothing],
    call: call!(LogsFlags, container::logs),
};

/// `cove pause`.
pub(crate) static PAUSE: Command = Command {
    usage: &["CONTAINER [CONTAINER...]"],
    about: "Pause all processes within one or more containers",
    aliases: &["container pause", "pause"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Running],
    call: call!(NoFlags, container::pause),
};

flags! {
    /// What `cove ps` takes.
    pub(crate) struct PsFlags {
        'a' all: bool = switch, "Show all containers (default shows just running)";
        'f' filter: Vec<String> = filter, shared::FILTER;
        format: String = string, shared::TABLE_FORMAT;
        'n' last: Option<i64> = int,
            "Show n last created containers (includes all states) (default -1)";
        'l' latest: bool = switch, "Show the latest created container (includes all states)";
        no_trunc: bool = switch, shared::NO_TRUNC;
        'q' quiet: bool = switch, "Only display container IDs";
        's' size: bool = switch, shared::SIZE;
    }
}

/// `cove ps`.
pub(crate) static PS: Command = Command {
    usage: &["[OPTIONS]"],
    about: "List containers",
    aliases: &["container ls", "container list", "container ps", "ps"],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(PsFlags, container::ps),
};

flags! {
    /// What `cove container prune` takes.
    pub(crate) struct ContainerPruneFlags {
        filter: Vec<String> = filter, shared::PRUNE_FILTER;
        'f' force: bool = switch, shared::NO_PROMPT;
    }
}

/// `cove container prune`.
pub(crate) static CONTAINER_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove all stopped containers",
    aliases: &[],
    args: Args::None,
    interspersed: true,
    offers: &[],
    call: call!(ContainerPruneFlags, container::container_prune),
};

/// `cove rename`.
pub(crate) static RENAME: Command = Command {
    usage: &["CONTAINER NEW_NAME"],
    about: "Rename a container",
    aliases: &["container rename", "rename"],
    args: Args::Exactly(2),
    interspersed: true,
    offers: &[Offers::Containers, Offers::Nothing],
    call: call!(NoFlags, container::rename),
};

flags! {
    /// What `cove restart` and `cove stop` take.
    pub(crate) struct StopFlags {
        's' signal: String = string, shared::SIGNAL;
        // What Docker 20.10 calls it.
        time: Option<i64> = int, "";
        't' timeout: Option<i64> = int, "Seconds to wait before killing the container";
    }
}

/// `cove restart`.
pub(crate) static RESTART: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Restart one or more containers",
    aliases: &["container restart", "restart"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Containers],
    call: call!(StopFlags, container::restart),
};

flags! {
    /// What `cove rm` takes.
    pub(crate) struct RmFlags {
        'f' force: bool = switch, "Force the removal of a running container (uses SIGKILL)";
    }
    accepted {
        'v' volumes = switch, "Remove anonymous volumes associated with the container";
    }
    refused {
        'l' link = switch, refuse::no_links;
    }
}

/// `cove rm`.
pub(crate) static RM: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Remove one or more containers",
    aliases: &["container rm", "container remove", "rm"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Containers],
    call: call!(RmFlags, container::rm),
};

flags! {
    /// What `cove start` takes.
    pub(crate) struct StartFlags {
        'a' attach: bool = switch, "Attach STDOUT/STDERR and forward signals";
        detach_keys: String = string, shared::DETACH_KEYS;
        'i' interactive: bool = switch, "Attach container's STDIN";
    }
    refused {
        checkpoint = value, refuse::no_checkpoints;
        checkpoint_dir = value, refuse::no_checkpoints;
    }
}

/// `cove start`.
pub(crate) static START: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Start one or more stopped containers",
    aliases: &["container start", "start"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Containers],
    call: call!(StartFlags, container::start),
};

/// `cove stop`.
pub(crate) static STOP: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Stop one or more running containers",
    aliases: &["container stop", "stop"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Running],
    call: call!(StopFlags, container::stop),
};

/// `cove top`.
pub(crate) static TOP: Command = Command {
    usage: &["CONTAINER [ps OPTIONS]"],
    about: "Display the running processes of a container",
    aliases: &["container top", "top"],
    args: Args::AtLeast(1),
    interspersed: false,
    offers: &[Offers::Running, Offers::Nothing],
    call: call!(NoFlags, container::top),
};

/// `cove unpause`.
pub(crate) static UNPAUSE: Command = Command {
    usage: &["CONTAINER [CONTAINER...]"],
    about: "Unpause all processes within one or more containers",
    aliases: &["container unpause", "unpause"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Running],
    call: call!(NoFlags, container::unpause),
};

flags! {
    /// What `cove update` takes.
    pub(crate) struct UpdateFlags {
        memory_swap: Option<i64> = bytes(read::swap),
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap";
        restart: Option<String> = string, "Restart policy to apply when a container exits";
    }
    groups {
        limits: Limits,
    }
}

/// `cove update`.
pub(crate) static UPDATE: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Update configuration of one or more containers",
    aliases: &["container update", "update"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Containers],
    call: call!(UpdateFlags, container::update),
};

/// `cove wait`.
pub(crate) static WAIT: Command = Command {
    usage: &["CONTAINER [CONTAINER...]"],
    about: "Block until one or more containers stop, then print their exit codes",
    aliases: &["container wait", "wait"],
    args: Args::AtLeast(1),
    interspersed: true,
    offers: &[Offers::Containers],
    call: call!(NoFlags, container::wait),
};
