//! What `inspect` shows.

use gotmpl::Value;
use serde::Serialize;

use crate::container::Container;
use crate::document::{Show, Values};
use crate::image::Image;

/// The document of whatever a name stands for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Inspected {
    /// A container.
    Container(Box<Container>),
    /// An image.
    Image(Box<Image>),
}

impl Show for Inspected {
    fn value(&self, values: &mut Values) -> Value {
        match self {
            Self::Container(container) => container.value(values),
            Self::Image(image) => image.value(values),
        }
    }
}
