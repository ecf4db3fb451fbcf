//! The image `cove/hello`: greets, and says what isolation it sees. It is
//! built into Cove's binary, so that a first run needs no registry.

use std::fs;

/// Names of the capabilities by bit.
const CAPABILITIES: [&str; 41] = [
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
];

fn main() {
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
    };
    println!("Hello from Cove!\n");
    println!("This container was started from an image inside the cove binary, without a");
    println!("daemon and without a registry. What it sees of the machine:\n");
    let pid = std::process::id();
    let others = processes().saturating_sub(1);
    row("process", &match (pid, others) {
        (1, 0) => "1, alone in its own pid namespace".to_owned(),
        (1, n) => format!("1, beside {n} more"),
        (pid, n) => format!("{pid}, sees {n} more"),
    });
    row("user", &format!("uid {}, gid {}", first(&field("Uid")), first(&field("Gid"))));
    row("uid map", &squeeze(&read("/proc/self/uid_map")));
    row("host name", read("/proc/sys/kernel/hostname").trim());
    row("capabilities", &capabilities(&field("CapEff")));
    row("seccomp", match field("Seccomp").as_str() {
        "0" => "off",
        "1" => "strict",
        "2" => "filter",
        _ => "unknown",
    });
    row("no new privs", if field("NoNewPrivs") == "1" { "on" } else { "off" });
    let mounts = read("/proc/self/mountinfo");
    row("root", &root(&mounts));
    row("mounts", &mounts.lines().count().to_string());
    row("cgroup", &cgroup());
    row("network", &interfaces());
    println!("\nTry a whole system:  cove run -it --rm debian bash");
}

fn row(name: &str, value: &str) {
    println!("  {name:<14}{value}");
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn first(values: &str) -> &str {
    values.split_whitespace().next().unwrap_or("?")
}

fn squeeze(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    match lines.as_slice() {
        [] => "unknown".to_owned(),
        [one] if one == "0 0 4294967295" => "0 0 4294967295 (the host's users)".to_owned(),
        many => many.join(", "),
    }
}

fn processes() -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().chars().all(|c| c.is_ascii_digit()))
        .count()
}

fn capabilities(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).unwrap_or(0);
    let names: Vec<&str> = CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(bit, _)| mask >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect();
    match names.len() {
        0 => "none".to_owned(),
        41 => "all 41".to_owned(),
        count => format!("{count} of 41: {}", names.join(" ")),
    }
}

fn root(mounts: &str) -> String {
    let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let Some(line) = line else { return "unknown".to_owned() };
    let options = line.split(' ').nth(5).unwrap_or_default();
    let access = if options.split(',').any(|o| o == "ro") { "read-only" } else { "writable" };
    let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?");
    format!("{kind}, {access}")
}

fn cgroup() -> String {
    let text = read("/proc/self/cgroup");
    let own = text.lines().filter_map(|line| line.rsplit(':').next()).all(|path| path == "/");
    if own { "its own namespace".to_owned() } else { squeeze(&text) }
}

fn interfaces() -> String {
    // The first two lines are headings.
    let text = read("/proc/self/net/dev");
    let names: Vec<&str> =
        text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        ["lo"] => "loopback only".to_owned(),
        many => many.join(" "),
    }
}
