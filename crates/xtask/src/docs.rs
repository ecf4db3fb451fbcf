//! Figures in the documents, written by the programs that measured them.

const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->";

/// Puts `figures` between the markers of a document of the workspace.
pub(crate) fn replace_figures(document: &str, figures: &str) -> Result<(), String> {
    let path = testkit::workspace().join(document);
    let text = testkit::files::text(&path).ok_or_else(|| format!("cannot read {document}"))?;
    let text = replaced(&text, figures).ok_or_else(|| format!("{document} has no markers"))?;
    std::fs::write(&path, text).map_err(|e| format!("cannot write {document}: {e}"))
}

/// What the figures were measured on, in one line.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = testkit::files::text("/proc/sys/kernel/osrelease".as_ref()).unwrap_or_default();
    let kernel = kernel
        .trim()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    let date = testkit::cmd::Cmd::new("date")
        .args(["-u", "+%Y-%m-%d"])
        .run()
        .out();
    format!(
        "Measured on {} with {cores} cores, Linux {kernel}.",
        date.trim()
    )
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}{}\n{END}{tail}", figures.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("a\n{BEGIN}old\n{END}\nb\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}new\n{END}\nb\n"));
        assert!(replaced("nothing", "new").is_none());
    }
}
