//! What [`flags!`](crate::flags) needs in the code it makes.

use std::ffi::OsStr;

/// Where the values of a flag go.
pub trait Field<T> {
    /// Takes one more value.
    fn put(&mut self, value: T);
}

impl Field<bool> for bool {
    fn put(&mut self, value: bool) {
        *self = value;
    }
}

impl Field<String> for String {
    fn put(&mut self, value: String) {
        *self = value;
    }
}

impl<T> Field<T> for Option<T> {
    fn put(&mut self, value: T) {
        *self = Some(value);
    }
}

impl<T> Field<T> for Vec<T> {
    fn put(&mut self, value: T) {
        self.push(value);
    }
}

/// What a reader takes: text, or what is perhaps none.
pub trait Text {
    /// The value as such.
    fn of(value: &OsStr) -> Result<&Self, String>;
}

impl Text for OsStr {
    fn of(value: &OsStr) -> Result<&Self, String> {
        Ok(value)
    }
}

impl Text for str {
    fn of(value: &OsStr) -> Result<&Self, String> {
        value
            .to_str()
            .ok_or_else(|| format!("{} is not valid UTF-8", value.display()))
    }
}

/// The name of a flag from that of its field: dashes for underscores, without the
/// mark of a field that is called as a word of the language.
pub mod long_name {
    const fn skipped(name: &[u8]) -> usize {
        if matches!(name, [b'r', b'#', ..]) {
            2
        } else {
            0
        }
    }

    /// How long it is.
    #[must_use]
    pub const fn length(name: &str) -> usize {
        name.len() - skipped(name.as_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes<const N: usize>(name: &str) -> [u8; N] {
        let name = name.as_bytes();
        let skip = skipped(name);
        let mut bytes = [0; N];
        let mut index = 0;
        while index < N {
            bytes[index] = match name[index + skip] {
                b'_' => b'-',
                other => other,
            };
            index += 1;
        }
        bytes
    }
}
