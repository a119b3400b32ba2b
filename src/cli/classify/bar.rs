//! How far a run is, on standard error where that is a terminal: what is done, how fast, and how
//! long it may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::warn;

/// Counts of a run, and the bar that shows them.
pub(super) struct Progress {
    bar: ProgressBar,
    read: Arc<AtomicU64>,
    started: Instant,
    /// Answered in this run.
    pub answered: usize,
    /// Failed in this run.
    pub failed: usize,
    /// Answered in an earlier one.
    pub skipped: usize,
}

impl Progress {
    /// A bar over `total` bytes, of which `read` counts those done.
    pub fn new(shown: bool, total: Option<u64>, read: Arc<AtomicU64>) -> Self {
        let bar = if shown {
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5))
        } else {
            ProgressBar::hidden()
        };
        let template = match total {
            Some(_) => "{bar:24} {percent:>3} %  {msg}, {eta} left",
            None => "{spinner} {msg}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        if shown {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Self {
            bar,
            read,
            started: Instant::now(),
            answered: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// One article is answered.
    pub fn answered(&mut self) {
        self.answered += 1;
        self.show();
    }

    /// One article failed, and why.
    pub fn failed(&mut self, id: &str, message: &str) {
        self.failed += 1;
        self.say(&format!("{id}: {message}"));
        self.show();
    }

    /// A line above the bar.
    pub fn say(&self, message: &str) {
        self.bar.suspend(|| warn(message));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The counts in words.
    pub fn counts(&self) -> String {
        let mut words = plural(self.answered, "article");
        let seconds = self.started.elapsed().as_secs_f64();
        if seconds > 0.5 {
            words.push_str(&format!(
                ", {:.1}/s",
                (self.answered + self.failed) as f64 / seconds
            ));
        }
        if self.skipped > 0 {
            words.push_str(&format!(", {} answered before", self.skipped));
        }
        if self.failed > 0 {
            words.push_str(&format!(", {} failed", self.failed));
        }
        words
    }

    fn show(&self) {
        if !self.bar.is_hidden() {
            self.bar.set_position(self.read.load(Ordering::Relaxed));
            self.bar.set_message(self.counts());
        }
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_say_what_there_is() {
        let mut progress = Progress::new(false, None, Arc::default());
        progress.answered();
        assert_eq!(progress.counts(), "1 article");
        (progress.answered, progress.failed, progress.skipped) = (2, 1, 5);
        assert_eq!(progress.counts(), "2 articles, 5 answered before, 1 failed");
    }
}
