//! Limits per process as `nofile=1024:4096`.

use cove_model::instance::Ulimit;

const NAMES: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit; −1 is unlimited.
///
/// # Errors
/// go-units' words.
pub(crate) fn parse(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = values.split(':').collect();
    let (soft, hard) = match parts.as_slice() {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        let soft = if soft == -1 {
            "soft: -1 (unlimited), hard:".to_owned()
        } else {
            format!("{soft} >")
        };
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} {hard}"
        ));
    }
    let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    Ok(Ulimit {
        name: name.to_owned(),
        soft: limit(soft),
        hard: limit(hard),
    })
}

fn number(text: &str) -> Result<i64, String> {
    let value = cove_model::go::parse_decimal_int(text)?;
    if value < -1 {
        Err(format!("invalid ulimit value: {text}"))
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = |soft, hard| Ulimit {
            name: "nofile".to_owned(),
            soft,
            hard,
        };
        assert_eq!(parse("nofile=5"), Ok(limit(5, 5)));
        assert_eq!(parse("nofile=5:10"), Ok(limit(5, 10)));
        assert_eq!(parse("nofile=5:-1"), Ok(limit(5, u64::MAX)));
        for (text, message) in [
            ("x", "invalid ulimit argument: x"),
            ("foo=3", "invalid ulimit type: foo"),
            (
                "nofile=5:3",
                "ulimit soft limit must be less than or equal to hard limit: 5 > 3",
            ),
            (
                "nofile=-1:3",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 3",
            ),
            (
                "nofile=a",
                "strconv.ParseInt: parsing \"a\": invalid syntax",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }
}
