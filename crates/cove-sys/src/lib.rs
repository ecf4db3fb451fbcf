//! Safe wrappers over the Linux calls that the standard library and rustix do not offer.

pub mod fs;
