//! How a document of Docker's is declared, and what its fields can be.
//!
//! Docker's documents are Go's structures, and both JSON and templates are made
//! of them by reflection. Here [`document!`] declares a structure once, with the
//! names and the habits that Go's field tags have:
//!
//! - `"CpuShares"` is the field's name in JSON and in templates;
//! - `/ "CPUShares"` is its other name, Go's, which templates find too;
//! - `omitempty` leaves it out of JSON while it is empty;
//! - `hidden` always does: clients show it no more, old templates ask for it.
//!
//! A type says how it is shown ([`Show`]). What Go can leave nil is an
//! [`Option`]: `null` in JSON; in a template an empty list or map where the type
//! is one, and nil where it is anything else, a pointer then.

use std::collections::BTreeMap;

use gotmpl::Value;

pub use crate::template::values::Show;
pub(crate) use crate::template::values::Values;

/// Declares documents: see the module.
macro_rules! document {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($field:ident: $type:ty = $json:literal $(/ $go:literal)? $($how:ident)?,)*
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        $vis struct $name {
            $(
                #[doc = concat!("`", $json, "`.")]
                $vis $field: $type,
            )*
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut fields = serializer.serialize_map(None)?;
                $(
                    if $crate::document::shown!(self.$field $(, $how)?) {
                        fields.serialize_entry($json, &self.$field)?;
                    }
                )*
                fields.end()
            }
        }

        impl $crate::document::Show for $name {
            fn value(&self, values: &mut $crate::document::Values) -> gotmpl::Value {
                let mut fields = values.fields();
                $(
                    let shown = $crate::document::shown!(self.$field $(, $how)?);
                    fields.put(&[$json $(, $go)?], shown, &self.$field);
                )*
                fields.end()
            }
        }
    )+};
}

/// Whether JSON shows a field.
macro_rules! shown {
    ($field:expr) => {
        true
    };
    ($field:expr, omitempty) => {
        !$crate::document::Show::is_empty(&$field)
    };
    ($field:expr, hidden) => {
        false
    };
}

pub(crate) use {document, shown};

/// What Docker has and Cove never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

impl serde::Serialize for Never {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl Show for Never {
    fn value(&self, _: &mut Values) -> Value {
        match *self {}
    }
}

impl Show for bool {
    fn value(&self, _: &mut Values) -> Value {
        Value::Bool(*self)
    }

    fn is_empty(&self) -> bool {
        !self
    }
}

impl Show for String {
    fn value(&self, _: &mut Values) -> Value {
        Value::String(self.as_str().into())
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Numbers of every width: templates compare those of one kind only.
macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Show for $number {
            fn value(&self, _: &mut Values) -> Value {
                match i64::try_from(*self) {
                    Ok(number) => Value::Int(number),
                    Err(_) => Value::Uint(u64::try_from(*self).unwrap_or(u64::MAX)),
                }
            }

            fn is_empty(&self) -> bool {
                *self == 0
            }
        }
    )+};
}

numbers!(i64, u64, i32, u32, u16, usize);

impl<T: Show> Show for Option<T> {
    fn value(&self, values: &mut Values) -> Value {
        match self {
            Some(part) => part.value(values),
            None => T::nil(values),
        }
    }

    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl<T: Show> Show for Vec<T> {
    fn value(&self, values: &mut Values) -> Value {
        Value::List(self.iter().map(|part| part.value(values)).collect())
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn nil(_: &mut Values) -> Value {
        Values::no_list()
    }
}

impl<T: Show, const N: usize> Show for [T; N] {
    fn value(&self, values: &mut Values) -> Value {
        Value::List(self.iter().map(|part| part.value(values)).collect())
    }
}

impl<T: Show> Show for BTreeMap<String, T> {
    fn value(&self, values: &mut Values) -> Value {
        values.map(self)
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn nil(values: &mut Values) -> Value {
        values.no_map()
    }
}

impl Show for cove_model::image::Empty {
    fn value(&self, values: &mut Values) -> Value {
        values.map(&BTreeMap::<String, Never>::new())
    }
}

/// A list as Go has it: one that was never set is nil.
pub(crate) fn list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// As [`list`], a map.
pub(crate) fn map<T: Clone>(map: &BTreeMap<String, T>) -> Option<BTreeMap<String, T>> {
    (!map.is_empty()).then(|| map.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    document! {
        /// A document with every kind of field.
        struct Thing {
            id: String = "Id" / "ID",
            list: Option<Vec<String>> = "List",
            names: Option<Vec<String>> = "Names" omitempty,
            pointer: Option<bool> = "Pointer" omitempty,
            old: u64 = "Old" hidden,
            inner: Option<Inner> = "Inner",
        }
        /// Another, within it.
        struct Inner {
            count: u64 = "Count" omitempty,
        }
    }

    #[test]
    fn json_has_what_the_declaration_says() {
        let mut thing = Thing {
            id: "a".to_owned(),
            old: 7,
            ..Thing::default()
        };
        let json = |thing: &Thing| serde_json::to_string(thing).unwrap();
        assert_eq!(json(&thing), r#"{"Id":"a","List":null,"Inner":null}"#);
        thing.names = list(&["b".to_owned()]);
        thing.pointer = Some(false);
        thing.inner = Some(Inner { count: 0 });
        assert_eq!(
            json(&thing),
            r#"{"Id":"a","List":null,"Names":["b"],"Pointer":false,"Inner":{}}"#
        );
    }
}
