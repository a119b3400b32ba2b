//! What is read from files and read again when they change. What cannot be used is told in the log,
//! and what was there before stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct Unusable {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl Unusable {
    pub(super) fn new(file: &Path, problem: impl std::fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// All bytes of a file.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Unusable> {
    std::fs::read(file).map_err(|error| Unusable::new(file, error))
}

/// By what a change shows; of a link, that of the file it points to.
type Stamp = Option<(SystemTime, u64)>;

type Load<T> = Box<dyn Fn() -> Result<T, Unusable> + Send + Sync>;

/// A value from files.
pub(super) struct Watched<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    load: Load<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Vec<Stamp>>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files for the first time.
    pub fn load(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, Unusable> + Send + Sync + 'static,
    ) -> Result<Self, Unusable> {
        // Before they are read, so that a change in between is seen the next time.
        let seen = Mutex::new(stamps(&files));
        let current = RwLock::new(Arc::new(load()?));
        Ok(Self {
            what,
            files,
            load: Box::new(load),
            current,
            seen,
        })
    }

    /// What the files last held that was of use.
    pub fn get(&self) -> Arc<T> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Looks at the files now and then, for ever.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let this = Arc::clone(&self);
            // A file system may be slow.
            if let Err(error) = tokio::task::spawn_blocking(move || this.look()).await {
                tracing::error!(%error, "looking at {} failed", self.what);
            }
        }
    }

    fn look(&self) {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        *seen = now;
        match (self.load)() {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!("{} read again", self.what);
            }
            Err(error) => {
                tracing::error!(%error, "{} changed but cannot be used; the old stays", self.what);
            }
        }
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple(self.what).field(&self.files).finish()
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(stamp).collect()
}
