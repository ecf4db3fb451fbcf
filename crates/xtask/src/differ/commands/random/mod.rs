//! Command lines at random: from a seed, `create` and `run` with flags that are
//! right or slightly wrong, on Cove and on Docker.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use testkit::rng::Rng;

use self::words::Line;
use super::case::{Case, Compared, Peer};
use super::known::{self, Known};
use super::world::{Answer, Stage};

/// What the program in a `run` tells of itself.
const PROBE: &str = "id; pwd; hostname; env | sort; umask; ulimit -Sn; ulimit -Hn; ulimit -Sc; \
    grep -E '^(Cap|NoNewPrivs|Seccomp:|Cpus_allowed_list)' /proc/self/status; \
    cat /proc/self/oom_score_adj; grep -E ' /(mnt|data|t|dev/shm)' /proc/mounts | cut -d' ' -f2-4; \
    cat /proc/sys/kernel/msgmax; grep -E ' (db|a.b)' /etc/hosts; :";

/// Runs `count` lines of a seed; what they found, in words, and whether that is
/// nothing.
pub(crate) fn run(seed: u64, count: usize, jobs: usize) -> Result<(String, bool), String> {
    let stage = Stage::new()?;
    stage.prepare(Peer::Docker)?;
    let known = known::all()?;
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<String, (usize, String)>> = Mutex::default();
    let counts = Mutex::new((0_usize, 0_usize));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return Ok::<(), String>(());
                        }
                        // Each line has a stream of its own, whoever runs it.
                        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(n as u64));
                        let line = Line::compose(&mut rng);
                        let mut trial = Trial {
                            stage: &stage,
                            known: &known,
                            number: n,
                            tries: 0,
                        };
                        let (accepted, differs) = trial.differs(&line)?;
                        {
                            let mut counts = counts.lock().map_err(|_| "a worker failed")?;
                            counts.0 += usize::from(accepted);
                            counts.1 += usize::from(!differs.is_empty());
                        }
                        if differs.is_empty() {
                            continue;
                        }
                        let (line, differs) = trial.shrink(line, differs)?;
                        let key = format!("{} {:?}", line.names(), signs(&differs));
                        let mut text = format!("  $ docker {}\n", line.text());
                        for one in &differs {
                            let _infallible = writeln!(text, "    {one}");
                        }
                        let mut found = found.lock().map_err(|_| "a worker failed")?;
                        found.entry(key).or_insert((0, text)).0 += 1;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker failed".to_owned())??;
        }
        Ok::<(), String>(())
    })?;
    let found = found.into_inner().map_err(|_| "a worker failed")?;
    let (accepted, differ) = counts.into_inner().map_err(|_| "a worker failed")?;
    let mut text = String::new();
    for (times, example) in found.values() {
        let _infallible = write!(text, "{times} times\n{example}");
    }
    let _infallible = write!(
        text,
        "seed {seed}: {count} command lines, {accepted} accepted by Docker, {differ} differ, in {} ways",
        found.len()
    );
    Ok((text, found.is_empty()))
}

struct Trial<'a> {
    stage: &'a Stage,
    known: &'a [Known],
    number: usize,
    tries: usize,
}

impl Trial<'_> {
    /// Whether Docker accepts the line, and what differs.
    fn differs(&mut self, line: &Line) -> Result<(bool, Vec<String>), String> {
        let (theirs, ours) = self.stage.worlds(Peer::Docker)?;
        self.tries += 1;
        let case = Case {
            name: format!("random-{}-{}", self.number, self.tries),
            peer: Peer::Docker,
            compared: Compared::default(),
            setup: String::new(),
            command: script(line),
        };
        let (peer, cove) = (theirs.answer(&case), ours.answer(&case));
        let accepted = peer.status == Some(0);
        if peer.status != cove.status
            && let Some(flag) = refused(self.known, line, &peer, &cove)
        {
            // One of the two has not looked at the rest of the line.
            let rest = line.without(&flag);
            let (_, differs) = self.differs(&rest)?;
            return Ok((accepted, differs));
        }
        Ok((accepted, self.compare(line, &peer, &cove)))
    }

    fn compare(&self, line: &Line, peer: &Answer, cove: &Answer) -> Vec<String> {
        if peer.status != cove.status {
            let status = |answer: &Answer| answer.status.unwrap_or(-1);
            let mut all = vec![format!(
                "status: docker {}, cove {}",
                status(peer),
                status(cove)
            )];
            for (who, answer) in [("docker", peer), ("cove", cove)] {
                all.extend(answer.err.first().map(|line| format!("{who}: {line}")));
            }
            return all;
        }
        if peer.status != Some(0) {
            return Vec::new();
        }
        let facts = |answer: &Answer| -> BTreeSet<String> {
            if line.create {
                fields(&answer.out.join("\n"))
            } else {
                answer.out.iter().cloned().collect()
            }
        };
        let (theirs, ours) = (facts(peer), facts(cove));
        let told = |(sign, fact): (char, &String)| {
            let field = fact.split_once('=').map_or(fact.as_str(), |(name, _)| name);
            (!self.listed(&format!("field {field}"))).then(|| format!("{sign} {fact}"))
        };
        let minus = theirs.difference(&ours).map(|fact| ('-', fact));
        let plus = ours.difference(&theirs).map(|fact| ('+', fact));
        minus.chain(plus).filter_map(told).collect()
    }

    fn listed(&self, what: &str) -> bool {
        self.known.iter().any(|k| k.random() && k.covers(what))
    }

    /// The line with the fewest flags that still differs.
    fn shrink(&mut self, line: Line, differs: Vec<String>) -> Result<(Line, Vec<String>), String> {
        let (mut line, mut differs) = (line, differs);
        let mut n = 0;
        while n < line.flags.len() && line.flags.len() > 1 {
            let mut smaller = line.clone();
            let _dropped = smaller.flags.remove(n);
            let (_, still) = self.differs(&smaller)?;
            if still.is_empty() {
                n += 1;
            } else {
                (line, differs) = (smaller, still);
            }
        }
        Ok((line, differs))
    }
}

/// The flag whose listed refusal by one of the two is why they end differently.
fn refused(known: &[Known], line: &Line, peer: &Answer, cove: &Answer) -> Option<String> {
    let says = |words: &str| {
        [peer, cove]
            .iter()
            .filter(|answer| answer.status != Some(0))
            .any(|answer| answer.err.iter().any(|line| line.contains(words)))
    };
    let has = |name: &str| line.flags.iter().any(|(flag, _)| *flag == name);
    known
        .iter()
        .filter_map(Known::refusal)
        .find(|(flag, words)| has(flag) && says(words))
        .map(|(flag, _)| flag.to_owned())
}

/// What is different, without the values.
fn signs(differs: &[String]) -> Vec<&str> {
    let name = |text: &str| text.find(['=', ':']).unwrap_or(text.len());
    differs.iter().map(|one| &one[..name(one)]).collect()
}

/// One script (Docker has the variables in no order): the line, then what became of it.
fn script(line: &Line) -> String {
    if line.create {
        format!(
            "docker {} >/dev/null || exit $?; docker inspect $C | jq -c '.[0] | {{Config, HostConfig}} | .Config.Env |= sort'",
            line.text()
        )
    } else {
        format!("docker {} sh -c \"{PROBE}\"", line.text()).replace('\n', " ")
    }
}

/// The leaves of a document as `path=value`.
fn fields(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Ok(document) = serde_json::from_str::<Value>(text) {
        leaves("", &document, &mut all);
    }
    all
}

fn leaves(path: &str, value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{key}"), value, all);
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            let _new = all.insert(format!("{path}={value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_which_lines() {
        let line = |seed| Line::compose(&mut Rng::new(seed)).text();
        assert_eq!(line(7), line(7));
        assert_ne!(line(7), line(8));
    }

    #[test]
    fn a_listed_refusal_explains_a_line_with_other_flags() {
        let known = known::parse("flag --net says no net :: later :: because").unwrap();
        let line = Line::of(&[("--tty", "1"), ("--net", "x"), ("--net", "y")]);
        let answer = |status, err: &str| Answer {
            status: Some(status),
            out: Vec::new(),
            err: vec![err.to_owned()],
        };
        let accepted = answer(0, "");
        let flag = |cove: &Answer| refused(&known, &line, &accepted, cove);
        assert_eq!(flag(&answer(1, "no net there")).as_deref(), Some("--net"));
        assert_eq!(line.without("--net").names(), "--tty");
        // Other words, and words of who accepts, explain nothing.
        assert_eq!(flag(&answer(1, "no tty")), None);
        assert_eq!(flag(&answer(0, "no net there")), None);
        let line = Line::of(&[("--tty", "1")]);
        let cove = answer(1, "no net there");
        assert_eq!(refused(&known, &line, &accepted, &cove), None);
    }

    #[test]
    fn a_document_has_leaves() {
        let all = fields(r#"{"a":{"b":1,"c":[2]},"d":{}}"#);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(all, ["a.b=1", "a.c=[2]", "d={}"]);
    }
}
