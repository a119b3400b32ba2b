//! A pager for what is longer than the screen, as git has it. What fits is printed as it is.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

/// Standard output, perhaps through a pager.
pub(super) struct Pager {
    /// The program and its arguments.
    command: Vec<String>,
    /// Lines that fit on the screen.
    rows: usize,
    state: State,
}

enum State {
    /// All so far, as it may yet fit.
    Held { text: Vec<u8>, lines: usize },
    /// The pager has it.
    Paged(Child),
    /// There is no pager to be had.
    Plain(io::Stdout),
}

impl Pager {
    /// Runs `command` once there are more lines than a screen of `rows` has.
    pub fn new(command: &str, rows: usize) -> Self {
        Self {
            command: command.split_whitespace().map(str::to_owned).collect(),
            rows: rows.saturating_sub(1),
            state: State::Held {
                text: Vec::new(),
                lines: 0,
            },
        }
    }

    /// Prints what fits, or waits until the reader has seen enough.
    pub fn finish(self) -> io::Result<()> {
        match self.state {
            State::Held { text, .. } => io::stdout().write_all(&text),
            State::Paged(mut child) => {
                // Only so the pager learns that this is the end.
                drop(child.stdin.take());
                child.wait().map(drop)
            }
            State::Plain(mut out) => out.flush(),
        }
    }

    fn start(&self) -> State {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return State::Plain(io::stdout());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        // A pager that was set up knows what to do with colours; less has to be told.
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", "R");
        }
        match command.spawn() {
            Ok(child) => State::Paged(child),
            Err(error) => {
                super::warn(&format!("the pager {program} cannot be run: {error}"));
                State::Plain(io::stdout())
            }
        }
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let State::Held { text, lines } = &mut self.state {
            text.extend_from_slice(bytes);
            *lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            if *lines <= self.rows {
                return Ok(bytes.len());
            }
            let held = std::mem::take(text);
            self.state = self.start();
            self.write_all(&held)?;
            return Ok(bytes.len());
        }
        match &mut self.state {
            State::Paged(Child {
                stdin: Some(pipe), ..
            }) => pipe.write(bytes),
            State::Plain(out) => out.write(bytes),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Paged(Child {
                stdin: Some(pipe), ..
            }) => pipe.flush(),
            State::Plain(out) => out.flush(),
            _ => Ok(()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_goes_to_the_pager() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let run = |lines: usize| {
            let mut pager = Pager::new(&format!("tee {}", seen.display()), 5);
            for line in 0..lines {
                // Into the pager's file only; `tee` repeats it on the tests' own output.
                writeln!(pager, "line {line}").unwrap();
            }
            let paged = matches!(pager.state, State::Paged(_));
            if paged {
                pager.finish().unwrap();
            }
            paged
        };
        assert!(!run(4));
        assert!(run(5));
        let text = std::fs::read_to_string(&seen).unwrap();
        assert_eq!(text.lines().count(), 5);
        let mut nowhere = Pager::new("no-such-pager-anywhere -x", 1);
        assert!(matches!(nowhere.start(), State::Plain(_)));
        nowhere.state = State::Plain(io::stdout());
        nowhere.finish().unwrap();
    }
}
