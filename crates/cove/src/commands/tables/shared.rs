//! What means the same in several commands: flags that come together, and the
//! words of Docker's help for those that come alone.

use cove_flags::{Offers, flags};

use super::{read, refuse};

flags! {
    /// `run`, `create`, `exec`: the program that is started.
    pub(crate) struct Process {
        'e' env: Vec<String> = list(read::env), "Set environment variables";
        env_file: Vec<String> = list, "Read in a file of environment variables", Offers::Files;
        'i' interactive: bool = switch, "Keep STDIN open even if not attached";
        't' tty: bool = switch, "Allocate a pseudo-TTY";
        'w' workdir: String = string, "Working directory inside the container";
    }
}

flags! {
    /// `run`, `create`, `update`: how much a container may use.
    pub(crate) struct Limits {
        blkio_weight: Option<u64> = uint16,
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)";
        cpu_period: Option<i64> = int, "Limit CPU CFS (Completely Fair Scheduler) period";
        cpu_quota: Option<i64> = int, "Limit CPU CFS (Completely Fair Scheduler) quota";
        'c' cpu_shares: Option<i64> = int, "CPU shares (relative weight)";
        cpus: Option<i64> = decimal, "Number of CPUs";
        cpuset_cpus: Option<String> = string, "CPUs in which to allow execution (0-3, 0,1)";
        cpuset_mems: Option<String> = string, "MEMs in which to allow execution (0-3, 0,1)";
        'm' memory: Option<u64> = bytes, "Memory limit";
        memory_reservation: Option<u64> = bytes, "Memory soft limit";
        pids_limit: Option<i64> = int, "Tune container pids limit (set -1 for unlimited)";
    }
    refused {
        cpu_rt_period = value, refuse::no_real_time;
        cpu_rt_runtime = value, refuse::no_real_time;
        kernel_memory = value, refuse::no_kernel_memory;
    }
}

/// `run`, `attach`, `exec`, `start`: how the terminal is left.
pub(crate) const DETACH_KEYS: &str = "Override the key sequence for detaching a container";

/// `run`, `create`, `pull`: which of an image's platforms is wanted.
pub(crate) const PLATFORM: &str = "Set platform of the image";

/// `commit`, `import`: what the new image's configuration gets.
pub(crate) const CHANGE: &str = "Apply Dockerfile instruction to the created image";

/// `export`, `save`: where the archive goes.
pub(crate) const OUTPUT: &str = "Write to a file, instead of STDOUT";

/// `kill`, `restart`, `stop`.
pub(crate) const SIGNAL: &str = "Signal to send to the container";

/// `ps`, `images`: which rows a list has.
pub(crate) const FILTER: &str = "Filter output based on conditions provided";

/// `ps`, `images`, `history`, `system df`: how a table is printed.
pub(crate) const TABLE_FORMAT: &str = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nFields and functions are those of Docker's templates";

/// `ps`, `images`, `history`: how wide a table is.
pub(crate) const NO_TRUNC: &str = "Don't truncate output";

/// `images`, `history`.
pub(crate) const IMAGE_IDS: &str = "Only show image IDs";

/// `ps`, `container inspect`.
pub(crate) const SIZE: &str = "Display total file sizes";

/// What prints one document: `inspect`, `version`, `info`.
pub(crate) const FORMAT: &str = "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nFields and functions are those of Docker's templates";

/// `container prune`, `image prune`: what is removed.
pub(crate) const PRUNE_FILTER: &str = "Provide filter values (e.g. \"until=<timestamp>\")";

/// Every `prune`: whether it asks first.
pub(crate) const NO_PROMPT: &str = "Do not prompt for confirmation";
