//! What a process knows of itself: who it is, what it may, what it inherited.

use std::ffi::OsString;

use testkit::files;

use super::facts::{Facts, words};

/// Signals whose disposition is not what the program was started with: SIGPIPE,
/// which the Rust runtime ignores, and the two that the C library keeps to itself.
const NOT_OURS: u64 = 0x1000 | 0x1_8000_0000;

/// Adds the facts of the calling process.
pub(super) fn look(facts: &mut Facts) {
    status(facts);
    stat(facts);
    limits(facts);
    facts.set("id.pid-is-1", std::process::id() == 1);
    // The mask is read by setting it; nothing has been made yet.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    let _zero = rustix::process::umask(mask);
    facts.set("process.umask", format!("{:04o}", mask.bits()));
    let bits = rustix::thread::capabilities_secure_bits();
    facts.set("caps.securebits", bits.map_or(u32::MAX, |b| b.bits()));
    let cwd = std::env::current_dir().unwrap_or_default();
    facts.set("process.cwd", cwd.display());
    environment(facts);
    for (fact, name) in [
        ("process.oom_score_adj", "oom_score_adj"),
        ("process.personality", "personality"),
        ("process.timerslack", "timerslack_ns"),
        ("process.coredump_filter", "coredump_filter"),
        ("process.loginuid", "loginuid"),
    ] {
        let text = files::text(format!("/proc/self/{name}").as_ref());
        facts.set(fact, text.as_deref().unwrap_or("closed").trim());
    }
    let io = cove_sys::sched::io_priority().map_or(-1, i64::from);
    facts.set("sched.io", io);
}

fn status(facts: &mut Facts) {
    let text = files::text("/proc/self/status".as_ref()).unwrap_or_default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        let fact = match key {
            "Uid" => "id.uid",
            "Gid" => "id.gid",
            "Groups" => "id.groups",
            "CapInh" => "caps.inheritable",
            "CapPrm" => "caps.permitted",
            "CapEff" => "caps.effective",
            "CapBnd" => "caps.bounding",
            "CapAmb" => "caps.ambient",
            "SigBlk" => "signals.blocked",
            "SigIgn" => "signals.ignored",
            "NoNewPrivs" => "process.no_new_privs",
            "Seccomp" => "seccomp.mode",
            "Seccomp_filters" => "seccomp.filters",
            "Cpus_allowed_list" => "sched.cpus",
            "Mems_allowed_list" => "sched.mems",
            "Speculation_Store_Bypass" => "seccomp.speculation",
            "NStgid" => "id.pids",
            _ => continue,
        };
        let value = match key {
            "Groups" => words(value.split_whitespace()),
            // How deep, not which.
            "NStgid" => value.split_whitespace().count().to_string(),
            "SigIgn" => u64::from_str_radix(value, 16).map_or_else(
                |_| value.to_owned(),
                |set| format!("{:016x}", set & !NOT_OURS),
            ),
            _ => value.replace('\t', " "),
        };
        facts.set(fact, value);
    }
}

fn stat(facts: &mut Facts) {
    let text = files::text("/proc/self/stat".as_ref()).unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(") ") else {
        return;
    };
    // Numbered as in proc_pid_stat(5), less the two before the closing bracket.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).copied().unwrap_or_default();
    let pid = std::process::id().to_string();
    facts.set("session.leads-group", field(5) == pid);
    facts.set("session.leads", field(6) == pid);
    facts.set("session.terminal", field(7) != "0");
    facts.set("sched.nice", field(19));
    facts.set("sched.rt_priority", field(40));
    facts.set("sched.policy", field(41));
}

fn limits(facts: &mut Facts) {
    let text = files::text("/proc/self/limits".as_ref()).unwrap_or_default();
    for line in text.lines().skip(1) {
        let (Some(name), Some(rest)) = (line.get(..26), line.get(26..)) else {
            continue;
        };
        let mut values = rest.split_whitespace();
        let (soft, hard) = (values.next(), values.next());
        let value = format!("{} {}", soft.unwrap_or(""), hard.unwrap_or(""));
        let name = name.trim().to_lowercase().replace(' ', "-");
        facts.set(&format!("limit.{name}"), value);
    }
}

/// Each variable with its values; one that comes twice shows both.
fn environment(facts: &mut Facts) {
    let text = |word: OsString| word.to_string_lossy().into_owned();
    let mut all: Vec<(String, String)> = std::env::vars_os()
        .map(|(key, value)| (text(key), text(value)))
        .collect();
    all.sort();
    for (key, value) in &all {
        let same: Vec<&str> = all
            .iter()
            .filter(|(other, _)| other == key)
            .map(|(_, value)| value.as_str())
            .collect();
        let value = if same.len() > 1 {
            format!("twice: {}", same.join(" and "))
        } else {
            value.clone()
        };
        facts.set(&format!("env.{key}"), value);
    }
    let names: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
    facts.set("env", names.join(" "));
}
