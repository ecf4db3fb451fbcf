//! What the specification says a process must see, where it says so plainly:
//! for what the peers of this age do not know, and what they all do wrong.

use serde_json::{Value, json};

use super::generate::IDMAPPED;

/// Facts that a trial's configuration settles, and their values.
pub(super) fn expected(trial: &Value) -> Vec<(String, String)> {
    let config = &trial["config"];
    let process = &config["process"];
    let mut all = Vec::new();
    let mut due = |fact: &str, value: String| all.push((fact.to_owned(), value));
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let four = |n: u64| format!("{n} {n} {n} {n}");
    due("id.uid", four(number(&process["user"]["uid"])));
    due("id.gid", four(number(&process["user"]["gid"])));
    due(
        "process.cwd",
        process["cwd"].as_str().unwrap_or("/").to_owned(),
    );
    let new_privileges = process["noNewPrivileges"] == json!(true);
    due("process.no_new_privs", u8::from(new_privileges).to_string());
    due("signals.blocked", "0".repeat(16));
    due("signals.ignored", "0".repeat(16));
    if let Some(mask) = process["user"]["umask"].as_u64() {
        due("process.umask", format!("{mask:04o}"));
    }
    if trial["life"] == json!("exec")
        && let Some(cpus) = process["execCPUAffinity"]["final"].as_str()
    {
        due("sched.cpus", cpus.to_owned());
    }
    if let Some(score) = process["oomScoreAdj"].as_i64() {
        due("process.oom_score_adj", score.to_string());
    }
    if let Some(name) = config["hostname"].as_str() {
        due("uts.nodename", name.to_owned());
    }
    if let Some(name) = config["domainname"].as_str() {
        due("uts.domainname", name.to_owned());
    }
    if config["linux"]["personality"]["domain"] == json!("LINUX32") {
        due("process.personality", "00000008".to_owned());
    }
    let policy = match process["scheduler"]["policy"].as_str() {
        Some("SCHED_BATCH") => Some(3),
        // The flag that resets on fork shows nowhere.
        Some("SCHED_IDLE") => Some(5),
        Some("SCHED_OTHER") => Some(0),
        Some(_) | None => None,
    };
    if let Some(policy) = policy {
        due("sched.policy", policy.to_string());
    }
    if let Some(nice) = process["scheduler"]["nice"].as_i64() {
        due("sched.nice", nice.to_string());
    }
    if let Some(class) = process["ioPriority"]["class"].as_str() {
        let class = if class == "IOPRIO_CLASS_IDLE" { 3 } else { 2 };
        let level = number(&process["ioPriority"]["priority"]);
        due("sched.io", (class << 13 | level).to_string());
    }
    for limit in process["rlimits"].as_array().into_iter().flatten() {
        let name = match limit["type"].as_str() {
            Some("RLIMIT_NOFILE") => "max-open-files",
            Some("RLIMIT_CORE") => "max-core-file-size",
            Some("RLIMIT_STACK") => "max-stack-size",
            Some("RLIMIT_FSIZE") => "max-file-size",
            Some("RLIMIT_CPU") => "max-cpu-time",
            Some("RLIMIT_MEMLOCK") => "max-locked-memory",
            Some(_) | None => continue,
        };
        let (soft, hard) = (number(&limit["soft"]), number(&limit["hard"]));
        due(&format!("limit.{name}"), format!("{soft} {hard}"));
    }
    for space in config["linux"]["namespaces"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = match space["type"].as_str() {
            Some("network") => "net",
            Some(name) => name,
            None => continue,
        };
        let how = if space.get("path").is_some() {
            "joined"
        } else {
            "new"
        };
        due(&format!("ns.{name}"), how.to_owned());
    }
    if let Some(spread) = config["linux"]["rootfsPropagation"]
        .as_str()
        .and_then(spread)
    {
        due("mount./.propagation", spread.to_owned());
    }
    // Where everything was made private before, there is nobody to be the slave of.
    let cut = matches!(
        config["linux"]["rootfsPropagation"].as_str(),
        Some("private" | "rprivate" | "runbindable")
    );
    let spreads = spreads(&config["mounts"]);
    for (at, spread) in spreads
        .into_iter()
        .filter(|(_, s)| !(cut && *s == "master"))
    {
        due(&format!("mount.{at}.propagation"), spread.to_owned());
    }
    let mounts = config["mounts"].as_array();
    let mapped = |mount: &Value| mount["destination"] == json!(IDMAPPED);
    let spaces = config["linux"]["namespaces"].as_array();
    let user = |space: &Value| space["type"] == json!("user");
    if mounts.into_iter().flatten().any(mapped) && !spaces.into_iter().flatten().any(user) {
        due(
            &format!("node.{IDMAPPED}"),
            "directory 0755 1000:1000".to_owned(),
        );
    }
    for (name, value) in config["linux"]["sysctl"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().replace(' ', "\t");
        due(&format!("sysctl.{name}"), value);
    }
    all
}

/// How the mount table shows a propagation; everything in a world is shared.
fn spread(word: &str) -> Option<&'static str> {
    match word {
        "shared" | "rshared" => Some("shared"),
        "slave" | "rslave" => Some("master"),
        "private" | "rprivate" => Some(""),
        "unbindable" | "runbindable" => Some("unbindable"),
        _ => None,
    }
}

/// Bind mounts that say how they spread, by destination, unless two are at one.
fn spreads(mounts: &Value) -> Vec<(String, &'static str)> {
    let mounts = || mounts.as_array().into_iter().flatten();
    let mut all = Vec::new();
    for mount in mounts() {
        let options = mount["options"].as_array();
        let words = || options.into_iter().flatten().filter_map(Value::as_str);
        let at = &mount["destination"];
        let alone = mounts().filter(|other| other["destination"] == *at).count() == 1;
        let spread = words().find_map(spread).filter(|s| *s != "shared");
        if let (Some(at), Some(spread), true) = (at.as_str(), spread, alone)
            && words().any(|word| word == "bind" || word == "rbind")
        {
            all.push((format!("/{}", at.trim_start_matches('/')), spread));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_settles() {
        let all = expected(&json!({"config": {
            "process": {"user": {"uid": 5, "umask": 63}},
            "linux": {"namespaces": [{"type": "network"}]},
        }}));
        let of = |name: &str| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(of("id.uid"), Some("5 5 5 5"));
        assert_eq!(of("process.umask"), Some("0077"));
        assert_eq!(of("ns.net"), Some("new"));
        assert_eq!(of("uts.nodename"), None);
    }
}
