//! The state in which a runtime is called: what a shell, nohup, systemd or a
//! careless daemon may hand on.

use serde_json::{Map, Value, json};

use super::Dice;

/// Some of what a process inherits.
pub(super) fn caller(dice: &mut Dice) -> Value {
    let mut all = Map::new();
    if dice.chance(60) {
        return Value::Object(all);
    }
    let mut put = |dice: &mut Dice, percent, key: &str, values: &[Value]| {
        if dice.chance(percent) {
            all.insert(key.into(), dice.pick(values));
        }
    };
    put(
        dice,
        30,
        "umask",
        &[json!("077"), json!("000"), json!("027")],
    );
    put(
        dice,
        25,
        "ignore",
        &[json!(["HUP"]), json!(["INT", "QUIT"]), json!(["CHLD"])],
    );
    put(
        dice,
        25,
        "block",
        &[json!(["USR1"]), json!(["TERM", "CHLD"])],
    );
    put(dice, 20, "nice", &[json!("5"), json!("19")]);
    put(dice, 25, "cpus", &[json!("0"), json!("1")]);
    put(dice, 20, "files", &[json!("256"), json!("1000")]);
    put(dice, 20, "core", &[json!("0")]);
    put(dice, 25, "descriptors", &[json!([7]), json!([3, 9])]);
    put(dice, 15, "closed", &[json!([0]), json!([1]), json!([0, 2])]);
    put(
        dice,
        15,
        "env",
        &[json!("FROM_THE_CALLER=1"), json!("HOME=")],
    );
    put(dice, 10, "idle", &[json!(true)]);
    put(dice, 15, "oom", &[json!("300")]);
    Value::Object(all)
}

/// The shell's text that takes on this state and executes its arguments, with
/// what they print in files of `directory`.
pub(in super::super) fn script(caller: &Value, directory: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let words = |key: &str| -> Vec<String> {
        let all = caller[key].as_array();
        let word = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        all.into_iter().flatten().map(word).collect()
    };
    let mut line = |key: &str, how: &str| {
        if let Some(value) = caller[key].as_str() {
            let _infallible = writeln!(text, "{} || exit 90", how.replace('@', value));
        }
    };
    line("umask", "umask @");
    line("cwd", "cd @");
    line("files", "ulimit -n @");
    line("core", "ulimit -c @");
    line("oom", "echo @ >/proc/self/oom_score_adj");
    // What this program was given is none of the trial's.
    let mut before = String::from("env -i");
    // Options first: after a variable `env` would take them for more of them.
    for (key, option) in [("ignore", "--ignore-signal"), ("block", "--block-signal")] {
        let names = words(key);
        if !names.is_empty() {
            let _infallible = write!(before, " {option}={}", names.join(","));
        }
    }
    before.push_str(" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/caller");
    if let Some(variable) = caller["env"].as_str() {
        let _infallible = write!(before, " {variable}");
    }
    if let Some(nice) = caller["nice"].as_str() {
        let _infallible = write!(before, " nice -n {nice}");
    }
    if let Some(cpus) = caller["cpus"].as_str() {
        let _infallible = write!(before, " taskset -c {cpus}");
    }
    if caller["idle"] == json!(true) {
        before.push_str(" chrt -i 0");
    }
    text.push_str("exec ");
    text.push_str(&before);
    let _infallible = write!(
        text,
        " \"$@\" </dev/null >{directory}/out 2>{directory}/err"
    );
    for number in words("descriptors") {
        let _infallible = write!(text, " {number}</etc/hostname");
    }
    for number in words("closed") {
        let _infallible = write!(text, " {number}>&-");
    }
    text
}

#[cfg(test)]
mod tests {
    use testkit::cmd::Cmd;

    use super::*;

    #[test]
    fn what_a_caller_ignores_and_blocks_is_handed_on() {
        let there = tempfile::tempdir().unwrap();
        let directory = there.path().display().to_string();
        let caller = json!({"ignore": ["INT", "QUIT"], "block": ["USR1"], "env": "A=1"});
        let done = Cmd::new("sh")
            .args(["-c", &script(&caller, &directory), "caller"])
            .args(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"])
            .run();
        let seen = testkit::files::text(&there.path().join("out")).unwrap();
        assert!(done.success(), "{done}");
        let bits = |name: &str| {
            let line = seen.lines().find(|l| l.starts_with(name)).unwrap();
            u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
        };
        // 2, 3 and 10.
        assert_eq!(bits("SigIgn") & 0b110, 0b110, "{seen}");
        assert_eq!(bits("SigBlk"), 1 << 9, "{seen}");
    }
}
