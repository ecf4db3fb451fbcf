//! `cove run` and `cove create`, in Docker's words.

use cove_flags::{Offers, flags};
use cove_model::instance::Ulimit;

use super::shared::{Limits, Process};
use super::{Args, Command, call, read, refuse, shared};
use crate::commands::run;

flags! {
    /// What `cove create` and `cove run` take.
    pub(crate) struct CreateFlags {
        add_host: Vec<String> = list(read::add_host), "Add a custom host-to-IP mapping (host:ip)";
        annotation: Vec<String> = map(read::annotation),
            "Add an annotation to the container (passed through to the OCI runtime) (default map[])";
        'a' attach: Vec<String> = list(read::attach), "Attach to STDIN, STDOUT or STDERR";
        cap_add: Vec<String> = list, "Add Linux capabilities";
        cap_drop: Vec<String> = list, "Drop Linux capabilities";
        cgroup_parent: String = string, "Optional parent cgroup for the container";
        cgroupns: String = string,
            "Cgroup namespace to use (host|private)\n'host':    Run the container in the host's cgroup namespace\n'private': Run the container in its own private cgroup namespace\n'':        Use a private cgroup namespace (default)";
        cidfile: String = string, "Write the container ID to the file", Offers::Files;
        device: Vec<String> = list, "Add a host device to the container";
        device_cgroup_rule: Vec<String> = list(read::device_rule),
            "Add a rule to the cgroup allowed devices list";
        dns: Vec<String> = list(read::dns), "Set custom DNS servers";
        dns_opt: Vec<String> = list, "";
        dns_option: Vec<String> = list, "Set DNS options";
        dns_search: Vec<String> = list(read::dns_search), "Set custom DNS search domains";
        domainname: String = string, "Container NIS domain name";
        entrypoint: Option<String> = string, "Overwrite the default ENTRYPOINT of the image";
        expose: Vec<String> = list, "Expose a port or a range of ports";
        group_add: Vec<String> = list, "Add additional groups to join";
        'h' hostname: String = string, "Container host name";
        init: Option<bool> = switch,
            "Run an init inside the container that forwards signals and reaps processes";
        ipc: String = string, "IPC mode to use";
        'l' label: Vec<String> = list(read::label), "Set meta data on a container";
        label_file: Vec<String> = list, "Read in a line delimited file of labels", Offers::Files;
        log_driver: String = string, "Logging driver for the container",
            Offers::Words(&["json-file", "k8s-file", "local", "none"]);
        log_opt: Vec<String> = list, "Log driver options";
        memory_swap: Option<i64> = bytes(read::swap),
            "Swap limit equal to memory plus swap: '-1' to enable unlimited swap";
        memory_swappiness: Option<i64> = int,
            "Tune container memory swappiness (0 to 100) (default -1)";
        mount: Vec<String> = mount, "Attach a filesystem mount to the container";
        name: String = string, "Assign a name to the container";
        net: Vec<String> = network, "";
        network: Vec<String> = network,
            "Network of the container (none, host, container:NAME; default none)",
            Offers::Words(&["none", "host"]);
        no_healthcheck: bool = switch, "Disable any container-specified HEALTHCHECK";
        oom_kill_disable: bool = switch, "Disable OOM Killer";
        oom_score_adj: Option<i64> = int, "Tune host's OOM preferences (-1000 to 1000)";
        pid: String = string, "PID namespace to use";
        platform: String = string, shared::PLATFORM;
        privileged: bool = switch, "Give extended privileges to this container";
        pull: String = string,
            "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")",
            Offers::Words(&["always", "missing", "never"]);
        'q' quiet: bool = switch, "Suppress the pull output";
        read_only: bool = switch, "Mount the container's root filesystem as read only";
        restart: Option<String> = string, "Restart policy to apply when a container exits (default \"no\")";
        rm: bool = switch,
            "Automatically remove the container and its associated anonymous volumes when it exits";
        runtime: String = string, "Runtime to use for this container";
        security_opt: Vec<String> = list, "Security Options";
        shm_size: Option<u64> = bytes, "Size of /dev/shm";
        stop_signal: String = string, "Signal to stop the container";
        stop_timeout: Option<i64> = int, "Timeout (in seconds) to stop a container";
        sysctl: Vec<String> = map(read::sysctl), "Sysctl options (default map[])";
        tmpfs: Vec<String> = list, "Mount a tmpfs directory";
        ulimit: Vec<Ulimit> = ulimit, "Ulimit options (default [])";
        'u' user: String = string, "Username or UID (format: <name|uid>[:<group|gid>])";
        userns: String = string, "User namespace to use";
        uts: String = string, "UTS namespace to use";
        'v' volume: Vec<String> = list, "Bind mount a volume", Offers::Directories;
    }
    groups {
        process: Process,
        limits: Limits,
    }
    refused {
        blkio_weight_device = value, refuse::no_device_limits;
        cpu_count = value, refuse::no_windows;
        cpu_percent = value, refuse::no_windows;
        device_read_bps = value, refuse::no_device_limits;
        device_read_iops = value, refuse::no_device_limits;
        device_write_bps = value, refuse::no_device_limits;
        device_write_iops = value, refuse::no_device_limits;
        disable_content_trust = switch, refuse::no_trust;
        gpus = value, refuse::no_gpus;
        health_cmd = value, refuse::no_health;
        health_interval = value, refuse::no_health;
        health_retries = value, refuse::no_health;
        health_start_interval = value, refuse::no_health;
        health_start_period = value, refuse::no_health;
        health_timeout = value, refuse::no_health;
        io_maxbandwidth = value, refuse::no_windows;
        io_maxiops = value, refuse::no_windows;
        ip = value, refuse::no_bridge;
        ip6 = value, refuse::no_bridge;
        isolation = value, refuse::no_isolation;
        link = value, refuse::no_links;
        link_local_ip = value, refuse::no_bridge;
        mac_address = value, refuse::no_bridge;
        net_alias = value, refuse::no_bridge;
        network_alias = value, refuse::no_bridge;
        'p' publish = value, refuse::no_bridge;
        'P' publish_all = switch, refuse::no_bridge;
        storage_opt = value, refuse::no_storage_opt;
        use_api_socket = switch, refuse::no_socket;
        volume_driver = value, refuse::no_volumes;
        volumes_from = value, refuse::no_volumes;
    }
}

flags! {
    /// What `cove run` takes.
    pub(crate) struct RunFlags {
        'd' detach: bool = switch, "Run container in background and print container ID";
        detach_keys: String = string, shared::DETACH_KEYS;
        sig_proxy: Option<bool> = switch,
            "Proxy received signals to the process (default true)";
    }
    groups {
        create: CreateFlags,
    }
}

/// `cove run`.
pub(crate) static RUN: Command = Command {
    usage: &["[OPTIONS] IMAGE [COMMAND] [ARG...]"],
    about: "Create and run a new container from an image",
    aliases: &["container run", "run"],
    args: Args::AtLeast(1),
    interspersed: false,
    offers: &[Offers::Images, Offers::Nothing],
    call: call!(RunFlags, run::run),
};

/// `cove create`.
pub(crate) static CREATE: Command = Command {
    usage: &["[OPTIONS] IMAGE [COMMAND] [ARG...]"],
    about: "Create a new container",
    aliases: &["container create", "create"],
    args: Args::AtLeast(1),
    interspersed: false,
    offers: &[Offers::Images, Offers::Nothing],
    call: call!(CreateFlags, run::create),
};
