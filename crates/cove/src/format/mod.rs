//! How results are shown: Docker's tables, templates, sizes and times.

mod functions;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod rows;
pub(crate) mod tabs;
pub(crate) mod template;
pub(crate) mod time;
mod values;
mod zone;

pub(crate) use cove_model::go;
