//! The texts that flags take, read as Docker reads them. Everything here takes
//! text and returns values; files are read elsewhere.

pub(crate) mod cpus;
pub(crate) mod detach;
pub(crate) mod device;
pub(crate) mod env;
pub(crate) mod host;
pub(crate) mod mount;
pub(crate) mod platform;
pub(crate) mod restart;
pub(crate) mod ulimit;
pub(crate) mod volume;
