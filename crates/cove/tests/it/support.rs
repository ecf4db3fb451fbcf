//! What the tests of this crate share: a Cove with a busybox image.

use std::path::Path;

use testkit::cove::Cove;

/// The name of the image in every test.
pub(crate) const IMAGE: &str = "busybox:test";

/// A Cove that has the busybox image, read from an archive.
pub(crate) fn cove() -> Cove {
    let cove = Cove::at(
        Path::new(env!("CARGO_BIN_EXE_cove")),
        testkit::roots::Roots::new(),
    );
    let output = cove.cmd(["load"]).input(archive()).ok();
    assert_eq!(output.out(), format!("Loaded image: {IMAGE}\n"));
    cove
}

/// The image as an archive of an OCI layout.
fn archive() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    testkit::image::busybox::image().write_layout(directory.path(), IMAGE);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", directory.path()).unwrap();
    archive.into_inner().unwrap()
}

/// Lines of a text without blanks at their ends.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}
