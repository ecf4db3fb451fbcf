//! Documents that others write, read as Go's programs read them, which wrote
//! most of them: `null` says nothing. Where our types have a text, a number, a
//! list or an object it stands for the empty one, wherever in the document.

use std::fmt;
use std::iter::empty;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};

/// Reads a document.
///
/// # Errors
/// When it is no JSON, or says something else than a `T` does.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = T::deserialize(Nullable(&mut reader))?;
    reader.end()?;
    Ok(read)
}

/// Reads a document that was parsed already.
///
/// # Errors
/// When it says something else than a `T` does.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> serde_json::Result<T> {
    T::deserialize(Nullable(value))
}

/// A deserializer that gives nothing for `null`, and so do all beneath it.
struct Nullable<D>(D);

/// What makes the deserializers that it hands on [`Nullable`].
struct Inside<T>(T);

/// Asks for an option; what is there is read by the same method of its own.
macro_rules! or_nothing {
    ($($method:ident($visitor:ident) => $zero:expr, $inner:expr;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            struct Said<V>(V);
            impl<'de, V: Visitor<'de>> Visitor<'de> for Said<V> {
                type Value = V::Value;
                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.expecting(formatter)
                }
                fn visit_none<E: Error>(self) -> Result<V::Value, E> {
                    let $visitor = self.0;
                    $zero
                }
                fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
                    self.visit_none()
                }
                fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
                    some.$method($inner(self.0))
                }
            }
            self.0.deserialize_option(Said(visitor))
        }
    )+};
}

macro_rules! as_it_is {
    ($($method:ident($($argument:ident: $type:ty),*);)+) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* visitor)
        }
    )+};
}

fn same<V>(visitor: V) -> V {
    visitor
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Nullable<D> {
    type Error = D::Error;

    or_nothing! {
        deserialize_bool(visitor) => visitor.visit_bool(false), same;
        deserialize_i8(visitor) => visitor.visit_i8(0), same;
        deserialize_i16(visitor) => visitor.visit_i16(0), same;
        deserialize_i32(visitor) => visitor.visit_i32(0), same;
        deserialize_i64(visitor) => visitor.visit_i64(0), same;
        deserialize_u8(visitor) => visitor.visit_u8(0), same;
        deserialize_u16(visitor) => visitor.visit_u16(0), same;
        deserialize_u32(visitor) => visitor.visit_u32(0), same;
        deserialize_u64(visitor) => visitor.visit_u64(0), same;
        deserialize_f32(visitor) => visitor.visit_f32(0.0), same;
        deserialize_f64(visitor) => visitor.visit_f64(0.0), same;
        deserialize_str(visitor) => visitor.visit_str(""), same;
        deserialize_string(visitor) => visitor.visit_str(""), same;
        deserialize_bytes(visitor) => visitor.visit_bytes(b""), same;
        deserialize_byte_buf(visitor) => visitor.visit_bytes(b""), same;
        deserialize_seq(visitor) => visitor.visit_seq(SeqDeserializer::new(empty::<()>())), Inside;
        deserialize_map(visitor) => visitor.visit_map(MapDeserializer::new(empty::<((), ())>())), Inside;
    }

    as_it_is! {
        deserialize_any();
        deserialize_char();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Inside(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Inside(visitor))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Nullable(some))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Nullable(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Inside(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Inside(object))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Inside<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Nullable(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Inside(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Inside(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct All {
        text: String,
        number: u64,
        negative: i32,
        truth: bool,
        list: Vec<String>,
        maybe: Option<Vec<u8>>,
        map: BTreeMap<String, String>,
        inner: Option<Box<All>>,
        any: Value,
    }

    #[test]
    fn null_is_the_empty_value_everywhere() {
        let fields = [
            "text", "number", "negative", "truth", "list", "maybe", "map", "inner", "any",
        ];
        for field in fields {
            let mut document = json!({ "inner": { field: null } });
            document[field] = if field == "inner" {
                json!({"inner": null})
            } else {
                Value::Null
            };
            let bytes = document.to_string();
            let read: All = from_slice(bytes.as_bytes()).unwrap();
            let inner = read.inner.as_deref();
            assert_eq!(inner, Some(&All::default()), "{field}");
            let outer = All {
                inner: None,
                ..read
            };
            assert_eq!(outer, All::default(), "{field}");
            assert_eq!(from_value::<All>(document).unwrap().text, "", "{field}");
        }
        let read: All =
            from_slice(br#"{"list":["a",null],"map":{"k":null,"l":"m"},"number":7}"#).unwrap();
        assert_eq!(read.list, ["a", ""]);
        assert_eq!(read.map["k"], "");
        assert_eq!(read.map["l"], "m");
        assert_eq!(read.number, 7);
        assert_eq!(from_slice::<Vec<All>>(b"null").unwrap(), []);
        assert_eq!(from_slice::<Vec<All>>(b"[null]").unwrap(), [All::default()]);
    }

    #[test]
    fn what_is_wrong_is_still_an_error() {
        for bytes in [
            &br#"{"text":7}"#[..],
            br#"{"list":{}}"#,
            br#"{"map":[]}"#,
            br#"{"number":-1}"#,
            br#"{"truth":"yes"}"#,
            b"{} x",
            b"{",
        ] {
            assert!(from_slice::<All>(bytes).is_err());
        }
    }
}
