//! Where a model comes from: the binary, a directory, or the Hub. Names what it cannot find, and
//! how to get it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
#[cfg(feature = "hub")]
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::Failure;
#[cfg(feature = "hub")]
use super::{progress, setup, warn};
#[cfg(feature = "hub")]
use crate::hub::{self, Hub, Repository, Snapshot};
use crate::model::files::Files;
use crate::model::{LoadError, Model, Placement};

/// How people write a source.
pub(super) const SOURCE: &str = "DIR|hf://OWNER/NAME[@REVISION]";

/// A model that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A model directory.
    Directory(PathBuf),
    /// A repository on the Hub.
    #[cfg(feature = "hub")]
    Hub(Repository),
}

#[cfg(feature = "bench")]
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            #[cfg(feature = "hub")]
            Self::Hub(repository) => write!(f, "{repository}"),
        }
    }
}

impl FromStr for Source {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        if text.starts_with("hf://") {
            return on_the_hub(text);
        }
        if text.contains("://") {
            return Err("a model is a directory or hf://owner/name[@revision]".into());
        }
        Ok(Self::Directory(PathBuf::from(text)))
    }
}

#[cfg(feature = "hub")]
fn on_the_hub(text: &str) -> Result<Source, Failure> {
    Ok(Source::Hub(text.parse()?))
}

#[cfg(not(feature = "hub"))]
fn on_the_hub(_: &str) -> Result<Source, Failure> {
    Err(
        "this build cannot fetch models: it was made without the feature `hub`; \
         name a directory"
            .into(),
    )
}

/// Whether the network may be used.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Network {
    /// Ask the Hub for nothing: take models from its cache only.
    #[arg(long, env = "HF_HUB_OFFLINE", value_parser = FalseyValueParser::new())]
    pub offline: bool,

    /// Seconds that the Hub may send nothing before a fetch is given up; a slow one goes on.
    #[cfg(feature = "hub")]
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = hub::PATIENCE.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..),
        env = "COPYDESK_HUB_TIMEOUT"
    )]
    pub hub_timeout: u64,
}

#[cfg(feature = "hub")]
impl Network {
    /// The Hub as the environment names it, asked as the flags say.
    pub fn hub(self) -> Result<Hub, hub::Error> {
        Ok(Hub::new()?.with_patience(Duration::from_secs(self.hub_timeout)))
    }
}

/// A model's files, and where they were found.
pub(super) struct Found {
    /// The files.
    pub files: Files,
    /// Where they lie.
    pub place: Place,
}

/// Where a model's files lie.
pub(super) enum Place {
    /// Inside the binary.
    Inside,
    /// In a directory.
    Directory(PathBuf),
    /// In the cache of the Hub.
    #[cfg(feature = "hub")]
    Cache(Repository, Snapshot),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside => f.write_str("the model inside the binary"),
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            #[cfg(feature = "hub")]
            Self::Cache(_, snapshot) => write!(f, "{}", snapshot.directory.display()),
        }
    }
}

/// A model that was found but cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be used")]
struct Unusable {
    place: String,
    source: LoadError,
}

impl Found {
    /// Finds a model; none named is the one inside the binary.
    pub fn at(source: Option<&Source>, network: Network) -> Result<Self, Failure> {
        let place = match source {
            None => Place::Inside,
            Some(Source::Directory(directory)) => Place::Directory(directory.clone()),
            #[cfg(feature = "hub")]
            Some(Source::Hub(repository)) => cached_or_fetched(repository, network)?,
        };
        #[cfg(not(feature = "hub"))]
        let _ = network;
        let files = match &place {
            Place::Inside => Files::embedded().ok_or(LoadError::NoModel)?,
            Place::Directory(directory) => Files::read(directory)?,
            #[cfg(feature = "hub")]
            Place::Cache(_, snapshot) => Files::read(&snapshot.directory)?,
        };
        Ok(Self { files, place })
    }

    /// Loads it; says of which model what is wrong.
    pub fn load(&self, placement: Placement) -> Result<Model, Failure> {
        Model::load(&self.files, placement).map_err(|source| {
            let place = self.place.to_string();
            Unusable { place, source }.into()
        })
    }
}

/// A branch or a tag may have moved, so the Hub is asked; a commit cannot, so the cache is enough.
/// Where the Hub is away, the cache is better than nothing.
#[cfg(feature = "hub")]
fn cached_or_fetched(repository: &Repository, network: Network) -> Result<Place, Failure> {
    let hub = network.hub()?;
    let runtime = setup::runtime()?;
    let cached = || runtime.block_on(hub.cached(repository));
    let place = |snapshot| Place::Cache(repository.clone(), snapshot);
    if network.offline {
        return Ok(place(cached()?));
    }
    if let (true, Ok(snapshot)) = (repository.is_pinned(), cached()) {
        return Ok(place(snapshot));
    }
    match runtime.block_on(hub.fetch(repository, &progress::watcher())) {
        Ok(snapshot) => Ok(place(snapshot)),
        Err(error) => fall_back(error, cached()).map(place),
    }
}

#[cfg(feature = "hub")]
fn fall_back(error: hub::Error, cached: Result<Snapshot, hub::Error>) -> Result<Snapshot, Failure> {
    match cached {
        Ok(snapshot) if error.is_unreachable() => {
            let commit = &snapshot.commit;
            warn(&format!("{error}; using commit {commit} from the cache"));
            Ok(snapshot)
        }
        _ => Err(error.into()),
    }
}
