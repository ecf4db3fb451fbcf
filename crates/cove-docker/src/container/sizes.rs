//! What a container takes of the disk.

use cove_engine::Engine;
use cove_model::instance::Record;

/// What the files of a container take.
pub(crate) struct Sizes {
    /// Those that it wrote.
    pub(crate) own: u64,
    /// With its image's.
    pub(crate) whole: u64,
}

impl Sizes {
    pub(crate) fn of(engine: &Engine, record: &Record) -> Self {
        let own = engine.instances().written(record);
        let image = engine.images().get(&record.image.id.to_string());
        Self {
            own,
            whole: own + image.map_or(0, |image| image.size),
        }
    }
}
