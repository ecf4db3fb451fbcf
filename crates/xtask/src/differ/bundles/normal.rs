//! Facts without what differs from run to run: ids, directories, numbers of
//! namespaces.

use std::fs;

use serde_json::Value;

use super::facts::Facts;
use super::world::World;

/// The same facts in words that any run of the trial would use. Mounts that
/// the configuration does not name are the runtime's own means: of them only
/// the places are told that nothing in the configuration calls for.
pub(super) fn normal(world: &World, id: &str, trial: &Value, facts: Facts) -> Facts {
    let text = |text: &str| {
        text.replace(id, "@ID")
            .replace(&world.ground.world, "@W")
            .replace(&world.ground.cgroup, "@G")
    };
    let mut all = Facts::new();
    let places = Places::of(trial);
    for (name, value) in facts.0 {
        if name == "mounts" {
            let others = value.split(' ').filter(|point| !places.call_for(point));
            all.set("mounts.others", text(&others.collect::<Vec<_>>().join(" ")));
            continue;
        }
        if let Some(point) = name.strip_prefix("mount.")
            && !places.mounts_at(point)
        {
            continue;
        }
        let value = if name.contains("ns.") && value.contains(":[") {
            whose(world, &value)
        } else {
            text(&value)
        };
        all.set(&text(&name), value);
    }
    all
}

/// Whose namespace it is.
fn whose(world: &World, link: &str) -> String {
    let of = |directory: &str| {
        fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|to| to.to_string_lossy() == link)
    };
    let word = if of("/proc/self/ns") {
        "the host's"
    } else if of(&world.ground.joined) || of(&world.ground.joined_user) {
        "joined"
    } else {
        "new"
    };
    word.to_owned()
}

/// Where a configuration has mounts made.
struct Places {
    mounts: Vec<String>,
    others: Vec<String>,
}

impl Places {
    fn of(trial: &Value) -> Self {
        let config = &trial["config"];
        let text = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            format!("/{}", text.trim_start_matches('/'))
        };
        let all = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(text).collect()
        };
        let of_each = |value: &Value, key: &str| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .map(|v| text(&v[key]))
                .collect()
        };
        let mut mounts = of_each(&config["mounts"], "destination");
        mounts.extend(["/", "/proc", "/report"].map(str::to_owned));
        let linux = &config["linux"];
        let mut others = all(&linux["maskedPaths"]);
        others.extend(all(&linux["readonlyPaths"]));
        others.extend(of_each(&linux["devices"], "path"));
        others.push("/dev/console".to_owned());
        Self { mounts, others }
    }

    /// Whether a fact's name, less its first word, is of a mount that is listed.
    fn mounts_at(&self, name: &str) -> bool {
        let point = name.rsplit_once('.').map_or(name, |(point, _)| point);
        let point = point.split('#').next().unwrap_or(point);
        self.mounts.iter().any(|p| p == point)
    }

    fn call_for(&self, point: &str) -> bool {
        self.mounts.iter().chain(&self.others).any(|p| p == point)
    }
}
