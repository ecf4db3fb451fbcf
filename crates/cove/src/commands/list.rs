//! The rows of `ps`.

use std::collections::BTreeMap;
use std::path::Path;

use cove_engine::{Engine, Instance};
use cove_model::Digest;
use cove_model::instance::{MountSource, NetworkMode, Record};
use cove_model::status::{State, Status};
use jiff::Timestamp;

use super::tables::container::PsFlags;
use crate::format::rows::{Columns, Row};
use crate::format::{go, human, time};
use crate::outcome::{Failure, Outcome};
use crate::output;
use crate::parse;
use crate::parse::filter::{Between, Filters, Picked};
use crate::settings::Session;

/// What a row of `ps` has.
const COLUMNS: Columns = Columns {
    type_name: "*formatter.ContainerContext",
    fields: &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
        ("Ports", "PORTS"),
        ("RunningFor", "CREATED"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
    ],
};

const DEFAULT: &[&str] = &[
    "ID",
    "Image",
    "Command",
    "RunningFor",
    "Status",
    "Ports",
    "Names",
];

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

/// Lists containers.
pub(crate) fn ps(session: &Session, flags: &PsFlags, _: &[String]) -> Outcome {
    let engine = session.engine()?;
    let selected = select(engine, flags)?;
    if selected.is_empty()
        && let Some(words) = session.roots_are_elsewhere("containers")
    {
        output::note(&words);
    }
    let trunc = !flags.no_trunc;
    if flags.quiet {
        if !flags.format.is_empty() {
            output::note(
                "WARNING: Ignoring custom format, because both --format and --quiet are set.",
            );
        }
        let ids: String = selected
            .iter()
            .map(|instance| format!("{}\n", id(&instance.record, trunc)))
            .collect();
        output::text(&ids)?;
        return Ok(0);
    }
    let format = flags.format.as_str();
    let sized = flags.size || format.contains(".Size") || format == "json";
    let now = Timestamp::now();
    let mut rows = Vec::with_capacity(selected.len());
    for instance in &selected {
        rows.push(row(engine, instance, now, trunc, sized)?);
    }
    let mut default = DEFAULT.to_vec();
    if flags.size {
        default.push("Size");
    }
    output::text(&COLUMNS.render(format, &default, &rows)?)?;
    Ok(0)
}

/// The containers that the flags ask for, the newest first.
fn select(engine: &Engine, flags: &PsFlags) -> Result<Vec<Instance>, Failure> {
    let filters = Filters::new(&flags.filter, FILTERS).map_err(Failure::error)?;
    if let Some(bad) = filters
        .get("status")
        .iter()
        .find(|state| !STATES.contains(&state.as_str()))
    {
        return Err(Failure::error(format!("Invalid filter 'status={bad}'")));
    }
    let health = filters.get("health").iter();
    if let Some(bad) = health
        .into_iter()
        .find(|value| !HEALTH.contains(&value.as_str()))
    {
        return Err(Failure::error(format!(
            "Unrecognised filter value for health: {bad}"
        )));
    }
    // Of a swarm's tasks there are none.
    let tasks = filters.truth("is-task").map_err(Failure::error)? == Some(true);
    let ports = ports(&filters, "expose")?;
    let published = !self::ports(&filters, "publish")?.is_empty();
    let mut codes = Vec::new();
    for code in filters.get("exited") {
        let parsed = code.parse::<i32>();
        codes.push(parsed.map_err(|_| {
            Failure::error(format!(
                "strconv.Atoi: parsing {}: invalid syntax",
                go::quote(code)
            ))
        })?);
    }
    let between = Between::new(&filters, |other| {
        engine
            .instances()
            .get(other)
            .map(|other| other.record.created)
    })?;
    let instances = engine.instances().list()?;
    let ids: Vec<_> = instances
        .iter()
        .map(|instance| &instance.record.id)
        .collect();
    let picked = Picked::new(&filters, &ids);
    let family = Family::new(engine, filters.get("ancestor"))?;
    let last = match flags.last {
        _ if flags.latest => Some(1),
        Some(count) => usize::try_from(count).ok(),
        None => None,
    };
    let all = flags.all
        || last.is_some()
        || ["before", "since", "status"]
            .iter()
            .any(|name| !filters.get(name).is_empty());
    let wanted = |instance: &Instance| {
        let (record, status) = (&instance.record, &instance.status);
        (all || status.state.is_running() || status.state == State::Restarting)
            && !tasks
            && !published
            && (ports.is_empty()
                || (record.spec.run.exposed_ports.keys()).any(|port| ports.contains(port)))
            && filters.any("health", |health| health == NO_HEALTH)
            && filters.any("status", |state| state == status.state.as_str())
            && picked.name(&record.name)
            && picked.id(&record.id)
            && filters.any("network", |network| network == network_name(record))
            && filters.any("volume", |path| mounts_path(record, path))
            && filters.labels(&record.spec.run.labels)
            && (codes.is_empty()
                || (status.state == State::Exited
                    && codes.contains(&status.exit_code.unwrap_or(0))))
            && family.includes(&record.image.id)
            && between.holds(&record.created)
    };
    let list = instances.into_iter().filter(wanted);
    Ok(list.take(last.unwrap_or(usize::MAX)).collect())
}

/// The ports that a filter names, as an image exposes them.
fn ports(filters: &Filters, name: &str) -> Result<Vec<String>, Failure> {
    let mut ports = Vec::new();
    for text in filters.get(name) {
        ports.extend(parse::port::expose(text).map_err(Failure::error)?);
    }
    Ok(ports)
}

/// The images that `ancestor=` names, with what was made from them here. An image that
/// only has layers of another is not made from it.
struct Family {
    heads: Option<Vec<Digest>>,
    parents: BTreeMap<Digest, Digest>,
}

impl Family {
    fn new(engine: &Engine, names: &[String]) -> Result<Self, Failure> {
        if names.is_empty() {
            return Ok(Self {
                heads: None,
                parents: BTreeMap::new(),
            });
        }
        let named = |name: &String| engine.images().get(name).ok().map(|image| image.id);
        let images = engine.images().list()?.into_iter();
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

fn row(
    engine: &Engine,
    instance: &Instance,
    now: Timestamp,
    trunc: bool,
    sized: bool,
) -> Result<Row, Failure> {
    let (record, status) = (&instance.record, &instance.status);
    let created = time::read(&record.created);
    let size = if sized {
        size(engine, record)?
    } else {
        String::new()
    };
    let texts = [
        command(record, trunc),
        created.map_or_else(String::new, |time| time::go_string(whole_seconds(time))),
        id(record, trunc),
        record.image.name.clone(),
        labels(&record.spec.run.labels),
        "0".to_owned(),
        mounts(record, trunc),
        record.name.clone(),
        network_name(record),
        String::new(),
        String::new(),
        created.map_or_else(String::new, |time| time::ago(time, now)),
        size,
        status.state.as_str().to_owned(),
        status_text(status, now),
    ];
    let mut values: Vec<serde_json::Value> = texts.into_iter().map(Into::into).collect();
    // Which platform an instance's image is for is no property of a container.
    values[9] = serde_json::Value::Null;
    Ok(Row {
        values,
        labels: record.spec.run.labels.clone(),
    })
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`.
pub(crate) fn status_text(status: &Status, now: Timestamp) -> String {
    let since = |time: &Option<String>| time.as_deref().and_then(time::read);
    let up = || {
        let span = since(&status.started_at).map(|time| time::span(time, now));
        format!("Up {}", span.unwrap_or_default())
    };
    let down = |word: &str| {
        let ago = since(&status.finished_at).map(|time| time::ago(time, now));
        format!(
            "{word} ({}) {}",
            status.exit_code.unwrap_or(0),
            ago.unwrap_or_default()
        )
    };
    match status.state {
        State::Created => "Created".to_owned(),
        State::Running => up(),
        State::Paused => format!("{} (Paused)", up()),
        State::Restarting => down("Restarting"),
        State::Exited => down("Exited"),
        State::Dead => "Dead".to_owned(),
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn id(record: &Record, trunc: bool) -> String {
    if trunc {
        record.id.short()
    } else {
        record.id.as_str()
    }
    .to_owned()
}

fn command(record: &Record, trunc: bool) -> String {
    // As Docker shows it: an argument with blanks in quotes, the program as it is.
    let shown = |(n, word): (usize, &String)| {
        if n > 0 && word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    };
    let words: Vec<String> = record.spec.argv.iter().enumerate().map(shown).collect();
    let command = words.join(" ");
    go::quote(&if trunc {
        ellipsis(&command, 20)
    } else {
        command
    })
}

/// At most `most` characters, the last one three dots when there were more.
pub(crate) fn ellipsis(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn mounts(record: &Record, trunc: bool) -> String {
    let sources = record
        .spec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => Some(path.display().to_string()),
            MountSource::Tmpfs { .. } => None,
        });
    sources
        .map(|path| if trunc { ellipsis(&path, 15) } else { path })
        .collect::<Vec<_>>()
        .join(",")
}

fn mounts_path(record: &Record, wanted: &str) -> bool {
    record.spec.mounts.iter().any(|mount| {
        mount.target == wanted
            || matches!(&mount.source, MountSource::Bind { path, .. } if path == Path::new(wanted))
    })
}

/// The network as `--network` names it.
pub(crate) fn network_name(record: &Record) -> String {
    match &record.spec.network {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Instance(id) => format!("container:{id}"),
    }
}

/// What the container wrote, and with its image.
fn size(engine: &Engine, record: &Record) -> Result<String, Failure> {
    let own = engine.instances().written(record);
    let image = engine
        .images()
        .get(&record.image.id.to_string())
        .map_or(0, |image| image.size);
    Ok(format!(
        "{} (virtual {})",
        human::short_size(own),
        human::short_size(own + image)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_as_dockers() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let status = |state, exit_code| Status {
            state,
            exit_code,
            started_at: Some("2026-11-22T11:57:00Z".to_owned()),
            finished_at: Some("2026-11-22T10:00:00Z".to_owned()),
            ..Status::created("x", 1, "2026-11-22T09:00:00Z".to_owned())
        };
        for (state, code, text) in [
            (State::Created, None, "Created"),
            (State::Running, None, "Up 3 minutes"),
            (State::Paused, None, "Up 3 minutes (Paused)"),
            (State::Exited, Some(137), "Exited (137) 2 hours ago"),
            (State::Restarting, Some(1), "Restarting (1) 2 hours ago"),
            (State::Dead, None, "Dead"),
        ] {
            assert_eq!(status_text(&status(state, code), now), text);
        }
    }

    #[test]
    fn long_texts_end_in_dots() {
        assert_eq!(
            ellipsis("sleep 1000 and something", 20),
            "sleep 1000 and some…"
        );
        assert_eq!(ellipsis("short", 20), "short");
    }
}
