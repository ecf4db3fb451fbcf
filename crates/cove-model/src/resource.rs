//! What has an id, a name and a record: instances, and what stands beside them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind of thing of which an installation keeps records. A new kind says
/// what it is called and where it lies; names, changes and recovery are the
/// same for all.
pub trait Resource: Serialize + DeserializeOwned {
    /// Its id, which no two ever have: a file name that is long and random.
    type Id: Clone + Ord + fmt::Debug + fmt::Display + FromStr + AsRef<str>;

    /// What users call one of these.
    const KIND: &'static str;
    /// Below the root, the directory in which each has one of its own.
    const DIRECTORY: &'static str;
    /// Below the root, the directory of their names.
    const NAMES: &'static str;
    /// The version of the records that this program writes. It grows only when
    /// a program that knows the earlier one must not read them; a field that
    /// such a program may leave alone needs no other version.
    const VERSION: u32;

    /// Which it is.
    fn id(&self) -> &Self::Id;
    /// What users call it.
    fn name(&self) -> &str;
    /// Gives it another name.
    fn set_name(&mut self, name: String);
    /// Whether it need not outlive a boot, so that no write of it is synced.
    fn is_transient(&self) -> bool;
}
