//! `WWW-Authenticate`, read strictly (RFC 9110, 11.6.1).
//!
//! A header that breaks the grammar is refused as a whole: guessing where a
//! realm ends would be guessing where to send a password.

use std::collections::BTreeMap;

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`, …
    pub(crate) scheme: String,
    /// Parameters by lower-case name.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// A parameter's value, `None` when it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// The challenges of one header; `None` when it breaks the grammar.
pub(crate) fn parse(header: &str) -> Option<Vec<Challenge>> {
    let mut cursor = Cursor(header);
    let mut challenges = Vec::new();
    cursor.skip_commas();
    while !cursor.0.is_empty() {
        let scheme = cursor.token()?.to_ascii_lowercase();
        let mut challenge = Challenge {
            scheme,
            parameters: BTreeMap::new(),
        };
        let spaced = cursor.skip_space();
        if spaced && !cursor.0.starts_with(',') && !cursor.0.is_empty() {
            cursor.parameters(&mut challenge.parameters)?;
        } else if !spaced && !cursor.0.is_empty() && !cursor.0.starts_with(',') {
            return None;
        }
        challenges.push(challenge);
        cursor.skip_commas();
    }
    (!challenges.is_empty()).then_some(challenges)
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// `a=b, c="d"`, up to the end or the next challenge.
    fn parameters(&mut self, out: &mut BTreeMap<String, String>) -> Option<()> {
        if self.token68() {
            return Some(());
        }
        loop {
            let name = self.token()?.to_ascii_lowercase();
            self.skip_space();
            self.0 = self.0.strip_prefix('=')?;
            self.skip_space();
            let value = match self.0.strip_prefix('"') {
                Some(rest) => {
                    self.0 = rest;
                    self.quoted()?
                }
                None => self.token()?.to_owned(),
            };
            if out.insert(name, value).is_some() {
                return None;
            }
            self.skip_space();
            if self.0.is_empty() {
                return Some(());
            }
            if !self.0.starts_with(',') {
                return None;
            }
            // A comma separates parameters and challenges alike: look ahead.
            let before = self.0;
            self.skip_commas();
            let mut ahead = Cursor(self.0);
            if ahead.token().is_none() {
                return self.0.is_empty().then_some(());
            }
            ahead.skip_space();
            if !ahead.0.starts_with('=') {
                self.0 = before;
                return Some(());
            }
        }
    }

    /// A single value such as Negotiate's, which is skipped.
    fn token68(&mut self) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let rest = self.0.trim_start_matches(allowed);
        let after = rest.trim_start_matches('=').trim_start_matches([' ', '\t']);
        let is_value = rest.len() < self.0.len() && (after.is_empty() || after.starts_with(','));
        if is_value {
            self.0 = after;
        }
        is_value
    }

    fn token(&mut self) -> Option<&'a str> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let rest = self.0.trim_start_matches(allowed);
        let token = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c if c.is_control() && c != '\t' => return None,
                c => value.push(c),
            }
        }
        None
    }

    fn skip_space(&mut self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let skipped = rest.len() < self.0.len();
        self.0 = rest;
        skipped
    }

    fn skip_commas(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> Option<String> {
        let text = |challenge: &Challenge| {
            let pairs = challenge.parameters.iter().map(|(k, v)| format!("{k}={v}"));
            format!(
                "{}({})",
                challenge.scheme,
                pairs.collect::<Vec<_>>().join(";")
            )
        };
        Some(
            parse(header)?
                .iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    #[test]
    fn challenges_are_read() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                "bearer(realm=https://auth.docker.io/token;scope=repository:a/b:pull,push;service=registry.docker.io)",
            ),
            (r#"Basic realm="a \"b\" \\c""#, r#"basic(realm=a "b" \c)"#),
            ("BASIC Realm=x", "basic(realm=x)"),
            ("Basic", "basic()"),
            // By the grammar a single value, not an empty realm.
            ("Bearer realm=", "bearer()"),
            ("Negotiate, Basic realm=x", "negotiate() basic(realm=x)"),
            (
                "Negotiate abc==, Basic realm=x",
                "negotiate() basic(realm=x)",
            ),
            (
                r#"Basic realm="x", Bearer realm="y" , service = z"#,
                "basic(realm=x) bearer(realm=y;service=z)",
            ),
            (
                r#", Basic realm="x",, charset="UTF-8","#,
                "basic(charset=UTF-8;realm=x)",
            ),
        ] {
            assert_eq!(shown(header).as_deref(), Some(expected), "{header}");
        }
    }

    #[test]
    fn broken_headers_are_refused() {
        for header in [
            "",
            ",",
            "=",
            "Basic realm=\"x",
            "Basic realm=\"x\\",
            "Bearer =x",
            "Basic realm=\"x\" y",
            "Basic realm=x, realm=y",
            "Basic realm=\"a\u{1}\"",
            "Bearer realm=x;service=y",
            "Bearer\"x\"",
            "Bearer realm=https://a.b",
        ] {
            assert_eq!(shown(header), None, "{header:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(header in r#"((Basic|Bearer|realm|"|\\|=|,| |é|x){0,20}|.{0,40})"#) {
            drop(parse(&header));
        }

        #[test]
        fn what_is_quoted_reads_back(value in "[ -~é]{0,30}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let parsed = parse(&format!("Bearer realm=\"{quoted}\", service=s")).unwrap();
            proptest::prop_assert_eq!(&parsed[0].parameters["realm"], &value);
            proptest::prop_assert_eq!(&parsed[0].parameters["service"], "s");
        }
    }
}
