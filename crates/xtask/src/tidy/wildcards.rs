//! `_ =>` for our own enums: a variant that is added later would be handled by
//! it, unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::source::{Token, behind, tokens, without_tests};

/// The enums of the workspace and their variants.
type Enums = BTreeMap<String, BTreeSet<String>>;

/// What is wrong with these files, each with its line, but for those files in
/// which some are `known`.
pub(super) fn judge(files: &BTreeMap<PathBuf, String>, known: &[&str]) -> Vec<String> {
    let sources: Vec<(&PathBuf, Vec<Token<'_>>)> = files
        .iter()
        .filter(|(path, _)| path.iter().any(|part| part == "src"))
        .map(|(path, text)| (path, without_tests(&tokens(text))))
        .collect();
    let mut enums = Enums::new();
    for (_, tokens) in &sources {
        collect(tokens, &mut enums);
    }
    let mut wrong = Vec::new();
    let mut left = BTreeSet::new();
    for (path, tokens) in &sources {
        let file = path.display().to_string();
        let everywhere = path.file_name().is_some_and(|name| name == "error.rs");
        for arm in catch_alls(tokens, &enums) {
            if (arm.of.is_some() || everywhere) && known.contains(&file.as_str()) {
                left.insert(file.clone());
                continue;
            }
            match arm.of {
                Some(name) => wrong.push(format!(
                    "{file}: line {}: `_ =>` hides variants of our own enum {name}",
                    arm.line
                )),
                None if everywhere => wrong.push(format!(
                    "{file}: line {}: `_ =>` in a file of errors",
                    arm.line
                )),
                None => {}
            }
        }
    }
    for file in known.iter().filter(|file| !left.contains(**file)) {
        wrong.push(format!(
            "{file}: no `_ =>` hides anything any more: take it out of WILDCARDS in tidy.rs"
        ));
    }
    wrong
}

/// Notes every enum that is defined, with its variants.
fn collect(tokens: &[Token<'_>], enums: &mut Enums) {
    for at in 0..tokens.len() {
        let Some(name) = tokens.get(at + 1).filter(|name| name.is_word()) else {
            continue;
        };
        if tokens[at].text != "enum" {
            continue;
        }
        let Some(open) = (at..tokens.len()).find(|at| tokens[*at].text == "{") else {
            continue;
        };
        let variants = enums.entry(name.text.to_owned()).or_default();
        let end = behind(tokens, open) - 1;
        let (mut at, mut expected) = (open + 1, true);
        while at < end {
            let token = tokens[at];
            match token.text {
                "#" | "(" | "{" | "[" => {
                    let bracket = if token.text == "#" { at + 1 } else { at };
                    at = behind(tokens, bracket);
                    continue;
                }
                "," => expected = true,
                name if expected && token.is_word() => {
                    variants.insert(name.to_owned());
                    expected = false;
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// A `_ =>`.
struct CatchAll {
    line: usize,
    /// Our own enum that the other arms name.
    of: Option<String>,
}

fn catch_alls(tokens: &[Token<'_>], enums: &Enums) -> Vec<CatchAll> {
    let mut found = Vec::new();
    let mut own = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "impl" => own = implemented(&tokens[at..]).or(own),
            "match" => {
                let Some(open) = block_of(tokens, at + 1) else {
                    continue;
                };
                let end = behind(tokens, open) - 1;
                let arms = patterns(&tokens[open + 1..end]);
                let Some(last) = arms.iter().find(|arm| arm.len() == 1 && arm[0].text == "_")
                else {
                    continue;
                };
                let of = arms.iter().find_map(|arm| enum_of(arm, own, enums));
                found.push(CatchAll {
                    line: last[0].line,
                    of,
                });
            }
            _ => {}
        }
    }
    found
}

/// Where the block of a `match` begins whose operand is at `at`.
fn block_of(tokens: &[Token<'_>], mut at: usize) -> Option<usize> {
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => return Some(at),
            "(" | "[" => at = behind(tokens, at),
            ";" | "}" | ")" => return None,
            _ => at += 1,
        }
    }
    None
}

/// The type of an `impl`, without its path.
fn implemented<'a>(tokens: &[Token<'a>]) -> Option<&'a str> {
    let header = &tokens[1..tokens.iter().position(|token| token.text == "{")?];
    let (mut angles, mut name) = (0_u32, None);
    for token in header {
        match token.text {
            "<" => angles += 1,
            ">" => angles = angles.saturating_sub(1),
            "where" if angles == 0 => break,
            "for" if angles == 0 => name = None,
            text if angles == 0 && token.is_word() => name = Some(text),
            _ => {}
        }
    }
    name
}

/// The patterns of a match, without guards.
fn patterns<'t, 'a>(arms: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut patterns = Vec::new();
    let mut at = 0;
    while at < arms.len() {
        while arms.get(at).is_some_and(|token| token.text == "#") {
            at = behind(arms, at + 1);
        }
        let begin = at;
        let mut guard = None;
        while at < arms.len() && arms[at].text != "=>" {
            match arms[at].text {
                "(" | "[" | "{" => at = behind(arms, at),
                text => {
                    if text == "if" && guard.is_none() {
                        guard = Some(at);
                    }
                    at += 1;
                }
            }
        }
        // A `_` with a guard is no catch-all.
        let mut pattern = &arms[begin..guard.unwrap_or(at)];
        if guard.is_some() && pattern.len() == 1 {
            pattern = &[];
        }
        patterns.push(pattern);
        at += 1;
        if arms.get(at).is_some_and(|token| token.text == "{") {
            at = behind(arms, at);
            if arms.get(at).is_some_and(|token| token.text == ",") {
                at += 1;
            }
            continue;
        }
        while at < arms.len() && arms[at].text != "," {
            match arms[at].text {
                "(" | "[" | "{" => at = behind(arms, at),
                _ => at += 1,
            }
        }
        at += 1;
    }
    patterns
}

/// Our own enum that a pattern begins with; `own` is what `Self` is.
fn enum_of(pattern: &[Token<'_>], own: Option<&str>, enums: &Enums) -> Option<String> {
    let mut words = pattern
        .iter()
        .skip_while(|token| ["|", "&"].contains(&token.text));
    let mut path = vec![words.next().filter(|token| token.is_word())?.text];
    while words.next().is_some_and(|token| token.text == "::") {
        path.push(words.next()?.text);
    }
    let (variant, before) = path.split_last()?;
    // The standard library's and others' have their path's first word told.
    let name = match before {
        ["Self"] => own?,
        ["crate" | "super" | "self", .., name] | [name] => name,
        [first, .., name] if first.starts_with("cove_") => name,
        _ => return None,
    };
    enums
        .get(name)
        .is_some_and(|variants| variants.contains(*variant))
        .then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catch_all_of_our_own_enums_is_seen() {
        let table = [
            ("match s { State::Up => 1, _ => 2 }", 1),
            (
                "match s { State::Up if a => { b } crate::State::Down(_) => 1, _ => 2 }",
                1,
            ),
            (
                "match s { State::Up => 1, State::Down(x) => f(x, |_| 2) }",
                0,
            ),
            (
                "match s { State::Up | State::Down(_) => 1, _ if b => 2 }",
                0,
            ),
            ("match s { Ok(_) => 1, _ => 2 }", 0),
            ("match s { io::ErrorKind::NotFound => 1, _ => 2 }", 0),
            ("match s { Other::Up => 1, _ => 2 }", 0),
            (
                "impl fmt::Display for State { fn f(&self) { match self { Self::Up => 1, _ => 2 } } }",
                1,
            ),
            (
                "impl State { fn f(&self) { match self { Self::Up => 1, Self::Down(_) => 2 } } }",
                0,
            ),
            (
                "match a { 1 => match s { State::Up => 1, _ => 2 }, _ => 3 }",
                1,
            ),
            (
                "#[cfg(test)] mod t { fn f() { match s { State::Up => 1, _ => 2 } } }",
                0,
            ),
        ];
        for (text, count) in table {
            let text = format!("enum State {{ #[doc] Up, Down(u8) }} fn f() {{}} {text}");
            let files = [(PathBuf::from("crates/x/src/a.rs"), text)].into();
            let said = judge(&files, &[]);
            assert_eq!(said.len(), count, "{files:?}: {said:?}");
        }
    }

    #[test]
    fn a_file_of_errors_has_none_at_all() {
        let text = "fn f() { match n { 1 => 2, _ => 3 } }".to_owned();
        let errors = "crates/x/src/error.rs";
        let judged = |name: &str, known: &[&str]| {
            judge(&[(PathBuf::from(name), text.clone())].into(), known)
        };
        assert_eq!(judged("crates/x/src/a.rs", &[]), [""; 0]);
        assert_eq!(
            judged(errors, &[]),
            ["crates/x/src/error.rs: line 1: `_ =>` in a file of errors"]
        );
        assert_eq!(judged(errors, &[errors]), [""; 0]);
        assert_eq!(judged("crates/x/src/a.rs", &[errors]).len(), 1);
    }
}
