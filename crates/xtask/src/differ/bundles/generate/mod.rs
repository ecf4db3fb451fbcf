//! Makes a trial from a seed: a configuration that the specification allows,
//! and the caller's state in which a runtime is given it. A trial is one JSON
//! document, so that shrinking needs to know nothing of what is in it.

mod caller;
mod linux;
mod more;
mod mounts;
mod process;

use serde_json::{Map, Value, json};
use testkit::rng::Rng;

use super::probe::REPORT;

pub(super) use caller::script as caller_script;
pub(super) use more::IDMAPPED;

/// What the generator needs to know of the world.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// Directory of the world.
    pub(super) world: String,
    /// Name of the cgroup in which the world's runtimes are called.
    pub(super) cgroup: String,
    /// `/proc/N/ns` of a process with new namespaces of the host's.
    pub(super) joined: String,
    /// The same with a user namespace that owns them, mapped to [`BASE`].
    pub(super) joined_user: String,
}

/// The host's id of root in user namespaces.
pub(super) const BASE: u32 = 100_000;

/// The trial of `index` among those of `seed`.
pub(super) fn trial(seed: u64, index: u64, ground: &Ground) -> Value {
    let mut dice = Dice::new(seed, index);
    let mut config = Map::new();
    let spaces = linux::Spaces::choose(&mut dice);
    config.insert("process".into(), process::process(&mut dice));
    config.insert("mounts".into(), mounts::mounts(&mut dice, ground, &spaces));
    config.insert("linux".into(), linux::linux(&mut dice, ground, &spaces));
    if spaces.is_new("uts") && dice.chance(60) {
        config.insert(
            "hostname".into(),
            dice.text(&["inside", "a-b.example", "x"]),
        );
    }
    if spaces.is_new("uts") && dice.chance(20) {
        config.insert("domainname".into(), dice.text(&["example.org", "domain"]));
    }
    if dice.chance(20) {
        config.insert("root".into(), json!({"readonly": true}));
    }
    if dice.chance(25) {
        config.insert(
            "annotations".into(),
            json!({"org.example.a": "b", "empty": ""}),
        );
    }
    if dice.chance(25) {
        config.insert("hooks".into(), hooks(&mut dice));
    }
    let life = if config["process"]["terminal"] == json!(true) || dice.chance(60) {
        "run"
    } else {
        "create"
    };
    let mut trial = json!({
        "life": life,
        "caller": caller::caller(&mut dice),
        "config": config,
    });
    more::add(&mut trial, &mut Dice::new(!seed, index), ground);
    trial
}

/// The configuration of a trial with what every one needs: the probe, the mount
/// namespace, `/proc` and the directory of the reports.
pub(super) fn complete(trial: &Value, ground: &Ground) -> Value {
    let mut config = trial["config"].clone();
    if trial["life"] == json!("exec") {
        // The process of the trial is executed into a container that waits.
        config["process"] = json!({"args": ["/bin/probe", "differ-wait"]});
    }
    config["ociVersion"] = json!("1.0.2");
    config["root"]["path"] = json!("rootfs");
    config["process"] = process_of(&config);
    let mut spaces = list(&config["linux"]["namespaces"]);
    spaces.push(json!({"type": "mount"}));
    config["linux"]["namespaces"] = Value::Array(spaces);
    let mut mounts = list(&config["mounts"]);
    let at = |path: &str| mounts.iter().position(|m| m["destination"] == json!(path));
    if at("/proc").is_none() {
        let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
        mounts.insert(0, proc);
    }
    mounts.push(json!({
        "destination": REPORT,
        "type": "bind",
        "source": format!("{}/report", ground.world),
        "options": ["bind", "rw"],
    }));
    config["mounts"] = Value::Array(mounts);
    if let Some(hooks) = config["hooks"].as_object_mut() {
        for (kind, list) in hooks {
            for hook in list.as_array_mut().into_iter().flatten() {
                let inside = kind == "startContainer";
                let (program, log) = if inside {
                    ("/bin/probe".to_owned(), format!("{REPORT}/hooks"))
                } else {
                    let world = &ground.world;
                    (format!("{world}/probe"), format!("{world}/report/hooks"))
                };
                let status = hook.get("fails").map_or("0", |_| "1");
                hook["path"] = json!(program);
                hook["args"] = json!(["probe", "differ-hook", kind, log, status]);
                if let Some(hook) = hook.as_object_mut() {
                    hook.remove("fails");
                }
            }
        }
    }
    config
}

/// The process of a configuration with what every one needs.
fn process_of(config: &Value) -> Value {
    let mut process = config["process"].clone();
    if process.get("args").is_none() {
        let sysctls = config["linux"]["sysctl"].as_object();
        let mut words = vec![json!("/bin/probe"), json!("differ-probe")];
        words.extend(sysctls.into_iter().flatten().map(|(name, _)| json!(name)));
        process["args"] = Value::Array(words);
    }
    if process.get("cwd").is_none() {
        process["cwd"] = json!("/");
    }
    if process.get("user").is_none() {
        // Peers of this age demand one.
        process["user"] = json!({"uid": 0, "gid": 0});
    }
    process
}

/// The process that is executed into a container that runs.
pub(super) fn executed(trial: &Value) -> Value {
    process_of(&trial["config"])
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn hooks(dice: &mut Dice) -> Value {
    let mut hooks = Map::new();
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        if !dice.chance(30) {
            continue;
        }
        let mut hook = Map::new();
        if dice.chance(60) {
            let env = dice.pick(&[
                json!([]),
                json!(["A=hook"]),
                json!(["PATH=/bin", "A=1", "A=2"]),
            ]);
            hook.insert("env".into(), env);
        }
        if dice.chance(20) {
            hook.insert("timeout".into(), json!(5));
        }
        if dice.chance(10) {
            hook.insert("fails".into(), json!(true));
        }
        hooks.insert(kind.into(), json!([hook]));
    }
    Value::Object(hooks)
}

/// Choices that a seed determines.
#[derive(Debug)]
pub(super) struct Dice(Rng);

impl Dice {
    fn new(seed: u64, index: u64) -> Self {
        // The stream of each trial begins far from its neighbours'.
        let mut rng = Rng::new(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        let _first = rng.next();
        Self(rng)
    }

    /// True in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// One of `all`, which is not empty.
    pub(super) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        let n = self.0.below(all.len().max(1) as u64);
        all[usize::try_from(n).unwrap_or(0)].clone()
    }

    /// One of some texts, as a value.
    pub(super) fn text(&mut self, all: &[&str]) -> Value {
        json!(self.pick(all))
    }

    /// Each of `all` with a probability.
    pub(super) fn some<T: Clone>(&mut self, all: &[T], percent: u64) -> Vec<T> {
        all.iter()
            .filter(|_| self.chance(percent))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_trial_again_and_another_another() {
        let ground = Ground {
            world: "/w".into(),
            cgroup: "g".into(),
            joined: "/proc/1/ns".into(),
            joined_user: "/proc/2/ns".into(),
        };
        assert_eq!(trial(1, 5, &ground), trial(1, 5, &ground));
        assert_ne!(trial(1, 5, &ground), trial(1, 6, &ground));
        assert_ne!(trial(2, 5, &ground), trial(1, 5, &ground));
        // Everything is generated somewhere.
        let all: String = (0..300)
            .map(|n| complete(&trial(1, n, &ground), &ground).to_string())
            .collect();
        for part in [
            "umask",
            "ambient",
            "rlimits",
            "\"time\"",
            "uidMappings",
            "rbind",
            "rro",
            "devpts",
            "mqueue",
            "sysctl",
            "seccomp",
            "startContainer",
            "cpu",
            "rootfsPropagation",
            "terminal",
            "scheduler",
            "ioPriority",
            "personality",
            "domainname",
            "blockIO",
            "/proc/1/ns/time",
            "idmap",
        ] {
            assert!(all.contains(part), "{part} is never generated");
        }
    }
}
