//! `Config`: how a container runs wherever it does, and what its image says of it.

use std::collections::BTreeMap;

use cove_model::image::{Empty, RunConfig};
use cove_model::instance::Record;
use cove_model::nullable;
use serde::Deserialize;

use crate::document::{document, list, map};

document! {
    /// Docker's `Config` of a container or an image.
    pub struct Config {
        hostname: String = "Hostname",
        domainname: String = "Domainname",
        user: String = "User",
        attach_stdin: bool = "AttachStdin",
        attach_stdout: bool = "AttachStdout",
        attach_stderr: bool = "AttachStderr",
        exposed_ports: Option<BTreeMap<String, Empty>> = "ExposedPorts" omitempty,
        tty: bool = "Tty",
        open_stdin: bool = "OpenStdin",
        stdin_once: bool = "StdinOnce",
        env: Option<Vec<String>> = "Env",
        cmd: Option<Vec<String>> = "Cmd",
        healthcheck: Option<Healthcheck> = "Healthcheck" omitempty,
        args_escaped: bool = "ArgsEscaped" omitempty,
        image: String = "Image",
        volumes: Option<BTreeMap<String, Empty>> = "Volumes",
        working_dir: String = "WorkingDir",
        entrypoint: Option<Vec<String>> = "Entrypoint",
        network_disabled: bool = "NetworkDisabled" omitempty,
        mac_address: String = "MacAddress" omitempty,
        on_build: Option<Vec<String>> = "OnBuild",
        labels: BTreeMap<String, String> = "Labels",
        stop_signal: String = "StopSignal" omitempty,
        stop_timeout: Option<i64> = "StopTimeout" omitempty,
        shell: Option<Vec<String>> = "Shell" omitempty,
    }

    /// How health is checked; times in nanoseconds.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    pub struct Healthcheck {
        test: Option<Vec<String>> = "Test" omitempty,
        interval: i64 = "Interval" omitempty,
        timeout: i64 = "Timeout" omitempty,
        start_period: i64 = "StartPeriod" omitempty,
        start_interval: i64 = "StartInterval" omitempty,
        retries: i64 = "Retries" omitempty,
    }
}

impl Config {
    /// What an image, or the plan of a container, says.
    pub(crate) fn of(run: &RunConfig) -> Self {
        let healthcheck = run.healthcheck.clone();
        Self {
            user: run.user.clone(),
            exposed_ports: map(&run.exposed_ports),
            env: list(&run.env),
            cmd: run.cmd.clone(),
            // What makes no sense checks nothing.
            healthcheck: healthcheck.map(|check| nullable::from_value(check).unwrap_or_default()),
            volumes: map(&run.volumes),
            working_dir: run.working_dir.clone(),
            entrypoint: run.entrypoint.clone(),
            on_build: run.on_build.clone(),
            labels: run.labels.clone(),
            stop_signal: run.stop_signal.clone().unwrap_or_default(),
            shell: run.shell.clone(),
            ..Self::default()
        }
    }

    pub(super) fn of_container(record: &Record) -> Self {
        let spec = &record.spec;
        Self {
            hostname: spec.hostname.clone(),
            domainname: spec.domainname.clone(),
            attach_stdin: spec.attach.stdin,
            attach_stdout: spec.attach.stdout,
            attach_stderr: spec.attach.stderr,
            tty: spec.terminal,
            open_stdin: spec.open_stdin,
            stdin_once: spec.stdin_once,
            image: record.image.name.clone(),
            stop_timeout: spec.stop_timeout,
            ..Self::of(&spec.run)
        }
    }
}
