//! Filters of lists: `name=value`, several of a name joined by "or".

use std::collections::BTreeMap;

use cove_model::go;
use jiff::Timestamp;

use crate::time::Clock;

/// Whether a text is a filter.
///
/// # Errors
/// Docker's words.
pub fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains('=') {
        return Ok(());
    }
    Err("bad format of filter (expected name=value)".to_owned())
}

/// Filters by name.
#[derive(Debug, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Collects `texts`, all of them names in `known`.
    ///
    /// # Errors
    /// Docker's words.
    pub fn new(texts: &[String], known: &[&str]) -> Result<Self, String> {
        let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in texts {
            let Some((name, value)) = text.split_once('=') else {
                continue;
            };
            let name = name.trim().to_lowercase();
            if !known.contains(&name.as_str()) {
                return Err(format!("Invalid filter '{name}'"));
            }
            filters
                .entry(name)
                .or_default()
                .push(value.trim().to_owned());
        }
        Ok(Self(filters))
    }

    /// The values of the filter `name`.
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a filter is absent, or one of its values is accepted.
    pub fn any(&self, name: &str, accepts: impl Fn(&str) -> bool) -> bool {
        let values = self.get(name);
        values.is_empty() || values.iter().any(|value| accepts(value))
    }

    /// Whether every `label=` is met by `labels`, and no `label!=` is.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }

    /// The moment of the filter `until`, if it is there.
    ///
    /// # Errors
    /// Docker's words.
    pub fn until(&self, clock: &Clock) -> Result<Option<Timestamp>, String> {
        match self.get("until") {
            [] => Ok(None),
            [text] => clock.moment(text).map(Some).ok_or_else(|| {
                let text = go::quote(text);
                format!("failed to parse value as time or duration: {text}")
            }),
            _ => Err("more than one until filter specified".to_owned()),
        }
    }

    /// The truth value of the filter `name`, if it is there.
    ///
    /// # Errors
    /// Docker's words.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, String> {
        let values = self.get(name);
        match values.first() {
            None => Ok(None),
            Some(value) => go::parse_bool(value)
                .map(Some)
                .ok_or_else(|| format!("Invalid filter '{name}=[{}]'", values.join(" "))),
        }
    }
}

/// What `before=` and `since=` leave of a list, by time of creation in RFC 3339.
#[derive(Debug, Default)]
pub struct Between {
    before: Option<String>,
    since: Option<String>,
}

impl Between {
    /// Reads both filters; `created` tells when the thing of a name came to be.
    ///
    /// # Errors
    /// Those of `created`.
    pub fn new<E>(
        filters: &Filters,
        created: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let edge = |name| {
            let other = filters.get(name).last();
            other.map(|other| created(other)).transpose()
        };
        Ok(Self {
            before: edge("before")?,
            since: edge("since")?,
        })
    }

    /// Whether something that was created then stays in the list.
    pub fn holds(&self, created: &str) -> bool {
        let before = self.before.as_deref();
        let since = self.since.as_deref();
        before.is_none_or(|other| created < other) && since.is_none_or(|other| created > other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let texts = ["name=a", "Name=b", "label=x", "label=y=1", "label!=z"].map(str::to_owned);
        let filters = Filters::new(&texts, &["name", "label", "label!"]).unwrap();
        assert!(filters.any("name", |value| value == "b"));
        assert!(!filters.any("name", |value| value == "c"));
        assert!(filters.any("status", |_| false));
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(filters.labels(&labels(&[("x", ""), ("y", "1")])));
        assert!(!filters.labels(&labels(&[("x", ""), ("y", "2")])));
        assert!(!filters.labels(&labels(&[("x", ""), ("y", "1"), ("z", "")])));
        let error = Filters::new(&["foo=bar".to_owned()], &["name"]).unwrap_err();
        assert_eq!(error, "Invalid filter 'foo'");
        assert_eq!(
            check("foo").unwrap_err(),
            "bad format of filter (expected name=value)"
        );
        let bad = Filters::new(&["dangling=x".to_owned()], &["dangling"]).unwrap();
        assert_eq!(
            bad.truth("dangling").unwrap_err(),
            "Invalid filter 'dangling=[x]'"
        );
    }

    #[test]
    fn edges_are_left_out_and_the_last_of_a_name_counts() {
        for (texts, kept) in [
            (&[] as &[&str], [true, true, true]),
            (&["before=2"], [true, false, false]),
            (&["since=2"], [false, false, true]),
            (&["since=1", "before=3"], [false, true, false]),
            (&["since=3", "since=1"], [false, true, true]),
        ] {
            let own: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            let filters = Filters::new(&own, &["before", "since"]).unwrap();
            let created = |other: &str| Ok::<_, String>(format!("202{other}"));
            let between = Between::new(&filters, created).unwrap();
            let holds = ["2021", "2022", "2023"].map(|created| between.holds(created));
            assert_eq!(holds, kept, "{texts:?}");
        }
        let filters = Filters::new(&["since=x".to_owned()], &["since"]).unwrap();
        let unknown = Between::new(&filters, |other| Err(other.to_owned()));
        assert_eq!(unknown.unwrap_err(), "x");
    }
}
