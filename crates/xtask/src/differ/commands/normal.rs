//! Makes the answers of two programs comparable: ids, times, sizes, places and
//! the programs' own names become signs.

use std::sync::OnceLock;

use regex::Regex;

/// What is replaced everywhere, in this order.
const EVERYWHERE: &[(&str, &str)] = &[
    (r"[0-9a-f]{64}", "<id>"),
    (r"(?-u:\b)[0-9a-f]{12}(?-u:\b)", "<id>"),
    // Docker's zero time is an answer of its own.
    (r"(?-u:\b)0001-01-01T00:00:00Z", "<never>"),
    (
        r"(?-u:\b)[0-9]{4}-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9](\.[0-9]+)? ?(Z|[+-][0-9][0-9]:?[0-9][0-9])( [A-Z]{3,4})?",
        "<time>",
    ),
    (
        r"(About an?|Less than a|[0-9]+) (second|minute|hour|day|week|month|year)s?( ago)?",
        "<time>",
    ),
    (r"\x1b\[[0-9;]*m", ""),
];

/// Only on standard output: an error that names a size means that size.
const SIZES: &[(&str, &str)] = &[(
    r"(?-u:\b)[0-9]+(\.[0-9]+)?(e[+-][0-9]+)? ?(B|kB|MB|GB|KiB|MiB|GiB)(?-u:\b)",
    "<size>",
)];

/// The words before an error that say who speaks.
const SPEAKERS: &[(&str, &str)] = &[
    (
        r#"^time="[^"]*" level=(error|warning|fatal) msg="(.*)"$"#,
        "$2",
    ),
    (r"^(ERRO|WARN|FATA)\[[0-9]+\] ?", ""),
    (
        r"(Error response from daemon: |^[Ee]rror: |^docker: |^cove: |^runc: |^cove oci: |^WARNING: |^Warning: )",
        "",
    ),
    (
        r"failed to create (shim task|task for container): |OCI runtime (create|exec|start) failed: |runc (create|run|start) failed: |unable to start container process: |error during container init: |exec failed: |container_linux.go:[0-9]+: |starting container process caused: |(: unknown)?\.?$",
        "",
    ),
];

/// What tells where help is.
const HINTS: &str = r"^(See|Run) '.* --help'( for more information)?\.?$";

/// The names of the programs, where they stand as words.
const PROGRAMS: &str = r#"(^|[ \t'"(`])(docker|cove oci|cove|runc|podman)($|[ '":)`,])"#;

/// Standard output, `world` being the directory it comes from.
pub(crate) fn output(text: &str, world: &str) -> Vec<String> {
    let text = text.replace(world, "<world>");
    let lines = text.lines().map(|line| {
        let line = all(line, rules(0));
        named(&all(&line, rules(1)))
    });
    trimmed(lines)
}

/// Standard error, likewise.
pub(crate) fn errors(text: &str, world: &str) -> Vec<String> {
    let text = text.replace(world, "<world>");
    let hint = hint();
    let lines = text
        .lines()
        .map(|line| all(line, rules(0)))
        .filter(|line| !hint.is_match(line.trim()))
        .map(|line| {
            // One speaker may quote another.
            let once = all(&line, rules(2));
            named(&all(&once, rules(2)))
        })
        .filter(|line| !line.trim().is_empty());
    trimmed(lines)
}

/// Without the programs' names.
fn named(text: &str) -> String {
    let programs = programs();
    // Neighbours share the space between them.
    let once = programs.replace_all(text, "$1<program>$3");
    programs.replace_all(&once, "$1<program>$3").into_owned()
}

/// Without blanks at the ends, and columns without their widths.
fn trimmed(lines: impl Iterator<Item = String>) -> Vec<String> {
    static WIDE: OnceLock<Regex> = OnceLock::new();
    let wide = WIDE.get_or_init(|| compiled("  +"));
    lines
        .map(|line| wide.replace_all(line.trim_end(), "  ").into_owned())
        .collect()
}

fn all(line: &str, rules: &[(Regex, &str)]) -> String {
    let mut line = line.to_owned();
    for (what, sign) in rules {
        if what.is_match(&line) {
            line = what.replace_all(&line, *sign).into_owned();
        }
    }
    line
}

fn rules(which: usize) -> &'static [(Regex, &'static str)] {
    type Rules = [Vec<(Regex, &'static str)>; 3];
    static ALL: OnceLock<Rules> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        [EVERYWHERE, SIZES, SPEAKERS].map(|rules| {
            rules
                .iter()
                .map(|(what, sign)| (compiled(what), *sign))
                .collect()
        })
    });
    &all[which]
}

fn programs() -> &'static Regex {
    static PROGRAM: OnceLock<Regex> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled(PROGRAMS))
}

fn hint() -> &'static Regex {
    static HINT: OnceLock<Regex> = OnceLock::new();
    HINT.get_or_init(|| compiled(HINTS))
}

#[expect(
    clippy::expect_used,
    reason = "the patterns stand above, and a test compiles them all"
)]
fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of this file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_two_runs_share_becomes_a_sign() {
        let id = "0123456789abcdef".repeat(4);
        for (from, to) in [
            (format!("sha256:{id}"), "sha256:<id>"),
            ("x 0123456789ab y".to_owned(), "x <id> y"),
            ("2026-11-30T15:00:00.123456789Z".to_owned(), "<time>"),
            ("2026-11-30 15:00:00 +0000 UTC".to_owned(), "<time>"),
            ("Up 3 seconds".to_owned(), "Up <time>"),
            (
                "Exited (0) Less than a second ago".to_owned(),
                "Exited (0) <time>",
            ),
            ("/w/x and 4.2MB".to_owned(), "<world>/x and <size>"),
            ("Usage:  cove run".to_owned(), "Usage:  <program> run"),
            (
                "docker.io/library/busybox".to_owned(),
                "docker.io/library/busybox",
            ),
        ] {
            assert_eq!(output(&from, "/w"), [to]);
        }
    }

    #[test]
    fn who_speaks_does_not_count() {
        let docker = "docker: Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH: unknown.\nSee 'docker run --help'.\n";
        let cove = "cove: exec: \"x\": executable file not found in $PATH\n\nRun 'cove run --help' for more information\n";
        assert_eq!(errors(docker, "/w"), errors(cove, "/w"));
        assert_eq!(errors(cove, "/w").len(), 1);
    }
}
