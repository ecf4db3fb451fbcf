//! `ps`.

use cove_docker::container::{self, Filter, Row, Shown};
use cove_docker::rows::{self, Line};
use cove_engine::{InstanceList, sentence};

use super::tables::container::PsFlags;
use crate::outcome::{Failure, Outcome};
use crate::settings::Session;
use crate::{output, zone};

/// Lists containers.
pub(crate) fn ps(session: &Session, flags: &PsFlags, _: &[String]) -> Outcome {
    let engine = session.engine()?;
    let last = match flags.last {
        _ if flags.latest => Some(1),
        Some(count) => usize::try_from(count).ok(),
        None => None,
    };
    let filter = Filter {
        filters: flags.filter.clone(),
        all: flags.all,
        last,
    };
    let InstanceList {
        instances: selected,
        unreadable,
    } = filter.select(engine)?;
    for error in &unreadable {
        output::note(&format!("WARNING: {}", sentence(error)));
    }
    if selected.is_empty()
        && let Some(words) = session.roots_are_elsewhere("containers")
    {
        output::note(&words);
    }
    let cut = !flags.no_trunc;
    let format = flags.format.as_str();
    if flags.quiet {
        if !format.is_empty() {
            output::note(
                "WARNING: Ignoring custom format, because both --format and --quiet are set.",
            );
        }
        let ids = selected.iter().map(|instance| &instance.record.id);
        let lines: String = ids
            .map(|id| format!("{}\n", container::id(id, cut)))
            .collect();
        output::text(&lines)?;
        return Ok(0);
    }
    let shown = Shown {
        clock: &zone::clock(),
        cut,
        sized: flags.size || format.contains(".Size") || format == "json",
    };
    let line = |instance| Line {
        row: Row::of(engine, instance, &shown),
        labels: &instance.record.spec.run.labels,
    };
    let lines: Vec<Line<'_, Row>> = selected.iter().map(line).collect();
    let mut default = Row::DEFAULT.to_vec();
    if flags.size {
        default.push("Size");
    }
    output::text(&rows::render(format, &default, &lines).map_err(Failure::plain)?)?;
    Ok(0)
}
