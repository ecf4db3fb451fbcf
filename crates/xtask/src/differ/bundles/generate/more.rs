//! What was added to trials after they had been tried by the thousand: drawn by
//! dice of their own, so that the rest of a trial stays what it was.

use serde_json::{Value, json};

use super::{Dice, Ground};

/// Where a mount shows what root owns as user 1000's.
pub(in super::super) const IDMAPPED: &str = "/idmapped";

/// Adds to a trial what engines ask for more rarely.
pub(super) fn add(trial: &mut Value, dice: &mut Dice, ground: &Ground) {
    if dice.chance(8) {
        trial["caller"]["cwd"] = dice.text(&["/", "/tmp", "/usr/share"]);
    }
    let linux = &mut trial["config"]["linux"];
    let has = |linux: &Value, kind: &str| {
        let spaces = linux["namespaces"].as_array();
        spaces.into_iter().flatten().any(|s| s["type"] == *kind)
    };
    // A time namespace that another process made, with its clocks.
    if dice.chance(4)
        && !has(linux, "time")
        && !has(linux, "user")
        && let Some(spaces) = linux["namespaces"].as_array_mut()
    {
        spaces.push(json!({"type": "time", "path": format!("{}/time", ground.joined)}));
    }
    if dice.chance(6) {
        linux["resources"]["blockIO"] = dice.pick(&[
            json!({"throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 1_048_576}]}),
            json!({"throttleWriteIOPSDevice": [{"major": 7, "minor": 0, "rate": 50}]}),
        ]);
    }
    if dice.chance(6)
        && let Some(mounts) = trial["config"]["mounts"].as_array_mut()
    {
        let mappings = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
        let kind = dice.pick(&["idmap", "idmap", "ridmap"]);
        mounts.push(json!({
            "destination": IDMAPPED,
            "type": "bind",
            "source": format!("{}/source/tree", ground.world),
            "options": ["rbind", kind],
            "uidMappings": mappings,
            "gidMappings": mappings,
        }));
    }
    let process = &mut trial["config"]["process"];
    if process["terminal"] != json!(true) && dice.chance(10) {
        if dice.chance(30) {
            process["execCPUAffinity"] = dice.pick(&[
                json!({"initial": "0", "final": "1"}),
                json!({"final": "0"}),
                json!({"initial": "0"}),
            ]);
        }
        trial["life"] = json!("exec");
    }
}
