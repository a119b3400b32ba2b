//! The start: from nothing to the first answer, measured in processes of their own, since what a
//! process has loaded once is warm. The files are in the system's cache by then, as they are when a
//! service is restarted.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Error;
use super::machine::Memory;
use super::stats::median;

/// Sentences of the first answer.
pub const SENTENCES: usize = 10;

/// How often a process is started; the middle one counts.
const TIMES: usize = 3;

/// What the child process prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Inside {
    /// Seconds until the model was loaded and the workers ran.
    pub load_seconds: f64,
    /// Seconds from then until the first answer was whole.
    pub answer_seconds: f64,
    /// Resident memory after it, in bytes.
    pub resident_bytes: Option<u64>,
}

/// What the start takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Start {
    /// From starting the process until it has answered an article of ten sentences.
    pub seconds: f64,
    /// Of these, inside the process: until the model was loaded.
    pub load_seconds: f64,
    /// And from then until the answer.
    pub answer_seconds: f64,
    /// Resident memory after it, in bytes.
    pub resident_bytes: Option<u64>,
}

/// Starts the process some times; `command` is one that prints [`Inside`] as its first line.
///
/// # Errors
///
/// When the process fails, or prints something else.
pub fn measure(command: impl Fn() -> Command) -> Result<Start, Error> {
    let starts: Vec<Start> = (0..TIMES)
        .map(|_| once(command()))
        .collect::<Result<_, _>>()?;
    let middle = |of: fn(&Start) -> f64| median(&starts.iter().map(of).collect::<Vec<_>>());
    Ok(Start {
        seconds: middle(|s| s.seconds),
        load_seconds: middle(|s| s.load_seconds),
        answer_seconds: middle(|s| s.answer_seconds),
        resident_bytes: starts.iter().filter_map(|s| s.resident_bytes).max(),
    })
}

fn once(mut command: Command) -> Result<Start, Error> {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    // What a process does to end is no part of its start.
    let seconds = began.elapsed().as_secs_f64();
    let status = child.wait()?;
    if !status.success() {
        return Err(Error::Child(format!("the process ended with {status}")));
    }
    let inside: Inside = serde_json::from_str(&line).map_err(|e| Error::Child(e.to_string()))?;
    Ok(Start {
        seconds,
        load_seconds: inside.load_seconds,
        answer_seconds: inside.answer_seconds,
        resident_bytes: inside.resident_bytes,
    })
}

/// What a process says of itself that began at `began`, loaded at `loaded`, and has answered now.
pub fn inside(began: Instant, loaded: Instant) -> Inside {
    Inside {
        load_seconds: (loaded - began).as_secs_f64(),
        answer_seconds: loaded.elapsed().as_secs_f64(),
        resident_bytes: Memory::now().resident_bytes,
    }
}
