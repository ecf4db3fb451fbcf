//! Starting containers: the runtime alone, the whole engine, eight at once.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use testkit::cmd::Cmd;
use testkit::image::busybox;

use super::table::{Limit, Row};
use super::worker::{Place, ROUND, Worker, interleave};
use super::{Stage, succeed};

/// A bundle of busybox that runs /bin/true, and state directories beside it.
struct Bundle(tempfile::TempDir);

impl Bundle {
    /// The specification is crun's own default without a terminal and without
    /// resources, which need more than a hybrid host gives.
    fn new() -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("cvb")
            .tempdir()
            .map_err(|e| e.to_string())?;
        busybox::image().write_rootfs(&directory.path().join("rootfs"));
        let made = Cmd::new("crun")
            .arg("spec")
            .directory(directory.path())
            .run();
        if !made.success() {
            return Err(made.to_string());
        }
        let file = directory.path().join("config.json");
        let text = testkit::files::text(&file).ok_or("crun spec wrote nothing")?;
        let mut spec: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/true"]);
        // crun's default asks for ambient capabilities that are not inheritable.
        if let Some(capabilities) = spec["process"]["capabilities"].as_object_mut() {
            capabilities.remove("ambient");
        }
        if let Some(linux) = spec["linux"].as_object_mut() {
            linux.remove("resources");
        }
        std::fs::write(&file, spec.to_string()).map_err(|e| e.to_string())?;
        Ok(Self(directory))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn crun(&self) -> Result<Worker, String> {
        let id = format!("crun-{}-{ROUND}", std::process::id());
        let words = [
            "crun",
            "--root",
            &self.path("crun"),
            "run",
            "--bundle",
            &self.path(""),
            &id,
        ];
        Worker::new(Place::OnlyCgroup2, &words)
    }

    fn cove(&self, program: &Path) -> Result<Worker, String> {
        let id = format!("cove-{}-{ROUND}", std::process::id());
        let program = program.display().to_string();
        let words = [
            &program,
            "oci",
            "--root",
            &self.path("cove"),
            "run",
            "--bundle",
            &self.path(""),
            &id,
        ];
        Worker::new(Place::OnlyCgroup2, &words)
    }
}

/// `cove oci run` of /bin/true against crun: time and memory.
pub(super) fn oci(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let bundle = Bundle::new()?;
    let (mut ours, mut crun) = (bundle.cove(&stage.program)?, bundle.crun()?);
    interleave(&mut [&mut ours, &mut crun], rounds)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let memory = Row::limit(
        "oci run, RSS",
        mib(ours.rss()),
        "MiB",
        Limit::AtMost(mib(crun.rss())),
    );
    Ok(vec![
        Row::ratio(
            "oci run /bin/true",
            ours.median(),
            ("crun run", crun.median()),
            0.7,
        ),
        memory.beside(&format!("crun {:.2} MiB", mib(crun.rss()))),
    ])
}

/// `cove run` with everything it includes, against crun with a ready bundle.
pub(super) fn run(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    let bundle = Bundle::new()?;
    let cove = stage.cove()?;
    let words = run_words(&stage.program, &cove, &stage.busybox());
    let (mut ours, mut crun) = (Worker::new(Place::Here, &words)?, bundle.crun()?);
    interleave(&mut [&mut ours, &mut crun], rounds)?;
    Ok(vec![Row::ratio(
        "run --rm busybox true",
        ours.median(),
        ("crun run", crun.median()),
        1.5,
    )])
}

/// Eight runs at a time.
pub(super) fn parallel(stage: &Stage, rounds: usize) -> Result<Vec<Row>, String> {
    const AT_ONCE: usize = 8;
    let cove = stage.cove()?;
    let image = stage.busybox();
    let words = ["run", "--rm", "--network", "none", &image, "true"];
    succeed(&cove, &words)?;
    let began = Instant::now();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| scope.spawn(|| (0..rounds).find_map(|_| succeed(&cove, &words).err())))
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok().flatten())
            .collect()
    });
    if let Some(failure) = failures.first() {
        return Err(failure.clone());
    }
    let rate = (AT_ONCE * rounds) as f64 / began.elapsed().as_secs_f64();
    Ok(vec![Row::limit(
        "8 runs at once",
        rate,
        "/s",
        Limit::AtLeast(60.0),
    )])
}

fn run_words(program: &Path, cove: &testkit::cove::Cove, image: &str) -> Vec<String> {
    let text = |path: PathBuf| path.display().to_string();
    let roots = cove.roots();
    let mut words = vec![program.display().to_string()];
    words.extend([
        "--root".to_owned(),
        text(roots.root()),
        "--runroot".to_owned(),
        text(roots.runroot()),
    ]);
    words.extend(["run", "--rm", "--network", "none", image, "true"].map(str::to_owned));
    words
}
