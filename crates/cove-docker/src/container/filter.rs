//! Which containers a list has.

use std::collections::BTreeMap;
use std::path::Path;

use cove_engine::{Engine, Instance, InstanceList};
use cove_model::instance::{InstanceId, MountSource, Record};
use cove_model::status::State;
use cove_model::{Digest, go};
use regex::Regex;

use super::network;
use crate::error::{Error, Result};
use crate::filter::{Between, Filters};
use crate::port;

const FILTERS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "label!", "name",
    "network", "publish", "since", "status", "volume",
];

/// What a health check says; there are none yet.
const HEALTH: &[&str] = &["starting", "healthy", "unhealthy", NO_HEALTH];
const NO_HEALTH: &str = "none";

const STATES: &[&str] = &[
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

/// What a user asks a list of containers for.
#[derive(Debug, Default)]
pub struct Filter {
    /// `name=value` texts.
    pub filters: Vec<String>,
    /// Also those that do not run.
    pub all: bool,
    /// At most so many, the newest, whether they run or not.
    pub last: Option<usize>,
}

impl Filter {
    /// The containers, the newest first, and why some cannot be told.
    ///
    /// # Errors
    /// When a filter makes no sense or names what is not there, or the engine
    /// cannot list.
    pub fn select(&self, engine: &Engine) -> Result<InstanceList> {
        let filters = Filters::new(&self.filters, FILTERS).map_err(Error::Invalid)?;
        let words = Words::new(&filters)?;
        let between = Between::new(&filters, |other| {
            engine
                .instances()
                .get(other)
                .map(|other| other.record.created)
        })
        .map_err(Error::Engine)?;
        let InstanceList {
            instances,
            unreadable,
        } = engine.instances().list().map_err(Error::Engine)?;
        let ids: Vec<_> = instances
            .iter()
            .map(|instance| &instance.record.id)
            .collect();
        let picked = Picked::new(&filters, &ids);
        let family = Family::new(engine, filters.get("ancestor"))?;
        let all = self.all
            || self.last.is_some()
            || ["before", "since", "status"]
                .iter()
                .any(|name| !filters.get(name).is_empty());
        let wanted = |instance: &Instance| {
            let (record, status) = (&instance.record, &instance.status);
            (all || is_active(status.state))
                && words.hold(&filters, instance)
                && picked.name(&record.name)
                && picked.id(&record.id)
                && family.includes(&record.image.id)
                && between.holds(&record.created)
        };
        let list = instances.into_iter().filter(wanted);
        Ok(InstanceList {
            instances: list.take(self.last.unwrap_or(usize::MAX)).collect(),
            unreadable,
        })
    }
}

/// Whether a container is listed when nobody asks for all of them, and counts as
/// used by `system df`.
#[must_use]
pub fn is_active(state: State) -> bool {
    state.is_running() || state == State::Restarting
}

/// Filters that a container alone meets or not.
struct Words {
    /// Nothing is a task of a swarm, and nothing is published.
    never: bool,
    ports: Vec<String>,
    codes: Vec<i32>,
}

impl Words {
    fn new(filters: &Filters) -> Result<Self> {
        let known = |name: &str, words: &[&str]| {
            let mut given = filters.get(name).iter();
            given.find(|word| !words.contains(&word.as_str())).cloned()
        };
        if let Some(bad) = known("status", STATES) {
            return Err(Error::Invalid(format!("Invalid filter 'status={bad}'")));
        }
        if let Some(bad) = known("health", HEALTH) {
            return Err(Error::Invalid(format!(
                "Unrecognised filter value for health: {bad}"
            )));
        }
        let tasks = filters.truth("is-task").map_err(Error::Invalid)? == Some(true);
        let ports = ports(filters, "expose")?;
        let published = !self::ports(filters, "publish")?.is_empty();
        let code = |code: &String| {
            code.parse().map_err(|_| {
                Error::Invalid(format!(
                    "strconv.Atoi: parsing {}: invalid syntax",
                    go::quote(code)
                ))
            })
        };
        Ok(Self {
            never: tasks || published,
            ports,
            codes: filters
                .get("exited")
                .iter()
                .map(code)
                .collect::<Result<_>>()?,
        })
    }

    fn hold(&self, filters: &Filters, instance: &Instance) -> bool {
        let (record, status) = (&instance.record, &instance.status);
        let run = &record.spec.run;
        !self.never
            && (self.ports.is_empty()
                || run
                    .exposed_ports
                    .keys()
                    .any(|port| self.ports.contains(port)))
            && (self.codes.is_empty()
                || (status.state == State::Exited
                    && self.codes.contains(&status.exit_code.unwrap_or(0))))
            && filters.any("health", |health| health == NO_HEALTH)
            && filters.any("status", |state| state == status.state.as_str())
            && filters.any("network", |name| name == network::name(record))
            && filters.any("volume", |path| has_mount(record, path))
            && filters.labels(&run.labels)
    }
}

/// The ports that a filter names, as an image exposes them.
fn ports(filters: &Filters, name: &str) -> Result<Vec<String>> {
    let mut ports = Vec::new();
    for text in filters.get(name) {
        ports.extend(port::expose(text).map_err(Error::Invalid)?);
    }
    Ok(ports)
}

fn has_mount(record: &Record, wanted: &str) -> bool {
    record.spec.mounts.iter().any(|mount| {
        mount.target == wanted
            || matches!(&mount.source, MountSource::Bind { path, .. } if path == Path::new(wanted))
    })
}

/// The images that `ancestor=` names, with what was made from them here. An image that
/// only has layers of another is not made from it.
struct Family {
    heads: Option<Vec<Digest>>,
    parents: BTreeMap<Digest, Digest>,
}

impl Family {
    fn new(engine: &Engine, names: &[String]) -> Result<Self> {
        if names.is_empty() {
            return Ok(Self {
                heads: None,
                parents: BTreeMap::new(),
            });
        }
        let named = |name: &String| engine.images().get(name).ok().map(|image| image.id);
        let images = engine.images().list().map_err(Error::Engine)?.into_iter();
        Ok(Self {
            heads: Some(names.iter().filter_map(named).collect()),
            parents: images
                .filter_map(|image| Some((image.id, image.parent?)))
                .collect(),
        })
    }

    fn includes(&self, image: &Digest) -> bool {
        let Some(heads) = &self.heads else {
            return true;
        };
        // A record that was tampered with may name a child as its parent.
        let mut left = self.parents.len() + 1;
        let mut at = Some(image);
        while let Some(id) = at.filter(|_| left > 0) {
            if heads.contains(id) {
                return true;
            }
            at = self.parents.get(id);
            left -= 1;
        }
        false
    }
}

/// What the filters `name` and `id` pick of containers, where they are given.
#[derive(Debug)]
struct Picked {
    names: Option<Vec<Regex>>,
    ids: Option<Vec<InstanceId>>,
}

impl Picked {
    /// As with Docker, a name is a regular expression, and a text that is none
    /// picks nothing; an id is the start of one id of `all`.
    fn new(filters: &Filters, all: &[&InstanceId]) -> Self {
        let given = |name| Some(filters.get(name)).filter(|values| !values.is_empty());
        let id = |start: &String| {
            let mut ids = all.iter().filter(|id| id.as_str().starts_with(start));
            match (ids.next(), ids.next()) {
                (Some(&id), None) if !start.is_empty() => Some(id.clone()),
                _ => None,
            }
        };
        let names = given("name").map(|values| values.iter());
        Self {
            names: names.map(|names| names.flat_map(|name| Regex::new(name)).collect()),
            ids: given("id").map(|values| values.iter().filter_map(id).collect()),
        }
    }

    /// A name is matched with Docker's slash before it and without.
    fn name(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| {
            let slashed = format!("/{name}");
            names
                .iter()
                .any(|regex| regex.is_match(&slashed) || regex.is_match(name))
        })
    }

    /// Whether an id is picked.
    fn id(&self, id: &InstanceId) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_picked_as_docker_picks_them() {
        let ids = ["aa0", "ab0"].map(|start| format!("{start:0<64}").parse().unwrap());
        let pick = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            Picked::new(
                &Filters::new(&texts, &["name", "id"]).unwrap(),
                &ids.each_ref(),
            )
        };
        for (pattern, want) in [
            ("we", true),
            ("^web$", true),
            ("^/web$", true),
            ("^/", true),
            ("^eb", false),
            ("b$", true),
            ("x", false),
            ("^w.b$", true),
            ("x|(?i)WE+", true),
            ("WEB", false),
            ("", true),
            // No regular expression: it matches nothing, and says nothing.
            ("(", false),
        ] {
            let filter = format!("name={pattern}");
            assert_eq!(pick(&[&filter]).name("web"), want, "{pattern}");
        }
        assert!(pick(&[]).name("web"));
        assert!(pick(&["name=(", "name=b"]).name("web"));
        for (filters, want) in [
            (&[] as &[&str], true),
            (&["id=aa"], true),
            (&["id=x", "id=aa0"], true),
            // The start of one other, of none, of two, a part, no text at all.
            (&["id=ab"], false),
            (&["id=b"], false),
            (&["id=a"], false),
            (&["id=a0"], false),
            (&["id="], false),
        ] {
            assert_eq!(pick(filters).id(&ids[0]), want, "{filters:?}");
        }
    }
}
