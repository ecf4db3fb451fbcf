//! Modules that know each other: to understand one of them is to read all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::modules::{Crate, Edge};

/// What is wrong with the circles of these files, which are named from the
/// workspace's root on. Of a `known` circle, with its crate, some may be left.
pub(super) fn judge(files: &BTreeMap<PathBuf, String>, known: &[(&str, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut left = vec![false; known.len()];
    for root in files.keys().filter(|path| is_root(path)) {
        let name = root.iter().nth(1).unwrap_or_default().to_string_lossy();
        let read = Crate::read(root, files);
        let edges = read.edges();
        for circle in circles(&edges) {
            let names = circle.iter().map(|index| &*read.modules[*index].name);
            let listed = known.iter().position(|(of, modules)| {
                *of == name && names.clone().all(|name| modules.contains(&name))
            });
            match listed {
                Some(at) => left[at] = true,
                None => wrong.push(format!("{name}: {}", told(&read, &edges, &circle))),
            }
        }
    }
    for (_, (name, modules)) in left.iter().zip(known).filter(|(left, _)| !**left) {
        wrong.push(format!(
            "{name}: {} are no circle any more: take them out of CIRCLES in tidy.rs",
            modules.join(", ")
        ));
    }
    wrong
}

fn is_root(path: &Path) -> bool {
    path.iter().count() == 4
        && path.iter().nth(2).is_some_and(|part| part == "src")
        && path
            .file_name()
            .is_some_and(|name| name == "lib.rs" || name == "main.rs")
}

/// The sets of modules of which each reaches each other one.
fn circles(edges: &[BTreeMap<usize, Edge>]) -> Vec<BTreeSet<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..edges.len()).map(|from| reached(edges, from)).collect();
    let mut circles: Vec<BTreeSet<usize>> = Vec::new();
    for (own, reached) in reach.iter().enumerate() {
        if reached.contains(&own) && !circles.iter().any(|circle| circle.contains(&own)) {
            let mutual = reached.iter().filter(|other| reach[**other].contains(&own));
            circles.push(mutual.copied().collect());
        }
    }
    circles
}

fn reached(edges: &[BTreeMap<usize, Edge>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for to in edges[next].keys() {
            if reached.insert(*to) {
                open.push(*to);
            }
        }
    }
    reached
}

/// Every arrow inside of a circle, with the line that makes it.
fn told(read: &Crate, edges: &[BTreeMap<usize, Edge>], circle: &BTreeSet<usize>) -> String {
    let names: Vec<&str> = circle
        .iter()
        .map(|index| read.modules[*index].name.as_str())
        .collect();
    let mut text = format!("{} are a circle:", names.join(", "));
    for from in circle {
        for (to, edge) in edges[*from].iter().filter(|(to, _)| circle.contains(to)) {
            text += &format!(
                "\n    {} names {} of {} in its line {}",
                read.modules[*from].name, edge.path, read.modules[*to].name, edge.line
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a crate, by name.
    type Files<'a> = &'a [(&'a str, &'a str)];

    /// What is said of a crate of these files.
    fn said(files: Files<'_>, known: &[(&str, &[&str])]) -> Vec<String> {
        let files = files
            .iter()
            .map(|(name, text)| (Path::new("crates/x/src").join(name), (*text).to_owned()))
            .collect();
        judge(&files, known)
    }

    #[test]
    fn a_circle_is_seen_however_it_is_written() {
        let table: &[(&str, Files<'_>, bool)] = &[
            (
                "siblings",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "use crate::b::B;"),
                    ("b.rs", "use super::a::A;"),
                ],
                true,
            ),
            (
                "one way",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "use crate::b::B;"),
                    ("b.rs", "pub struct B;"),
                ],
                false,
            ),
            (
                "by a path",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "fn a() { crate::b::b() }"),
                    ("b.rs", "fn b() { super::a::a() }"),
                ],
                true,
            ),
            (
                "by the module's name",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "use crate::b; fn a() { b::b() }"),
                    ("b.rs", "use crate::a; fn b() { a::a() }"),
                ],
                true,
            ),
            (
                "in an import of several",
                &[
                    ("lib.rs", "mod a; mod b; mod c;"),
                    ("a.rs", "use crate::{b::{B, C}, c};"),
                    ("b.rs", "use crate::c::D;"),
                    ("c.rs", "use crate::a as other;"),
                ],
                true,
            ),
            (
                "by a re-export",
                &[
                    ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                    ("b.rs", "use crate::A; pub struct B;"),
                ],
                true,
            ),
            (
                "by a re-export of all",
                &[
                    ("lib.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                    ("b.rs", "use crate::A; pub struct B;"),
                ],
                true,
            ),
            (
                "a parent that only shows its children",
                &[
                    ("lib.rs", "mod a; pub use a::A; pub struct B;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                ],
                false,
            ),
            (
                "a parent that uses its child",
                &[
                    ("lib.rs", "mod a; fn b() { a::a() } pub struct B;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                ],
                true,
            ),
            (
                "a parent that uses what it shows",
                &[
                    ("lib.rs", "mod a; pub use a::A; pub struct B(A);"),
                    ("a.rs", "use crate::B; pub struct A;"),
                ],
                true,
            ),
            (
                "what a parent imports for its children",
                &[
                    ("lib.rs", "mod a; mod b; use b::B; fn c() { a::a() }"),
                    ("a.rs", "use super::B;"),
                    ("b.rs", "pub struct B;"),
                ],
                false,
            ),
            (
                "deep, and inline",
                &[
                    ("lib.rs", "mod a; mod b { pub mod c { use crate::a::A; } }"),
                    ("a/mod.rs", "pub mod d; pub struct A(d::D);"),
                    ("a/d.rs", "use crate::b::c::C;"),
                ],
                true,
            ),
            (
                "for tests only",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "use crate::b::B;"),
                    ("b.rs", "#[cfg(test)] mod tests { use crate::a::A; }"),
                ],
                false,
            ),
            (
                "said only",
                &[
                    ("lib.rs", "mod a; mod b;"),
                    ("a.rs", "use crate::b::B;"),
                    (
                        "b.rs",
                        "// crate::a::A\nconst A: &str = \"crate::a::A\"; pub(super) struct B;",
                    ),
                ],
                false,
            ),
        ];
        for (what, files, circle) in table {
            let said = said(files, &[]);
            assert_eq!(!said.is_empty(), *circle, "{what}: {said:?}");
        }
    }

    #[test]
    fn the_list_of_circles_is_true() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use super::a::A;"),
        ];
        let circle: (&str, &[&str]) = ("x", &["a", "b", "c"]);
        assert_eq!(said(&files, &[circle]), [""; 0]);
        let gone: (&str, &[&str]) = ("x", &["a", "d"]);
        let said = said(&files, &[circle, gone]);
        assert_eq!(
            said,
            ["x: a, d are no circle any more: take them out of CIRCLES in tidy.rs"]
        );
    }
}
