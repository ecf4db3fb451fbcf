//! What the types of dockerd 20.10 have and the documents of `inspect` do not
//! show: fields that are left out while they are empty, fields of old that
//! newer clients show no more, and Go's names where JSON has others. Templates
//! find them.

use cove_model::image::RunConfig;
use serde_json::{Map, Value, json};

use super::Frame;

/// Go's names of fields that JSON calls otherwise.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("Id", "ID"),
    ("CpuCount", "CPUCount"),
    ("CpuPercent", "CPUPercent"),
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuShares", "CPUShares"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
    ("NanoCpus", "NanoCPUs"),
];

/// Of the document of a container.
pub(crate) fn of_container(document: &Value) -> Value {
    let host_config = json!({
        "Annotations": null,
        "Init": null,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "Mounts": null,
        "StorageOpt": null,
        "Sysctls": null,
        "Tmpfs": null,
    });
    let hidden = json!({
        "Config": config(&document["Config"]),
        "HostConfig": with_other_names(host_config, &document["HostConfig"]),
        "Mounts": [{"Driver": "", "Name": ""}],
        "Node": null,
        "SizeRootFs": null,
        "SizeRw": null,
        "State": {"Health": null},
    });
    with_other_names(hidden, document)
}

/// Of the document of an image.
pub(crate) fn of_image(document: &Value) -> Value {
    let hidden = json!({
        "Config": config(&document["Config"]),
        "Container": "",
        "ContainerConfig": super::config(&RunConfig::default(), &Frame::default()),
        "OsVersion": "",
        "RootFS": {"BaseLayer": "", "Layers": null},
        "Variant": "",
        "VirtualSize": document["Size"],
    });
    with_other_names(hidden, document)
}

fn config(document: &Value) -> Value {
    let healthcheck = if document["Healthcheck"].is_object() {
        json!({"Interval": 0, "Retries": 0, "StartPeriod": 0, "Test": null, "Timeout": 0})
    } else {
        Value::Null
    };
    json!({
        "ArgsEscaped": false,
        "ExposedPorts": null,
        "Healthcheck": healthcheck,
        "MacAddress": "",
        "NetworkDisabled": false,
        "Shell": null,
        "StopSignal": "",
        "StopTimeout": null,
    })
}

/// The same, and the fields of `document` under their other names.
fn with_other_names(hidden: Value, document: &Value) -> Value {
    let others = OTHER_NAMES.iter().filter_map(|&(name, other)| {
        let value = document.get(name)?;
        Some((other.to_owned(), value.clone()))
    });
    let mut fields: Map<String, Value> = others.collect();
    if let Value::Object(hidden) = hidden {
        fields.extend(hidden);
    }
    Value::Object(fields)
}
