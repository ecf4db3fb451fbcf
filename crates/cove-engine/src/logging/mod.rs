//! Where an instance's output is kept: log drivers and their options, in
//! Docker's words.
//!
//! The default is `k8s-file`, not Docker's `json-file`: a record of it is
//! written as soon as its bytes arrive, so that a prompt is seen and a killed
//! supervisor loses nothing of a line; it keeps every byte, where JSON keeps
//! text only; and it takes half the time. Every driver has a bound where nobody
//! says one.

mod attributes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cove_model::go;
use cove_model::instance::{LogConfig, LogDriver, Record};
use cove_model::size;
use cove_supervisor::config;
use cove_supervisor::logs::{Format, ReadOptions};

use self::attributes::{Origin, attributes};
use crate::Instances;
use crate::error::{Error, Result, invalid};
use crate::request::LogRequest;

/// Bytes that may wait in non-blocking mode when nobody says; Docker's.
const BUFFER: u64 = 1 << 20;
/// What Docker's own drivers say when they cannot begin.
const FAILED: &str = "failed to initialize logging driver";

/// What all drivers that keep files take, besides `mode` and `max-buffer-size`.
const FILE_OPTIONS: [&str; 3] = ["max-size", "max-file", "compress"];
/// What those take besides that can say more of where a line came from.
const ATTRIBUTE_OPTIONS: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

/// Drivers of Docker and Podman that Cove does not have.
const ELSEWHERE: [&str; 10] = [
    "awslogs",
    "fluentd",
    "gcplogs",
    "gelf",
    "journald",
    "logentries",
    "passthrough",
    "passthrough-tty",
    "splunk",
    "syslog",
];

/// The driver of a name; an empty one is the default.
///
/// # Errors
/// Docker's words for one that it does not know.
fn driver(name: &str) -> Result<LogDriver> {
    match name {
        "" | "k8s-file" => Ok(LogDriver::K8sFile),
        "json-file" => Ok(LogDriver::JsonFile),
        "local" => Ok(LogDriver::Local),
        "none" => Ok(LogDriver::None),
        other if ELSEWHERE.contains(&other) => Err(Error::Unsupported(format!(
            "the log driver {other} is not supported: use k8s-file, json-file, local or none"
        ))),
        other => Err(Error::Invalid(format!(
            "error looking up logging plugin {other}: plugin \"{other}\" not found"
        ))),
    }
}

/// The log that a caller asks for.
///
/// # Errors
/// Docker's words for what it does not know.
pub(crate) fn plan(request: &LogRequest) -> Result<LogConfig> {
    let log = LogConfig {
        driver: driver(&request.driver)?,
        options: request.options.clone(),
    };
    check(&log)?;
    Ok(log)
}

/// Refuses options that the driver does not have, and values it cannot take: all that
/// can be said before the container is there.
fn check(log: &LogConfig) -> Result<()> {
    if log.driver == LogDriver::None {
        return if log.options.is_empty() {
            Ok(())
        } else {
            invalid("invalid logging opts for driver none".to_owned())
        };
    }
    buffer(&log.options)?;
    let known = |key: &str| {
        FILE_OPTIONS.contains(&key)
            || matches!(key, "mode" | "max-buffer-size")
            || (log.driver != LogDriver::Local && ATTRIBUTE_OPTIONS.contains(&key))
    };
    if let Some(key) = log.options.keys().find(|key| !known(key)) {
        return invalid(match log.driver {
            LogDriver::Local => format!("unknown log opt '{key}' for log driver local"),
            LogDriver::K8sFile | LogDriver::JsonFile | LogDriver::None => {
                format!(
                    "unknown log opt '{key}' for {} log driver",
                    log.driver.name()
                )
            }
        });
    }
    files(log)?;
    attributes(&log.options, &Origin::default()).map(drop)
}

impl Instances<'_> {
    /// Where the output of an instance is kept, when it is.
    #[must_use]
    pub fn log_path(&self, record: &Record) -> Option<PathBuf> {
        path(&self.directory(record), record)
    }

    /// The log that others may know of. That of `local` is nobody's business, as with Docker.
    #[must_use]
    pub fn public_log_path(&self, record: &Record) -> Option<PathBuf> {
        self.log_path(record)
            .filter(|_| record.spec.log.driver != LogDriver::Local)
    }

    /// How the output of an instance is read.
    pub(crate) fn log_format(record: &Record) -> ReadOptions {
        ReadOptions {
            format: format(record.spec.log.driver),
            ..ReadOptions::default()
        }
    }

    /// What the options of a log say of where its lines came from.
    ///
    /// # Errors
    /// When an expression or a template of the options is wrong.
    pub(crate) fn log_attributes(&self, record: &Record) -> Result<BTreeMap<String, String>> {
        attributes(&record.spec.log.options, &Origin::of(record))
    }
}

/// What the supervisor of an instance is told of its log.
pub(crate) fn config(directory: &Path, record: &Record) -> Result<Option<config::LogConfig>> {
    let log = &record.spec.log;
    let Some(path) = path(directory, record) else {
        return Ok(None);
    };
    let files = files(log)?;
    Ok(Some(config::LogConfig {
        max_size: files.max_size,
        max_files: files.max_files,
        compress: files.compress,
        format: format(log.driver),
        attributes: match log.driver {
            LogDriver::JsonFile => attributes(&log.options, &Origin::of(record))?,
            // Their format has no place for them; who reads asks for them again.
            LogDriver::K8sFile | LogDriver::Local | LogDriver::None => BTreeMap::new(),
        },
        buffer: buffer(&log.options)?,
        ..config::LogConfig::new(path)
    }))
}

fn path(directory: &Path, record: &Record) -> Option<PathBuf> {
    match record.spec.log.driver {
        LogDriver::K8sFile | LogDriver::Local => Some(directory.join("output.log")),
        LogDriver::JsonFile => Some(directory.join(format!("{}-json.log", record.id))),
        LogDriver::None => None,
    }
}

const fn format(driver: LogDriver) -> Format {
    match driver {
        LogDriver::K8sFile | LogDriver::Local | LogDriver::None => Format::Cri,
        LogDriver::JsonFile => Format::Json,
    }
}

/// How many files of what size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    max_size: u64,
    max_files: u32,
    compress: bool,
}

fn files(log: &LogConfig) -> Result<Files> {
    let get = |key: &str| log.options.get(key).map(String::as_str);
    let failed = |key: &str, value: &str, reason: String| {
        invalid(match log.driver {
            // Docker's json-file has the reason alone.
            LogDriver::JsonFile => format!("{FAILED}: {reason}"),
            LogDriver::K8sFile | LogDriver::Local | LogDriver::None => {
                format!("{FAILED}: invalid value for {key}: {value}: {reason}")
            }
        })
    };
    let parse = if log.driver == LogDriver::JsonFile {
        size::parse_decimal
    } else {
        size::parse
    };
    let max_size = match get("max-size").map(|text| (text, parse(text))) {
        None => None,
        Some((_, Ok(0))) => {
            return invalid(format!("{FAILED}: max-size must be a positive number"));
        }
        Some((_, Ok(bytes))) => Some(bytes),
        Some((text, Err(reason))) => return failed("max-size", text, reason),
    };
    let max_files = match get("max-file").map(|text| (text, whole_number(text))) {
        None => None,
        Some((text, Err(reason))) => return failed("max-file", text, reason),
        Some((_, Ok(count))) => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            Ok(_) | Err(_) => return invalid(format!("{FAILED}: max-file cannot be less than 1")),
        },
    };
    let compress = match get("compress").map(|text| (text, truth(text))) {
        None => None,
        Some((_, Ok(truth))) => Some(truth),
        Some((text, Err(reason))) => return failed("compress", text, reason),
    };
    match log.driver {
        LogDriver::JsonFile => {
            if compress == Some(true) && (max_size.is_none() || max_files.unwrap_or(1) < 2) {
                return invalid(format!(
                    "{FAILED}: compress cannot be true when max-file is less than 2 or max-size is not set"
                ));
            }
            Ok(Files {
                // Where nobody says a bound Docker has none; here a container does not fill
                // the disk.
                max_files: max_files.unwrap_or(if max_size.is_some() { 1 } else { 5 }),
                max_size: max_size.unwrap_or(10_000_000),
                compress: compress.unwrap_or(false),
            })
        }
        LogDriver::K8sFile | LogDriver::Local | LogDriver::None => {
            let (default_size, default_compress) = match log.driver {
                LogDriver::Local => (20 << 20, true),
                LogDriver::K8sFile | LogDriver::JsonFile | LogDriver::None => (10 << 20, false),
            };
            let max_files = max_files.unwrap_or(5);
            if compress == Some(true) && max_files == 1 {
                return invalid(format!(
                    "{FAILED}: compression cannot be enabled when max file count is 1"
                ));
            }
            Ok(Files {
                max_size: max_size.unwrap_or(default_size),
                max_files,
                compress: compress.unwrap_or(default_compress && max_files > 1),
            })
        }
    }
}

/// How much may wait in non-blocking mode; `None`: the instance waits.
fn buffer(options: &BTreeMap<String, String>) -> Result<Option<u64>> {
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return invalid(format!("logger: logging mode not supported: {mode}"));
    }
    let size = options.get("max-buffer-size");
    if mode != "non-blocking" {
        return match size {
            None => Ok(None),
            Some(_) => invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
                    .to_owned(),
            ),
        };
    }
    let Some(size) = size else {
        return Ok(Some(BUFFER));
    };
    size::parse(size)
        .map(Some)
        .map_err(|reason| Error::Invalid(format!("error parsing option max-buffer-size: {reason}")))
}

/// Go's `strconv.Atoi`.
fn whole_number(text: &str) -> Result<i64, String> {
    use std::num::IntErrorKind as Kind;
    text.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            Kind::PosOverflow | Kind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {}: {reason}", go::quote(text))
    })
}

/// Go's `strconv.ParseBool`.
fn truth(text: &str) -> Result<bool, String> {
    go::parse_bool(text).ok_or_else(|| {
        format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            go::quote(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: LogDriver, options: &[&str]) -> LogConfig {
        let pair = |text: &&str| {
            let (key, value) = text.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        LogConfig {
            driver,
            options: options.iter().map(pair).collect(),
        }
    }

    #[test]
    fn refusals_are_dockers() {
        use LogDriver::{JsonFile, K8sFile, Local, None};
        for (driver, options, message) in [
            (
                JsonFile,
                &["foo=1"][..],
                "unknown log opt 'foo' for json-file log driver",
            ),
            (
                K8sFile,
                &["foo=1"],
                "unknown log opt 'foo' for k8s-file log driver",
            ),
            (
                Local,
                &["foo=1"],
                "unknown log opt 'foo' for log driver local",
            ),
            (
                Local,
                &["labels=a"],
                "unknown log opt 'labels' for log driver local",
            ),
            (
                None,
                &["max-size=1"],
                "invalid logging opts for driver none",
            ),
            (
                JsonFile,
                &["mode=foo"],
                "logger: logging mode not supported: foo",
            ),
            (
                JsonFile,
                &["max-buffer-size=4m"],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                JsonFile,
                &["mode=non-blocking", "max-buffer-size=foo"],
                "error parsing option max-buffer-size: invalid size: 'foo'",
            ),
            (
                JsonFile,
                &["max-size=foo"],
                "failed to initialize logging driver: invalid size: 'foo'",
            ),
            (
                JsonFile,
                &["max-size=0"],
                "failed to initialize logging driver: max-size must be a positive number",
            ),
            (
                JsonFile,
                &["max-file=0"],
                "failed to initialize logging driver: max-file cannot be less than 1",
            ),
            (
                JsonFile,
                &["max-file=x"],
                "failed to initialize logging driver: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                JsonFile,
                &["compress=x"],
                "failed to initialize logging driver: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                JsonFile,
                &["compress=true", "max-size=1k"],
                "failed to initialize logging driver: compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            (
                Local,
                &["max-size=foo"],
                "failed to initialize logging driver: invalid value for max-size: foo: invalid size: 'foo'",
            ),
            (
                Local,
                &["compress=true", "max-file=1"],
                "failed to initialize logging driver: compression cannot be enabled when max file count is 1",
            ),
            (
                JsonFile,
                &["tag={{"],
                "failed to initialize logging driver: template: log-tag:1: unclosed action",
            ),
            (
                JsonFile,
                &["tag={{.Foo}}"],
                "failed to initialize logging driver: template: log-tag:1:2: executing \"log-tag\" at <.Foo>: can't evaluate field Foo in type *logger.Info",
            ),
        ] {
            let error = check(&config(driver, options)).unwrap_err().to_string();
            assert_eq!(error, message, "{options:?}");
        }
        let error = check(&config(JsonFile, &["labels-regex=("]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("failed to initialize logging driver: error parsing regexp: "),
            "{error}"
        );
    }

    #[test]
    fn sizes_and_counts_are_bounded_where_nobody_says() {
        use LogDriver::{JsonFile, K8sFile, Local};
        for (driver, options, max_size, max_files, compress) in [
            (K8sFile, &[][..], 10 << 20, 5, false),
            (K8sFile, &["max-size=1m"], 1 << 20, 5, false),
            (JsonFile, &[], 10_000_000, 5, false),
            (JsonFile, &["max-size=10m"], 10_000_000, 1, false),
            (
                JsonFile,
                &["max-size=1k", "max-file=+3", "compress=1"],
                1000,
                3,
                true,
            ),
            (Local, &[], 20 << 20, 5, true),
            (Local, &["max-file=1"], 20 << 20, 1, false),
            (Local, &["compress=false"], 20 << 20, 5, false),
        ] {
            let expected = Files {
                max_size,
                max_files,
                compress,
            };
            assert_eq!(
                files(&config(driver, options)).unwrap(),
                expected,
                "{options:?}"
            );
        }
    }
}
