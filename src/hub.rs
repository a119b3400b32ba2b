//! Models from the Hugging Face Hub: `hf://owner/name[@revision]` → a directory in the Hub's own
//! cache, shared with the Hub's other clients. Refuses a file that did not arrive whole, and
//! leaves no trace of it.
//!
//! Where the cache lies, which Hub is asked and with which token is hf-hub's to find out
//! (`HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and their kin); whether it is asked at all is the
//! caller's: [`Hub::cached`] touches no network.

mod error;
mod repository;
mod whole;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use hf_hub::progress::{DownloadEvent, FileStatus, Progress, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFError, HFRepository, RepoTypeModel};
use tokio::sync::Notify;
use tokio::time::timeout;

pub use self::error::Error;
pub use self::repository::{Malformed, Repository};
use crate::model::files::Files;

/// Fetched where the repository has one; nothing needs it.
const MODEL_CARD: &str = "README.md";

/// How long the Hub may send nothing, unless told otherwise. Without an end a network that swallows
/// packets would hold a start up for ever, with the model in the cache.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where its files lie.
    pub directory: PathBuf,
    /// The commit that they are of.
    pub commit: String,
}

/// How a fetch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A file is under way.
    Loading {
        /// Which.
        file: &'a str,
        /// Bytes that are here.
        done: u64,
        /// Bytes in all; 0 if the Hub did not say.
        total: u64,
    },
    /// A file is here, and whole.
    Whole {
        /// Which.
        file: &'a str,
        /// Its size.
        bytes: u64,
        /// Whether it was here before.
        cached: bool,
    },
}

/// Whoever follows a fetch; called often, so it should be quick.
pub type Watcher = Arc<dyn Fn(Step<'_>) + Send + Sync>;

/// The Hub and its cache on this machine.
#[derive(Clone, Debug)]
pub struct Hub {
    client: HFClient,
    patience: Duration,
}

impl Hub {
    /// The Hub as the environment names it.
    ///
    /// # Errors
    ///
    /// When `HF_ENDPOINT` is no URL, or TLS cannot be set up.
    pub fn new() -> Result<Self, Error> {
        let client = HFClient::builder()
            .user_agent(concat!("copydesk/", env!("CARGO_PKG_VERSION")))
            .retry_max_attempts(3)
            .build()
            .map_err(|source| Error::Client(Box::new(source)))?;
        Ok(Self {
            client,
            patience: PATIENCE,
        })
    }

    /// The same Hub, given up once it has sent nothing for `patience`: not a byte of a file that is
    /// under way, or no word on what a revision is. A slow download that moves goes on.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The model as the cache has it; asks nobody.
    ///
    /// # Errors
    ///
    /// When a file of it is not there.
    pub async fn cached(&self, repository: &Repository) -> Result<Snapshot, Error> {
        let handle = self.handle(repository);
        let mut path = PathBuf::new();
        for file in Files::NAMES {
            let found = handle
                .download_file()
                .filename(file)
                .revision(&repository.revision)
                .local_files_only(true)
                .send();
            path = found.await.map_err(|_| self.not_cached(repository))?;
        }
        let directory = path.parent().unwrap_or(&path);
        let commit = directory.file_name().unwrap_or_default();
        Ok(Snapshot {
            commit: commit.to_string_lossy().into_owned(),
            directory: directory.to_owned(),
        })
    }

    /// The model as the Hub has it now; what the cache holds of it is not loaded again, but
    /// checked. The revision's name is given to the commit only once all files are whole, so a
    /// fetch that breaks off changes nothing for whoever reads the cache.
    ///
    /// # Errors
    ///
    /// When the Hub cannot be reached, refuses or falls silent, when it lacks a file, or sends one
    /// damaged.
    pub async fn fetch(&self, repository: &Repository, watch: &Watcher) -> Result<Snapshot, Error> {
        let (commit, present) = self.resolve(repository).await?;
        let lacks = |file: &str| {
            present
                .as_ref()
                .is_some_and(|all| !all.iter().any(|f| f == file))
        };
        if let Some(file) = Files::NAMES.into_iter().find(|file| lacks(file)) {
            return Err(Error::no_file(repository, file));
        }
        let mut directory = PathBuf::new();
        let card = (present.is_some() && !lacks(MODEL_CARD)).then_some(MODEL_CARD);
        for file in Files::NAMES.into_iter().chain(card) {
            let path = self.file(repository, &commit, file, watch).await?;
            directory = path.parent().unwrap_or(&path).to_owned();
        }
        if !repository.is_pinned() {
            self.name(repository, &commit)?;
        }
        Ok(Snapshot { directory, commit })
    }

    fn handle(&self, repository: &Repository) -> HFRepository<RepoTypeModel> {
        self.client.model(&repository.owner, &repository.name)
    }

    fn not_cached(&self, repository: &Repository) -> Error {
        Error::NotCached {
            repository: repository.clone(),
            cache: self.client.cache_dir().to_owned(),
        }
    }

    fn failed(&self, repository: &Repository, source: HFError) -> Error {
        Error::from_hub(repository, self.client.endpoint(), source)
    }

    /// The revision's commit, and the repository's files if the Hub lists them.
    async fn resolve(
        &self,
        repository: &Repository,
    ) -> Result<(String, Option<Vec<String>>), Error> {
        let handle = self.handle(repository);
        let asked = handle.info().revision(&repository.revision).send();
        let info = timeout(self.patience, asked)
            .await
            .map_err(|_| Error::silent(self.client.endpoint(), self.patience))?
            .map_err(|source| self.failed(repository, source))?;
        // The commit becomes a directory's name.
        let commit = info.sha.filter(|sha| repository::is_commit(sha));
        let commit = commit.ok_or_else(|| Error::NoCommit(repository.clone()))?;
        let files = info
            .siblings
            .map(|all| all.into_iter().map(|f| f.rfilename).collect());
        Ok((commit, files))
    }

    /// One file, whole: what is not (left by a crash, a bad disk, an error page sent in its
    /// place) is loaded once more, then thrown away.
    async fn file(
        &self,
        repository: &Repository,
        commit: &str,
        file: &'static str,
        watch: &Watcher,
    ) -> Result<PathBuf, Error> {
        let handle = self.handle(repository);
        let mut damage = (PathBuf::new(), String::new());
        for force in [false, true] {
            let transfer = Arc::new(Transfer::new(file, watch));
            let download = handle
                .download_file()
                .filename(file)
                .revision(commit)
                .force_download(force)
                .progress(Progress::from(Arc::clone(&transfer)))
                .send();
            let path = transfer
                .while_it_moves(download, self.patience)
                .await
                .ok_or_else(|| Error::stalled(file, self.client.endpoint(), self.patience))?
                .map_err(|source| self.failed(repository, source))?;
            match whole::check(&path, transfer.expected.load(Ordering::Relaxed)) {
                Ok(bytes) => {
                    let cached = !transfer.moved.load(Ordering::Relaxed);
                    watch(Step::Whole {
                        file,
                        bytes,
                        cached,
                    });
                    return Ok(path);
                }
                Err(problem) => damage = (path, problem),
            }
        }
        let (path, problem) = damage;
        whole::discard(&path);
        Err(Error::Damaged { file, problem })
    }

    /// Lets the revision's name stand for the commit, as hf-hub lays its cache out.
    fn name(&self, repository: &Repository, commit: &str) -> Result<(), Error> {
        let folder = format!("models--{}--{}", repository.owner, repository.name);
        let refs = self.client.cache_dir().join(folder).join("refs");
        let path = refs.join(&repository.revision);
        replace(&path, commit).map_err(|source| Error::Cache { path, source })
    }
}

/// Writes a small file so that it is seen either as it was or as it is meant to be.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.incomplete", std::process::id()));
    std::fs::write(&name, text)?;
    std::fs::rename(&name, path)
}

/// What hf-hub tells of one file's way here.
struct Transfer {
    file: &'static str,
    watch: Watcher,
    /// The size that the Hub gave for it; 0 while unknown.
    expected: AtomicU64,
    /// Whether any of it came over the wire.
    moved: AtomicBool,
    /// How much of it is here.
    done: AtomicU64,
    /// Told whenever that changes.
    moving: Notify,
}

impl Transfer {
    fn new(file: &'static str, watch: &Watcher) -> Self {
        Self {
            file,
            watch: Arc::clone(watch),
            expected: AtomicU64::new(0),
            moved: AtomicBool::new(false),
            done: AtomicU64::new(0),
            moving: Notify::new(),
        }
    }

    /// Waits for `download`; `None`, and the download is dropped, once nothing has moved for
    /// `patience`. hf-hub itself would wait for ever.
    async fn while_it_moves<T>(
        &self,
        download: impl Future<Output = T>,
        patience: Duration,
    ) -> Option<T> {
        let mut download = pin!(download);
        loop {
            let still = pin!(timeout(patience, self.moving.notified()));
            match select(download.as_mut(), still).await {
                Either::Left((result, _)) => return Some(result),
                Either::Right((Ok(()), _)) => {}
                Either::Right((Err(_), _)) => return None,
            }
        }
    }

    fn loading(&self, done: u64, total: u64) {
        self.moved.store(true, Ordering::Relaxed);
        // Some progress is told by the clock, whether or not there is any.
        if self.done.swap(done, Ordering::Relaxed) != done {
            self.moving.notify_one();
        }
        let file = self.file;
        (self.watch)(Step::Loading { file, done, total });
    }
}

impl ProgressHandler for Transfer {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else {
            return;
        };
        match event {
            DownloadEvent::Start { total_bytes, .. } => {
                self.expected.store(*total_bytes, Ordering::Relaxed);
                self.moving.notify_one();
            }
            DownloadEvent::Progress { files } => {
                // "Complete" is also said of files that were here before.
                for f in files.iter().filter(|f| f.status != FileStatus::Complete) {
                    self.loading(f.bytes_completed, f.total_bytes);
                }
            }
            DownloadEvent::AggregateProgress {
                bytes_completed,
                total_bytes,
                ..
            } => {
                self.loading(*bytes_completed, *total_bytes);
            }
            DownloadEvent::Complete => {}
        }
    }
}
