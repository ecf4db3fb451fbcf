//! How a pull is told: bars per layer on a terminal, lines elsewhere, in
//! Docker's words.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cove_engine::{LayerState, Progress, PullEvent};

use cove_docker::human;

/// Bars are redrawn at most so often.
const REDRAW: Duration = Duration::from_millis(50);

/// What is shown of a pull.
pub(crate) struct Report {
    screen: Mutex<Screen>,
}

struct Screen {
    out: Box<dyn Write + Send>,
    bars: bool,
    quiet: bool,
    /// Whether the image is announced as missing, as `run` does.
    announce: bool,
    columns: usize,
    layers: Vec<(String, Layer)>,
    index: HashMap<String, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Layer {
    state: LayerState,
    drawn: Instant,
}

impl Report {
    /// For `pull`: on standard output.
    pub(crate) fn of_pull(quiet: bool) -> Self {
        Self::new(
            Box::new(io::stdout()),
            io::stdout().is_terminal(),
            quiet,
            false,
        )
    }

    /// For `run` and `create`: on standard error, their answer is on standard output.
    pub(crate) fn of_run(quiet: bool) -> Self {
        Self::new(
            Box::new(io::stderr()),
            io::stderr().is_terminal(),
            quiet,
            true,
        )
    }

    fn new(out: Box<dyn Write + Send>, bars: bool, quiet: bool, announce: bool) -> Self {
        let columns = crate::output::columns();
        let (layers, index) = (Vec::new(), HashMap::new());
        Self {
            screen: Mutex::new(Screen {
                out,
                bars,
                quiet,
                announce,
                columns,
                layers,
                index,
            }),
        }
    }
}

impl Progress for Report {
    fn event(&self, event: &PullEvent<'_>) {
        let Ok(mut screen) = self.screen.lock() else {
            return;
        };
        if screen.quiet {
            return;
        }
        // A screen that is gone does not stop a pull.
        screen.show(event).unwrap_or(());
    }
}

impl Screen {
    fn show(&mut self, event: &PullEvent<'_>) -> io::Result<()> {
        match *event {
            PullEvent::Missing { reference } => {
                if self.announce {
                    writeln!(self.out, "Unable to find image '{reference}' locally")?;
                }
                Ok(())
            }
            PullEvent::Resolved { repository, tag } => {
                self.layers.clear();
                self.index.clear();
                writeln!(self.out, "{tag}: Pulling from {repository}")
            }
            PullEvent::Layer { id, state } => self.layer(id, state),
            PullEvent::Done {
                digest,
                reference,
                newer,
            } => {
                writeln!(self.out, "Digest: {digest}")?;
                let what = if newer {
                    "Downloaded newer image"
                } else {
                    "Image is up to date"
                };
                writeln!(self.out, "Status: {what} for {reference}")
            }
        }
    }

    fn layer(&mut self, id: &str, state: LayerState) -> io::Result<()> {
        let now = Instant::now();
        let Some(&index) = self.index.get(id) else {
            self.index.insert(id.to_owned(), self.layers.len());
            self.layers
                .push((id.to_owned(), Layer { state, drawn: now }));
            if self.bars || !matches!(state, LayerState::Pulling { .. }) {
                return writeln!(self.out, "{id}: {}", self.describe(state));
            }
            return writeln!(self.out, "{id}: Pulling fs layer");
        };
        let before = self.layers[index].1;
        let same = std::mem::discriminant(&before.state) == std::mem::discriminant(&state);
        if same && (!self.bars || now.duration_since(before.drawn) < REDRAW) {
            return Ok(());
        }
        self.layers[index].1 = Layer { state, drawn: now };
        let text = self.describe(state);
        if !self.bars {
            // Without a terminal, one line at the start and one at the end will do.
            if matches!(state, LayerState::Pulling { .. } | LayerState::Waiting) {
                return Ok(());
            }
            return writeln!(self.out, "{id}: {text}");
        }
        let up = self.layers.len() - index;
        write!(self.out, "\x1b[{up}A\x1b[2K\r{id}: {text}\x1b[{up}B\r")?;
        self.out.flush()
    }

    fn describe(&self, state: LayerState) -> String {
        match state {
            LayerState::Exists => "Already exists".to_owned(),
            LayerState::Waiting => "Waiting".to_owned(),
            LayerState::Complete => "Pull complete".to_owned(),
            LayerState::Pulling { done, total } => {
                format!("Pulling {}", bar(done, total, self.columns))
            }
        }
    }
}

/// `[====>     ]  1.2MB/3.4MB`, as wide as there is room, at most fifty.
fn bar(done: u64, total: u64, columns: usize) -> String {
    let numbers = if total == 0 {
        human::size(done)
    } else {
        format!("{}/{}", human::size(done), human::size(total))
    };
    // Id, word, brackets and numbers take at most 52 columns.
    let width = columns.saturating_sub(53).min(50);
    if total == 0 || width < 10 {
        return numbers;
    }
    let share = u128::from(done.min(total)) * (width as u128) / u128::from(total);
    let filled = usize::try_from(share).unwrap_or(width);
    let head = if filled < width { ">" } else { "" };
    let empty = width - filled - head.len();
    format!(
        "[{}{head}{}]  {numbers}",
        "=".repeat(filled),
        " ".repeat(empty)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn play(bars: bool, quiet: bool) -> String {
        let shared = Shared::default();
        let report = Report::new(Box::new(shared.clone()), bars, quiet, true);
        let digest = cove_model::Digest::from_bytes([1; 32]);
        for event in [
            PullEvent::Missing {
                reference: "busybox:latest",
            },
            PullEvent::Resolved {
                repository: "library/busybox",
                tag: "latest",
            },
            PullEvent::Layer {
                id: "aaaaaaaaaaaa",
                state: LayerState::Exists,
            },
            PullEvent::Layer {
                id: "bbbbbbbbbbbb",
                state: LayerState::Pulling {
                    done: 0,
                    total: 100,
                },
            },
            PullEvent::Layer {
                id: "bbbbbbbbbbbb",
                state: LayerState::Pulling {
                    done: 50,
                    total: 100,
                },
            },
            PullEvent::Layer {
                id: "bbbbbbbbbbbb",
                state: LayerState::Complete,
            },
            PullEvent::Done {
                digest: &digest,
                reference: "busybox:latest",
                newer: true,
            },
        ] {
            report.event(&event);
        }
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        let digest = cove_model::Digest::from_bytes([1; 32]);
        assert_eq!(
            play(false, false),
            format!(
                "Unable to find image 'busybox:latest' locally\n\
                 latest: Pulling from library/busybox\n\
                 aaaaaaaaaaaa: Already exists\n\
                 bbbbbbbbbbbb: Pulling fs layer\n\
                 bbbbbbbbbbbb: Pull complete\n\
                 Digest: {digest}\n\
                 Status: Downloaded newer image for busybox:latest\n"
            )
        );
        assert_eq!(play(false, true), "");
    }

    #[test]
    fn bars_are_redrawn_in_place() {
        let text = play(true, false);
        assert!(
            text.contains("\x1b[1A\x1b[2K\rbbbbbbbbbbbb: Pull complete\x1b[1B\r"),
            "{text:?}"
        );
        assert_eq!(bar(50, 100, 73), "[==========>         ]  50B/100B");
        assert_eq!(bar(100, 100, 63), "[==========]  100B/100B");
        assert_eq!(bar(7, 0, 80), "7B");
        assert_eq!(bar(5, 10, 40), "5B/10B");
    }
}
