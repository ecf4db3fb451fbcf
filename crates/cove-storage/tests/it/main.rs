//! The store as its callers see it.

mod images;
mod round_trip;
mod support;
