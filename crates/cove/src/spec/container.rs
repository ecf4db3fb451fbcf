//! The commands of containers, in Docker's words.

use super::{Args, Command, check, refuse, shared};
use crate::commands::container;
use crate::flags::Flag;

const ATTACH_FLAGS: &[Flag] = &[
    Flag::switch('\0', "no-stdin", "Do not attach STDIN"),
    Flag::switch(
        '\0',
        "sig-proxy",
        "Proxy all received signals to the process (default true)",
    ),
];

/// `cove attach`.
pub(crate) static ATTACH: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Attach local standard input, output, and error streams to a running container",
    aliases: &["container attach", "attach"],
    flags: &[shared::DETACH_KEYS, ATTACH_FLAGS],
    args: Args::Exactly(1),
    interspersed: true,
    run: container::attach,
};

const COMMIT_FLAGS: &[Flag] = &[
    Flag::value(
        'a',
        "author",
        "string",
        check::any,
        "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")",
    ),
    Flag::value('m', "message", "string", check::any, "Commit message"),
    Flag::switch('p', "pause", "Pause container during commit (default true)"),
];

/// `cove commit`.
pub(crate) static COMMIT: Command = Command {
    usage: &["[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"],
    about: "Create a new image from a container's changes",
    aliases: &["container commit", "commit"],
    flags: &[shared::CHANGE, COMMIT_FLAGS],
    args: Args::Between(1, 2),
    interspersed: true,
    run: container::commit,
};

const CP_FLAGS: &[Flag] = &[
    Flag::switch(
        'a',
        "archive",
        "Archive mode (copy all uid/gid information)",
    ),
    Flag::switch('L', "follow-link", "Always follow symlinks in SRC_PATH"),
    Flag::switch(
        'q',
        "quiet",
        "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
    ),
];

/// `cove cp`.
pub(crate) static CP: Command = Command {
    usage: &[
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
        "[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    ],
    about: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    aliases: &["container cp", "cp"],
    flags: &[CP_FLAGS],
    args: Args::Exactly(2),
    interspersed: true,
    run: container::cp,
};

/// `cove diff`.
pub(crate) static DIFF: Command = Command {
    usage: &["CONTAINER"],
    about: "Inspect changes to files or directories on a container's filesystem",
    aliases: &["container diff", "diff"],
    flags: &[],
    args: Args::Exactly(1),
    interspersed: true,
    run: container::diff,
};

const EXEC_FLAGS: &[Flag] = &[
    Flag::switch(
        'd',
        "detach",
        "Detached mode: run command in the background",
    ),
    Flag::switch(
        '\0',
        "privileged",
        "Give extended privileges to the command",
    ),
    Flag::value(
        'u',
        "user",
        "string",
        check::any,
        "Username or UID (format: \"<name|uid>[:<group|gid>]\")",
    ),
];

/// `cove exec`.
pub(crate) static EXEC: Command = Command {
    usage: &["[OPTIONS] CONTAINER COMMAND [ARG...]"],
    about: "Execute a command in a running container",
    aliases: &["container exec", "exec"],
    flags: &[shared::DETACH_KEYS, shared::PROCESS, EXEC_FLAGS],
    args: Args::AtLeast(2),
    interspersed: false,
    run: container::exec,
};

/// `cove export`.
pub(crate) static EXPORT: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Export a container's filesystem as a tar archive",
    aliases: &["container export", "export"],
    flags: &[shared::OUTPUT],
    args: Args::Exactly(1),
    interspersed: true,
    run: container::export,
};

/// `cove kill`.
pub(crate) static KILL: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Kill one or more running containers",
    aliases: &["container kill", "kill"],
    flags: &[shared::SIGNAL],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::kill,
};

const LOGS_FLAGS: &[Flag] = &[
    Flag::switch('\0', "details", "Show extra details provided to logs"),
    Flag::switch('f', "follow", "Follow log output"),
    Flag::value(
        '\0',
        "since",
        "string",
        check::any,
        "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
    Flag::value(
        'n',
        "tail",
        "string",
        check::any,
        "Number of lines to show from the end of the logs (default \"all\")",
    ),
    Flag::switch('t', "timestamps", "Show timestamps"),
    Flag::value(
        '\0',
        "until",
        "string",
        check::any,
        "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
];

/// `cove logs`.
pub(crate) static LOGS: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Fetch the logs of a container",
    aliases: &["container logs", "logs"],
    flags: &[LOGS_FLAGS],
    args: Args::Exactly(1),
    interspersed: true,
    run: container::logs,
};

/// `cove pause`.
pub(crate) static PAUSE: Command = Command {
    usage: &["CONTAINER [CONTAINER...]"],
    about: "Pause all processes within one or more containers",
    aliases: &["container pause", "pause"],
    flags: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::pause,
};

const PS_FLAGS: &[Flag] = &[
    Flag::switch(
        'a',
        "all",
        "Show all containers (default shows just running)",
    ),
    Flag::value(
        'n',
        "last",
        "int",
        check::int,
        "Show n last created containers (includes all states) (default -1)",
    ),
    Flag::switch(
        'l',
        "latest",
        "Show the latest created container (includes all states)",
    ),
    Flag::switch('q', "quiet", "Only display container IDs"),
];

/// `cove ps`.
pub(crate) static PS: Command = Command {
    usage: &["[OPTIONS]"],
    about: "List containers",
    aliases: &["container ls", "container list", "container ps", "ps"],
    flags: &[
        shared::FILTER,
        shared::TABLE_FORMAT,
        shared::NO_TRUNC,
        shared::SIZE,
        PS_FLAGS,
    ],
    args: Args::None,
    interspersed: true,
    run: container::ps,
};

/// `cove container prune`.
pub(crate) static CONTAINER_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove all stopped containers",
    aliases: &[],
    flags: &[shared::PRUNE_FILTER, shared::NO_PROMPT],
    args: Args::None,
    interspersed: true,
    run: container::container_prune,
};

/// `cove rename`.
pub(crate) static RENAME: Command = Command {
    usage: &["CONTAINER NEW_NAME"],
    about: "Rename a container",
    aliases: &["container rename", "rename"],
    flags: &[],
    args: Args::Exactly(2),
    interspersed: true,
    run: container::rename,
};

/// `cove restart`.
pub(crate) static RESTART: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Restart one or more containers",
    aliases: &["container restart", "restart"],
    flags: &[shared::SIGNAL, shared::TIMEOUT],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::restart,
};

const RM_FLAGS: &[Flag] = &[
    Flag::switch(
        'f',
        "force",
        "Force the removal of a running container (uses SIGKILL)",
    ),
    Flag::refused_switch('l', "link", refuse::no_links),
    Flag::switch(
        'v',
        "volumes",
        "Remove anonymous volumes associated with the container",
    ),
];

/// `cove rm`.
pub(crate) static RM: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Remove one or more containers",
    aliases: &["container rm", "container remove", "rm"],
    flags: &[RM_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::rm,
};

const START_FLAGS: &[Flag] = &[
    Flag::switch('a', "attach", "Attach STDOUT/STDERR and forward signals"),
    Flag::refused('\0', "checkpoint", "string", refuse::no_checkpoints),
    Flag::refused('\0', "checkpoint-dir", "string", refuse::no_checkpoints),
    Flag::switch('i', "interactive", "Attach container's STDIN"),
];

/// `cove start`.
pub(crate) static START: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Start one or more stopped containers",
    aliases: &["container start", "start"],
    flags: &[shared::DETACH_KEYS, START_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::start,
};

/// `cove stop`.
pub(crate) static STOP: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Stop one or more running containers",
    aliases: &["container stop", "stop"],
    flags: &[shared::SIGNAL, shared::TIMEOUT],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::stop,
};

/// `cove top`.
pub(crate) static TOP: Command = Command {
    usage: &["CONTAINER [ps OPTIONS]"],
    about: "Display the running processes of a container",
    aliases: &["container top", "top"],
    flags: &[],
    args: Args::AtLeast(1),
    interspersed: false,
    run: container::top,
};

/// `cove unpause`.
pub(crate) static UNPAUSE: Command = Command {
    usage: &["CONTAINER [CONTAINER...]"],
    about: "Unpause all processes within one or more containers",
    aliases: &["container unpause", "unpause"],
    flags: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::unpause,
};

const UPDATE_FLAGS: &[Flag] = &[
    Flag::value(
        '\0',
        "memory-swap",
        "bytes",
        check::swap,
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    ),
    Flag::value(
        '\0',
        "restart",
        "string",
        check::any,
        "Restart policy to apply when a container exits",
    ),
];

/// `cove update`.
pub(crate) static UPDATE: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Update configuration of one or more containers",
    aliases: &["container update", "update"],
    flags: &[shared::LIMITS, shared::KERNEL_MEMORY, UPDATE_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::update,
};

/// `cove wait`.
pub(crate) static WAIT: Command = Command {
    usage: &["CONTAINER [CONTAINER...]"],
    about: "Block until one or more containers stop, then print their exit codes",
    aliases: &["container wait", "wait"],
    flags: &[],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::wait,
};
