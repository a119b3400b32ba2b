//! What is being measured, on standard error: a line that counts seconds on a terminal, nothing
//! elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::bench::Watch;

/// Between two writes of the line.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells people how the measuring goes on; clears its line when dropped.
pub(super) struct Progress {
    steps: Option<SyncSender<(String, Duration)>>,
    /// Writes the line, since the threads that measure have better things to do.
    writer: Option<JoinHandle<()>>,
}

impl Progress {
    /// On a terminal one that writes, elsewhere one that does not.
    pub fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                steps: None,
                writer: None,
            };
        }
        let (steps, taken) = sync_channel(1);
        Self {
            steps: Some(steps),
            writer: Some(std::thread::spawn(move || write(&taken))),
        }
    }
}

impl Watch for Progress {
    fn begin(&self, what: &str, expected: Duration) {
        if let Some(steps) = &self.steps {
            // A writer that is gone has nobody left to tell.
            let _ = steps.send((what.to_owned(), expected));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.steps = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(steps: &Receiver<(String, Duration)>) {
    let mut step: Option<(String, Duration, Instant)> = None;
    loop {
        match steps.recv_timeout(PAUSE) {
            Ok((what, expected)) => step = Some((what, expected, Instant::now())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Some((what, expected, began)) = &step {
            // `ESC [K` clears what a longer line left behind.
            let line = line(what, *expected, began.elapsed());
            let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
        }
    }
    let _ = write!(std::io::stderr(), "\r\x1b[K");
}

fn line(what: &str, expected: Duration, elapsed: Duration) -> String {
    let (elapsed, expected) = (elapsed.as_secs_f64(), expected.as_secs_f64());
    format!("{what}: {elapsed:.0} of about {expected:.0} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_and_how_long() {
        let line = line(
            "encoder alone",
            Duration::from_secs(12),
            Duration::from_millis(3400),
        );
        assert_eq!(line, "encoder alone: 3 of about 12 s");
    }
}
