//! Facts without what differs from run to run: ids, directories, numbers of
//! namespaces.

use std::fs;

use serde_json::Value;

use super::facts::Facts;
use super::probe::REPORT;
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
            && !places.tell(point)
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
    /// Each with whether its propagation is the configuration's.
    mounts: Vec<(String, bool)>,
    others: Vec<String>,
}

impl Places {
    fn of(trial: &Value) -> Self {
        let config = &trial["config"];
        let linux = &config["linux"];
        let whole = linux.get("rootfsPropagation").is_some();
        let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut mounts: Vec<(String, bool)> = each(&config["mounts"])
            .iter()
            .map(|mount| {
                let own = each(&mount["options"]).iter().any(spreads);
                (absolute(&mount["destination"]), own)
            })
            .collect();
        // Which of two at one place is told first is the runtime's.
        let places: Vec<String> = mounts.iter().map(|(at, _)| at.clone()).collect();
        mounts.retain(|(at, _)| places.iter().filter(|other| *other == at).count() == 1);
        mounts.push(("/".to_owned(), whole));
        mounts.push(("/proc".to_owned(), false));
        mounts.push((REPORT.to_owned(), false));
        let paths = each(&linux["maskedPaths"]);
        let paths = paths.into_iter().chain(each(&linux["readonlyPaths"]));
        let mut others = places;
        others.extend(paths.map(|path| absolute(&path)));
        let devices = each(&linux["devices"]);
        others.extend(devices.iter().map(|device| absolute(&device["path"])));
        others.push("/dev/console".to_owned());
        Self { mounts, others }
    }

    /// Whether a fact of a mount, named without its first word, is compared.
    fn tell(&self, name: &str) -> bool {
        let (point, attribute) = name.rsplit_once('.').unwrap_or((name, ""));
        // What lies under another mount shows nowhere.
        self.mounts
            .iter()
            .any(|(p, spreads)| p == point && (*spreads || attribute != "propagation"))
    }

    fn call_for(&self, point: &str) -> bool {
        let mut mounts = self.mounts.iter().map(|(point, _)| point);
        mounts.any(|p| p == point) || self.others.iter().any(|p| p == point)
    }
}

/// Whether an option of a mount sets its propagation.
fn spreads(option: &Value) -> bool {
    let option = option.as_str().unwrap_or_default();
    ["private", "shared", "slave", "unbindable"]
        .iter()
        .any(|word| option.trim_start_matches('r') == *word || option == *word)
}

fn absolute(path: &Value) -> String {
    let path = path.as_str().unwrap_or_default();
    format!("/{}", path.trim_start_matches('/'))
}
