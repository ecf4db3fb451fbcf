//! Flags that mean the same in several commands. Each set stands once, in the
//! words of Docker's help; a flag whose words differ belongs to its command.

use super::{check, refuse};
use crate::flags::Flag;

/// `run`, `attach`, `exec`, `start`: how the terminal is left.
pub(crate) const DETACH_KEYS: &[Flag] = &[Flag::value(
    '\0',
    "detach-keys",
    "string",
    check::any,
    "Override the key sequence for detaching a container",
)];

/// `run`, `create`, `exec`: the program that is started.
pub(crate) const PROCESS: &[Flag] = &[
    Flag::value('e', "env", "list", check::env, "Set environment variables"),
    Flag::value(
        '\0',
        "env-file",
        "list",
        check::any,
        "Read in a file of environment variables",
    ),
    Flag::switch('i', "interactive", "Keep STDIN open even if not attached"),
    Flag::switch('t', "tty", "Allocate a pseudo-TTY"),
    Flag::value(
        'w',
        "workdir",
        "string",
        check::any,
        "Working directory inside the container",
    ),
];

/// `run`, `create`, `update`: how much a container may use.
pub(crate) const LIMITS: &[Flag] = &[
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
        "pids-limit",
        "int",
        check::int,
        "Tune container pids limit (set -1 for unlimited)",
    ),
];

/// `run`, `create`, `pull`: which of an image's platforms is wanted.
pub(crate) const PLATFORM: &[Flag] = &[Flag::value(
    '\0',
    "platform",
    "string",
    check::any,
    "Set platform of the image",
)];

/// `run`, `create`, `pull`.
pub(crate) const TRUST: &[Flag] = &[Flag::refused_switch(
    '\0',
    "disable-content-trust",
    refuse::no_trust,
)];

/// `run`, `create`, `update`.
pub(crate) const KERNEL_MEMORY: &[Flag] = &[Flag::refused(
    '\0',
    "kernel-memory",
    "bytes",
    refuse::no_kernel_memory,
)];

/// `import`, `load`, `save`: there is nothing to choose from.
pub(crate) const NO_PLATFORM: &[Flag] = &[Flag::refused(
    '\0',
    "platform",
    "string",
    refuse::no_variants,
)];

/// `commit`, `import`: what the new image's configuration gets.
pub(crate) const CHANGE: &[Flag] = &[Flag::value(
    'c',
    "change",
    "list",
    check::any,
    "Apply Dockerfile instruction to the created image",
)];

/// `export`, `save`: where the archive goes.
pub(crate) const OUTPUT: &[Flag] = &[Flag::value(
    'o',
    "output",
    "string",
    check::any,
    "Write to a file, instead of STDOUT",
)];

/// `kill`, `restart`, `stop`.
pub(crate) const SIGNAL: &[Flag] = &[Flag::value(
    's',
    "signal",
    "string",
    check::any,
    "Signal to send to the container",
)];

/// `restart`, `stop`.
pub(crate) const TIMEOUT: &[Flag] = &[
    Flag::value(
        't',
        "timeout",
        "int",
        check::int,
        "Seconds to wait before killing the container",
    ),
    // What Docker 20.10 calls it.
    Flag::value('\0', "time", "int", check::int, ""),
];

/// `ps`, `images`: which rows a list has.
pub(crate) const FILTER: &[Flag] = &[Flag::value(
    'f',
    "filter",
    "filter",
    check::filter,
    "Filter output based on conditions provided",
)];

/// `ps`, `images`, `history`, `system df`: how a table is printed.
pub(crate) const TABLE_FORMAT: &[Flag] = &[Flag::value(
    '\0',
    "format",
    "string",
    check::any,
    "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nFields and functions are those of Docker's templates",
)];

/// `ps`, `images`, `history`: how wide a table is.
pub(crate) const NO_TRUNC: &[Flag] = &[Flag::switch('\0', "no-trunc", "Don't truncate output")];

/// `images`, `history`.
pub(crate) const IMAGE_IDS: &[Flag] = &[Flag::switch('q', "quiet", "Only show image IDs")];

/// `ps`, `container inspect`.
pub(crate) const SIZE: &[Flag] = &[Flag::switch('s', "size", "Display total file sizes")];

/// What prints one document: `inspect`, `version`, `info`.
pub(crate) const FORMAT: &[Flag] = &[Flag::value(
    'f',
    "format",
    "string",
    check::any,
    "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nFields and functions are those of Docker's templates",
)];

/// `container prune`, `image prune`: what is removed.
pub(crate) const PRUNE_FILTER: &[Flag] = &[Flag::value(
    '\0',
    "filter",
    "filter",
    check::filter,
    "Provide filter values (e.g. \"until=<timestamp>\")",
)];

/// Every `prune`: whether it asks first.
pub(crate) const NO_PROMPT: &[Flag] =
    &[Flag::switch('f', "force", "Do not prompt for confirmation")];
