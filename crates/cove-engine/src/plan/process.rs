//! What the kernel is told of a program besides what it runs.

use cove_sys::ns;
use cove_sys::sysctl::Sysctl;

use crate::error::{Result, invalid};
use crate::request::CreateRequest;
use crate::spec;

/// What an instance may ask of its own processes and namespaces.
pub(super) fn check(request: &CreateRequest) -> Result<()> {
    for limit in &request.ulimits {
        spec::rlimit_type(&limit.name)?;
        if limit.soft > limit.hard {
            return invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            ));
        }
    }
    for name in request.sysctls.keys() {
        if !sysctl_is_own(name) {
            return invalid(format!("sysctl '{name}' is not allowed"));
        }
    }
    request
        .device_rules
        .iter()
        .try_for_each(|rule| spec::device_rule(rule).map(drop))
}

/// Whether a kernel parameter belongs to those namespaces of an instance for
/// which Docker takes some.
#[must_use]
pub fn sysctl_is_own(name: &str) -> bool {
    Sysctl::parse(name).is_some_and(|sysctl| [ns::NET, ns::IPC].contains(&sysctl.namespace))
}

/// The out-of-memory killer's preference.
pub(super) fn oom_score_adj(value: i64) -> Result<Option<i32>> {
    let known = i32::try_from(value)
        .ok()
        .filter(|value| (-1000..=1000).contains(value));
    match known {
        Some(value) => Ok((value != 0).then_some(value)),
        None => invalid(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        )),
    }
}
