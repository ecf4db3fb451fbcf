//! The documents that `inspect` prints: Docker's fields, in Docker's order.

pub(crate) mod container;
pub(crate) mod hidden;
pub(crate) mod image;

use cove_model::image::RunConfig;
use serde_json::{Map, Value, json};

/// What Docker's `Config` has besides the run configuration.
#[derive(Debug, Default)]
pub(crate) struct Frame<'a> {
    /// Host name.
    pub(crate) hostname: &'a str,
    /// Domain name.
    pub(crate) domainname: &'a str,
    /// The attached streams.
    pub(crate) attach: cove_model::instance::Attach,
    /// Whether there is a terminal.
    pub(crate) tty: bool,
    /// Whether standard input stays open.
    pub(crate) open_stdin: bool,
    /// Whether it closes with its first client.
    pub(crate) stdin_once: bool,
    /// The image's name.
    pub(crate) image: &'a str,
    /// Seconds between stop signal and kill.
    pub(crate) stop_timeout: Option<i64>,
}

/// Docker's `Config` of a container or an image.
pub(crate) fn config(run: &RunConfig, frame: &Frame<'_>) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("Hostname", frame.hostname.into());
    put("Domainname", frame.domainname.into());
    put("User", run.user.as_str().into());
    put("AttachStdin", frame.attach.stdin.into());
    put("AttachStdout", frame.attach.stdout.into());
    put("AttachStderr", frame.attach.stderr.into());
    if !run.exposed_ports.is_empty() {
        put("ExposedPorts", json!(run.exposed_ports));
    }
    put("Tty", frame.tty.into());
    put("OpenStdin", frame.open_stdin.into());
    put("StdinOnce", frame.stdin_once.into());
    put("Env", nullable(&run.env));
    put("Cmd", json!(run.cmd));
    if let Some(healthcheck) = &run.healthcheck {
        put("Healthcheck", healthcheck.clone());
    }
    put("Image", frame.image.into());
    put(
        "Volumes",
        if run.volumes.is_empty() {
            Value::Null
        } else {
            json!(run.volumes)
        },
    );
    put("WorkingDir", run.working_dir.as_str().into());
    put("Entrypoint", json!(run.entrypoint));
    put("OnBuild", json!(run.on_build));
    put(
        "Labels",
        if run.labels.is_empty() {
            json!({})
        } else {
            json!(run.labels)
        },
    );
    if let Some(signal) = &run.stop_signal {
        put("StopSignal", signal.as_str().into());
    }
    if let Some(timeout) = frame.stop_timeout {
        put("StopTimeout", timeout.into());
    }
    if let Some(shell) = &run.shell {
        put("Shell", json!(shell));
    }
    Value::Object(fields)
}

/// A list as Go prints it: one that was never set is null.
pub(crate) fn nullable(list: &[String]) -> Value {
    if list.is_empty() {
        Value::Null
    } else {
        json!(list)
    }
}
