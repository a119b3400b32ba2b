//! Where answers go: standard output, or a file that is packed as its name says. Overwrites
//! nothing unless told to.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::pager::Pager;

/// How the file that was named is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It must not hold anything yet.
    New,
    /// What it holds is lost.
    Over,
    /// What it holds stays.
    Append,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// Answers may be in it.
    #[error(
        "{} exists and is not empty; --force writes over it, and --resume goes on with a .jsonl",
        path.display()
    )]
    Exists { path: PathBuf },
    /// Somebody else is writing to it.
    #[error("{} is being written by another run", path.display())]
    Busy { path: PathBuf },
    /// It cannot be opened.
    #[error("{} cannot be written", path.display())]
    Closed { path: PathBuf, source: io::Error },
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstandard,
}

impl Packing {
    /// By the end of its name.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstandard,
            _ => Self::None,
        }
    }
}

/// A place to write to; [`Sink::finish`] ends it.
pub(super) enum Sink {
    /// Standard output.
    Standard(BufWriter<io::Stdout>),
    /// Standard output, a screen at a time.
    Paged(Pager),
    /// A file.
    Plain(BufWriter<File>),
    /// A `.gz`.
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    /// A `.zst`.
    Zstandard(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Sink {
    /// Standard output.
    pub fn standard() -> Self {
        Self::Standard(BufWriter::new(io::stdout()))
    }

    /// The file at `path`.
    pub fn file(path: &Path, opening: Opening) -> Result<Self, OutputError> {
        let file = BufWriter::new(open(path, opening)?);
        Ok(match Packing::of(path) {
            Packing::None => Self::Plain(file),
            Packing::Gzip => Self::Gzip(Box::new(GzEncoder::new(file, Compression::default()))),
            Packing::Zstandard => {
                let encoder = zstd::Encoder::new(file, 0);
                Self::Zstandard(Box::new(encoder.map_err(|source| OutputError::Closed {
                    path: path.to_owned(),
                    source,
                })?))
            }
        })
    }

    /// Hands on what is whole, where somebody may wait for it. Packed files wait until the end:
    /// small pieces pack badly.
    pub fn answered(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Paged(out) => out.flush(),
            Self::Plain(out) => out.flush(),
            Self::Gzip(_) | Self::Zstandard(_) => Ok(()),
        }
    }

    /// Writes the end.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Standard(mut out) => out.flush(),
            Self::Paged(out) => out.finish(),
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
            Self::Zstandard(out) => out.finish()?.flush(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::Paged(out) => out.write(bytes),
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstandard(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Paged(out) => out.flush(),
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Zstandard(out) => out.flush(),
        }
    }
}

/// Opens a file to write, and keeps other processes from doing the same.
pub(super) fn open(path: &Path, opening: Opening) -> Result<File, OutputError> {
    let closed = |source| OutputError::Closed {
        path: path.to_owned(),
        source,
    };
    let holds = path.metadata().is_ok_and(|m| m.is_file() && m.len() > 0);
    if holds && opening == Opening::New {
        let path = path.to_owned();
        return Err(OutputError::Exists { path });
    }
    let append = opening == Opening::Append;
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(append)
        .truncate(false)
        .open(path)
        .map_err(closed)?;
    // Where there are no locks, there is no telling.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        let path = path.to_owned();
        return Err(OutputError::Busy { path });
    }
    if !append && holds {
        file.set_len(0).map_err(closed)?;
    }
    Ok(file)
}
