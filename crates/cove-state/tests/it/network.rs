//! A resource as another crate would add one: a type and two directory names.

use cove_model::{InstanceId, Resource};
use cove_state::Collection;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) id: InstanceId,
    pub(crate) name: String,
    pub(crate) gateway: String,
}

impl Resource for Network {
    type Id = InstanceId;

    const KIND: &'static str = "network";
    const DIRECTORY: &'static str = "networks";
    const NAMES: &'static str = "network-names";
    const VERSION: u32 = 3;

    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }

    fn is_transient(&self) -> bool {
        true
    }
}

pub(crate) fn id(number: u64) -> InstanceId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    InstanceId::from_random(bytes)
}

#[test]
fn another_resource_has_names_changes_and_words_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let networks = Collection::<Network>::open(root.path()).unwrap();
    let reservation = networks.reserve(id(1), Some("lan")).unwrap();
    let lan = Network {
        id: id(1),
        name: reservation.name().to_owned(),
        gateway: "10.0.0.1".to_owned(),
    };
    reservation.commit(&lan).unwrap();
    assert_eq!(networks.find("lan").unwrap(), lan);
    let change = |network: &mut Network| "10.0.0.2".clone_into(&mut network.gateway);
    networks.lock(&id(1)).unwrap().change(change).unwrap();
    networks.rename(&id(1), "wan").unwrap();
    let wan = networks.find("wan").unwrap();
    assert_eq!(
        (wan.name.as_str(), wan.gateway.as_str()),
        ("wan", "10.0.0.2")
    );
    let absent = networks.find("lan").unwrap_err().to_string();
    assert_eq!(absent, "No such network: lan");
    // An instance may be called so, too.
    let instances = Collection::<cove_model::instance::Record>::open(root.path()).unwrap();
    assert_eq!(instances.reserve(id(2), Some("wan")).unwrap().name(), "wan");
}
