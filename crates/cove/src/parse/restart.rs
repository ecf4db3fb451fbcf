//! Restart policies as `on-failure:3`.

use cove_engine::request::RestartRequest;

/// One policy; whether there is such a one is asked elsewhere.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(text: &str) -> Result<RestartRequest, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    // An empty count is none.
    let max_retries = match count {
        "" => 0,
        count => count.parse::<i32>().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    if name.is_empty() && !text.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    Ok(RestartRequest {
        name: name.to_owned(),
        max_retries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for (text, name, max_retries) in [
            ("", "", 0),
            ("always", "always", 0),
            ("on-failure:7", "on-failure", 7),
            ("on-failure:", "on-failure", 0),
            ("on-failure:-1", "on-failure", -1),
        ] {
            let wanted = RestartRequest {
                name: name.to_owned(),
                max_retries,
            };
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
        let integer = "invalid restart policy format: maximum retry count must be an integer";
        let nothing = "invalid restart policy format: no policy provided before colon";
        for (text, message) in [
            ("always:x", integer),
            (":x", integer),
            (":3", nothing),
            (":", nothing),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }
}
