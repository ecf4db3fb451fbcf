//! The commands of containers, in Docker's words.

use super::{Args, Command, check, refuse};
use crate::commands::container;
use crate::flags::Flag;

const ATTACH_FLAGS: &[Flag] = &[
    Flag::value(
        '\0',
        "detach-keys",
        "string",
        check::detach_keys,
        "Override the key sequence for detaching a container",
    ),
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
    flags: &[ATTACH_FLAGS],
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
    Flag::value(
        'c',
        "change",
        "list",
        check::any,
        "Apply Dockerfile instruction to the created image",
    ),
    Flag::value('m', "message", "string", check::any, "Commit message"),
    Flag::switch('p', "pause", "Pause container during commit (default true)"),
];

/// `cove commit`.
pub(crate) static COMMIT: Command = Command {
    usage: &["[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"],
    about: "Create a new image from a container's changes",
    aliases: &["container commit", "commit"],
    flags: &[COMMIT_FLAGS],
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
    Flag::value(
        '\0',
        "detach-keys",
        "string",
        check::detach_keys,
        "Override the key sequence for detaching a container",
    ),
    Flag::value('e', "env", "list", check::env, "Set environment variables"),
    Flag::value(
        '\0',
        "env-file",
        "list",
        check::any,
        "Read in a file of environment variables",
    ),
    Flag::switch('i', "interactive", "Keep STDIN open even if not attached"),
    Flag::switch(
        '\0',
        "privileged",
        "Give extended privileges to the command",
    ),
    Flag::switch('t', "tty", "Allocate a pseudo-TTY"),
    Flag::value(
        'u',
        "user",
        "string",
        check::any,
        "Username or UID (format: \"<name|uid>[:<group|gid>]\")",
    ),
    Flag::value(
        'w',
        "workdir",
        "string",
        check::any,
        "Working directory inside the container",
    ),
];

/// `cove exec`.
pub(crate) static EXEC: Command = Command {
    usage: &["[OPTIONS] CONTAINER COMMAND [ARG...]"],
    about: "Execute a command in a running container",
    aliases: &["container exec", "exec"],
    flags: &[EXEC_FLAGS],
    args: Args::AtLeast(2),
    interspersed: false,
    run: container::exec,
};

const EXPORT_FLAGS: &[Flag] = &[Flag::value(
    'o',
    "output",
    "string",
    check::any,
    "Write to a file, instead of STDOUT",
)];

/// `cove export`.
pub(crate) static EXPORT: Command = Command {
    usage: &["[OPTIONS] CONTAINER"],
    about: "Export a container's filesystem as a tar archive",
    aliases: &["container export", "export"],
    flags: &[EXPORT_FLAGS],
    args: Args::Exactly(1),
    interspersed: true,
    run: container::export,
};

const KILL_FLAGS: &[Flag] = &[Flag::value(
    's',
    "signal",
    "string",
    check::any,
    "Signal to send to the container",
)];

/// `cove kill`.
pub(crate) static KILL: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Kill one or more running containers",
    aliases: &["container kill", "kill"],
    flags: &[KILL_FLAGS],
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
        'f',
        "filter",
        "filter",
        check::filter,
        "Filter output based on conditions provided",
    ),
    Flag::value(
        '\0',
        "format",
        "string",
        check::any,
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nFields and functions are those of Docker's templates",
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
    Flag::switch('\0', "no-trunc", "Don't truncate output"),
    Flag::switch('q', "quiet", "Only display container IDs"),
    Flag::switch('s', "size", "Display total file sizes"),
];

/// `cove ps`.
pub(crate) static PS: Command = Command {
    usage: &["[OPTIONS]"],
    about: "List containers",
    aliases: &["container ls", "container list", "container ps", "ps"],
    flags: &[PS_FLAGS],
    args: Args::None,
    interspersed: true,
    run: container::ps,
};

const CONTAINER_PRUNE_FLAGS: &[Flag] = &[
    Flag::value(
        '\0',
        "filter",
        "filter",
        check::filter,
        "Provide filter values (e.g. \"until=<timestamp>\")",
    ),
    Flag::switch('f', "force", "Do not prompt for confirmation"),
];

/// `cove container prune`.
pub(crate) static CONTAINER_PRUNE: Command = Command {
    usage: &["[OPTIONS]"],
    about: "Remove all stopped containers",
    aliases: &[],
    flags: &[CONTAINER_PRUNE_FLAGS],
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

const RESTART_FLAGS: &[Flag] = &[
    Flag::value(
        's',
        "signal",
        "string",
        check::any,
        "Signal to send to the container",
    ),
    Flag::value(
        't',
        "timeout",
        "int",
        check::int,
        "Seconds to wait before killing the container",
    ),
];

/// `cove restart`.
pub(crate) static RESTART: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Restart one or more containers",
    aliases: &["container restart", "restart"],
    flags: &[RESTART_FLAGS],
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
    Flag::value(
        '\0',
        "detach-keys",
        "string",
        check::detach_keys,
        "Override the key sequence for detaching a container",
    ),
    Flag::switch('i', "interactive", "Attach container's STDIN"),
];

/// `cove start`.
pub(crate) static START: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Start one or more stopped containers",
    aliases: &["container start", "start"],
    flags: &[START_FLAGS],
    args: Args::AtLeast(1),
    interspersed: true,
    run: container::start,
};

const STOP_FLAGS: &[Flag] = &[
    Flag::value(
        's',
        "signal",
        "string",
        check::any,
        "Signal to send to the container",
    ),
    Flag::value(
        't',
        "timeout",
        "int",
        check::int,
        "Seconds to wait before killing the container",
    ),
];

/// `cove stop`.
pub(crate) static STOP: Command = Command {
    usage: &["[OPTIONS] CONTAINER [CONTAINER...]"],
    about: "Stop one or more running containers",
    aliases: &["container stop", "stop"],
    flags: &[STOP_FLAGS],
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
        "blkio-weight",
        "uint16",
        check::uint16,
        "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    ),
    Flag::value(
        '\0',
        "cpu-period",
        "int",
        check::int,
        "Limit CPU CFS (Completely Fair Scheduler) period",
    ),
    Flag::value(
        '\0',
        "cpu-quota",
        "int",
        check::int,
        "Limit CPU CFS (Completely Fair Scheduler) quota",
    ),
    Flag::refused('\0', "cpu-rt-period", "int", refuse::no_real_time),
    Flag::refused('\0', "cpu-rt-runtime", "int", refuse::no_real_time),
    Flag::value(
        'c',
        "cpu-shares",
        "int",
        check::int,
        "CPU shares (relative weight)",
    ),
    Flag::value('\0', "cpus", "decimal", check::cpus, "Number of CPUs"),
    Flag::value(
        '\0',
        "cpuset-cpus",
        "string",
        check::any,
        "CPUs in which to allow execution (0-3, 0,1)",
    ),
    Flag::value(
        '\0',
        "cpuset-mems",
        "string",
        check::any,
        "MEMs in which to allow execution (0-3, 0,1)",
    ),
    Flag::value('m', "memory", "bytes", check::bytes, "Memory limit"),
    Flag::value(
        '\0',
        "memory-reservation",
        "bytes",
        check::bytes,
        "Memory soft limit",
    ),
    Flag::value(
        '\0',
        "memory-swap",
        "bytes",
        check::swap,
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    ),
    Flag::value(
        '\0',
        "pids-limit",
        "int",
        check::int,
        "Tune container pids limit (set -1 for unlimited)",
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
    flags: &[UPDATE_FLAGS],
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
