//! The rows of `ps`.

use cove_engine::{Engine, Instance};
use cove_model::go;
use cove_model::instance::{InstanceId, MountSource, Record};

use super::sizes::Sizes;
use super::{network, status};
use crate::human;
use crate::rows::row;
use crate::time::{self, Clock};

row! {
    /// What a row of `ps` has.
    pub struct Row = "*formatter.ContainerContext" {
        command: String = "Command" "COMMAND",
        created_at: String = "CreatedAt" "CREATED AT",
        id: String = "ID" "CONTAINER ID",
        image: String = "Image" "IMAGE",
        labels: String = "Labels" "LABELS",
        local_volumes: String = "LocalVolumes" "LOCAL VOLUMES",
        mounts: String = "Mounts" "MOUNTS",
        names: String = "Names" "NAMES",
        networks: String = "Networks" "NETWORKS",
        platform: Option<String> = "Platform" "PLATFORM",
        ports: String = "Ports" "PORTS",
        running_for: String = "RunningFor" "CREATED",
        size: String = "Size" "SIZE",
        state: String = "State" "STATE",
        status: String = "Status" "STATUS",
    }
}

/// How rows are shown.
#[derive(Debug)]
pub struct Shown<'a> {
    /// When and where.
    pub clock: &'a Clock,
    /// Whether long texts are cut.
    pub cut: bool,
    /// Whether sizes are looked up.
    pub sized: bool,
}

impl Row {
    /// The columns of the table, when nobody names others.
    pub const DEFAULT: &[&str] = &[
        "ID",
        "Image",
        "Command",
        "RunningFor",
        "Status",
        "Ports",
        "Names",
    ];

    /// The row of a container.
    #[must_use]
    pub fn of(engine: &Engine, instance: &Instance, shown: &Shown<'_>) -> Self {
        let (record, how) = (&instance.record, &instance.status);
        let created = time::read(&record.created);
        let created = |show: fn(&Clock, jiff::Timestamp) -> String| {
            created.map_or_else(String::new, |time| show(shown.clock, time))
        };
        Self {
            command: command(record, shown.cut),
            created_at: created(Clock::go_string),
            id: id(&record.id, shown.cut).to_owned(),
            image: record.image.name.clone(),
            labels: labels(record),
            local_volumes: "0".to_owned(),
            mounts: mounts(record, shown.cut),
            names: record.name.clone(),
            networks: network::name(record),
            // Which platform an instance's image is for is no property of a container.
            platform: None,
            ports: String::new(),
            running_for: created(Clock::ago),
            size: if shown.sized {
                size(&Sizes::of(engine, record))
            } else {
                String::new()
            },
            state: how.state.as_str().to_owned(),
            status: status::text(how, shown.clock),
        }
    }
}

/// An id as lists show it.
#[must_use]
pub fn id(id: &InstanceId, cut: bool) -> &str {
    if cut { id.short() } else { id.as_str() }
}

fn command(record: &Record, cut: bool) -> String {
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
    go::quote(&if cut {
        human::ellipsis(&command, 20)
    } else {
        command
    })
}

fn labels(record: &Record) -> String {
    let labels = record.spec.run.labels.iter();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(",")
}

fn mounts(record: &Record, cut: bool) -> String {
    let source = |source: &MountSource| match source {
        MountSource::Bind { path, .. } => Some(path.display().to_string()),
        MountSource::Tmpfs { .. } => None,
    };
    let mounts = record.spec.mounts.iter();
    let sources = mounts.filter_map(|mount| source(&mount.source));
    let shown = |path: String| {
        if cut {
            human::ellipsis(&path, 15)
        } else {
            path
        }
    };
    sources.map(shown).collect::<Vec<_>>().join(",")
}

/// What the container wrote, and with its image.
fn size(sizes: &Sizes) -> String {
    format!(
        "{} (virtual {})",
        human::short_size(sizes.own),
        human::short_size(sizes.whole)
    )
}
