//! How a fetch goes on, on standard error: a line that writes over itself on a terminal, one plain
//! line a file elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::model::size;
use crate::hub::{Step, Watcher};

/// Between two writes of the same line; more often only flickers.
const PAUSE: Duration = Duration::from_millis(100);

/// Tells people of a fetch.
pub(super) fn watcher() -> Watcher {
    let terminal = std::io::stderr().is_terminal();
    let line = Mutex::new(Line::default());
    Arc::new(move |step: Step<'_>| {
        // A line that was torn by a panic elsewhere is still a line.
        let mut line = line.lock().unwrap_or_else(|torn| torn.into_inner());
        if let Some(text) = line.text(step, terminal, Instant::now()) {
            // Nobody can be told that stderr cannot be written to.
            let _ = write!(std::io::stderr(), "{text}");
        }
    })
}

/// The file under way.
#[derive(Default)]
struct Line {
    /// When it began.
    began: Option<Instant>,
    /// When it was written last.
    written: Option<Instant>,
}

impl Line {
    fn text(&mut self, step: Step<'_>, terminal: bool, now: Instant) -> Option<String> {
        match step {
            Step::Loading { file, done, total } if terminal => {
                let began = *self.began.get_or_insert(now);
                if self.written.is_some_and(|at| now - at < PAUSE) {
                    return None;
                }
                self.written = Some(now);
                let rate = rate(done, now - began);
                // `ESC [K` clears what a longer line left behind.
                Some(format!("\r{file}  {}{rate}\x1b[K", share(done, total)))
            }
            Step::Loading { .. } => None,
            Step::Whole {
                file,
                bytes,
                cached,
            } => {
                *self = Self::default();
                let how = if cached {
                    "was in the cache"
                } else {
                    "fetched"
                };
                let (start, end) = if terminal { ("\r", "\x1b[K") } else { ("", "") };
                Some(format!("{start}{file}  {}, {how}{end}\n", size(bytes)))
            }
        }
    }
}

fn share(done: u64, total: u64) -> String {
    match total {
        0 => size(done),
        total => format!("{} of {}", size(done), size(total)),
    }
}

/// Nothing until there is something to divide by.
fn rate(done: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.5 {
        return String::new();
    }
    format!(", {}/s", size((done as f64 / seconds) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_it_move_and_a_log_sees_it_done() {
        let now = Instant::now();
        let file = "model.safetensors";
        let loading = |done| Step::Loading {
            file,
            done,
            total: 45_600_000,
        };
        let whole = Step::Whole {
            file,
            bytes: 45_600_000,
            cached: false,
        };
        let mut line = Line::default();
        let mut see = |step, after| line.text(step, true, now + Duration::from_millis(after));
        assert_eq!(
            see(loading(0), 0).unwrap(),
            "\rmodel.safetensors  0 B of 45.6 MB\x1b[K"
        );
        assert_eq!(see(loading(9), 50), None, "too soon");
        let moving = see(loading(10_000_000), 2_000).unwrap();
        assert_eq!(
            moving,
            "\rmodel.safetensors  10.0 MB of 45.6 MB, 5.0 MB/s\x1b[K"
        );
        assert!(
            see(whole, 2_010)
                .unwrap()
                .ends_with("45.6 MB, fetched\x1b[K\n")
        );
        let mut log = Line::default();
        assert_eq!(log.text(loading(9), false, now), None);
        let done = log.text(whole, false, now).unwrap();
        assert_eq!(done, "model.safetensors  45.6 MB, fetched\n");
    }
}
