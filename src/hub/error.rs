//! What can go wrong between here and the Hub, in words that say what to do.

use std::path::PathBuf;
use std::time::Duration;

use hf_hub::HFError;

use super::Repository;

/// Why a model was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be set up.
    #[error("the client of the Hub cannot be set up; is HF_ENDPOINT a URL?")]
    Client(#[source] Box<HFError>),
    /// The Hub does not answer.
    #[error("cannot reach the Hub at {endpoint}")]
    Unreachable {
        /// Which.
        endpoint: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A download stands still.
    #[error(
        "{file} stopped coming from the Hub at {endpoint}: not a byte in {} s; try again later",
        patience.as_secs_f64()
    )]
    Stalled {
        /// Which file.
        file: &'static str,
        /// From where.
        endpoint: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// No such repository, for whoever asks.
    #[error("{0} is not on the Hub: no such repository")]
    NoRepository(Repository),
    /// The repository has no such revision.
    #[error("{repository}: the repository has no revision {:?}", repository.revision)]
    NoRevision {
        /// Of which.
        repository: Repository,
    },
    /// The repository lacks a file that a model has.
    #[error("{repository}: the repository has no {file}, so it is no copydesk model")]
    NoFile {
        /// Of which.
        repository: Repository,
        /// Which.
        file: String,
    },
    /// No token, or a wrong one. The Hub also answers so where there is nothing at all.
    #[error(
        "{repository}: the Hub wants a valid token (or there is no such repository); set HF_TOKEN \
         to one that may read it{said}"
    )]
    Unauthorised {
        /// For which.
        repository: Repository,
        /// The Hub's own words; empty if there were none.
        said: String,
    },
    /// A good token whose owner may not read this.
    #[error(
        "the repository is gated or not yours; ask for access at {page}, and set HF_TOKEN{said}"
    )]
    Gated {
        /// The repository's page on the Hub.
        page: String,
        /// The Hub's own words; empty if there were none.
        said: String,
    },
    /// Offline, and not fetched before.
    #[error(
        "{repository} is not in the cache at {cache}, and the Hub may not be asked; \
         run `copydesk model fetch {repository}` without HF_HUB_OFFLINE and --offline first"
    )]
    NotCached {
        /// What was looked for.
        repository: Repository,
        /// Where.
        cache: PathBuf,
    },
    /// The Hub named no commit for a revision.
    #[error("{0}: the Hub named no commit for the revision")]
    NoCommit(Repository),
    /// A file came damaged, twice.
    #[error("{file} came damaged from the Hub, and was thrown away: it {problem}")]
    Damaged {
        /// Which.
        file: &'static str,
        /// In what way.
        problem: String,
    },
    /// The cache cannot be written.
    #[error("cannot write {path}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process fetches the same file.
    #[error("another process is fetching {0} at this moment; try again when it is done")]
    Busy(Repository),
    /// Anything else.
    #[error("{repository} cannot be fetched")]
    Other {
        /// Which.
        repository: Repository,
        /// Why.
        source: Box<HFError>,
    },
}

impl Error {
    /// Whether the Hub is away, as against what it answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Stalled { .. })
    }

    pub(super) fn stalled(file: &'static str, endpoint: &str, patience: Duration) -> Self {
        Self::Stalled {
            file,
            endpoint: endpoint.to_owned(),
            patience,
        }
    }

    pub(super) fn silent(endpoint: &str, patience: Duration) -> Self {
        Self::Unreachable {
            endpoint: endpoint.to_owned(),
            source: format!("no answer in {} s", patience.as_secs_f64()).into(),
        }
    }

    pub(super) fn no_file(repository: &Repository, file: &str) -> Self {
        Self::NoFile {
            repository: repository.clone(),
            file: file.to_owned(),
        }
    }

    /// The Hub's status and code say more than hf-hub's names for them: it takes a missing
    /// repository for a missing revision, and has no name for most answers to a HEAD.
    pub(super) fn from_hub(repository: &Repository, endpoint: &str, source: HFError) -> Self {
        let repository = repository.clone();
        let answer = Answer::of(&source);
        match (answer.status, answer.code.as_str()) {
            (403, _) | (_, "GatedRepo") => Self::Gated {
                page: format!("{endpoint}/{}/{}", repository.owner, repository.name),
                said: answer.said,
            },
            (_, "RevisionNotFound") => Self::NoRevision { repository },
            (401, _) => Self::Unauthorised {
                repository,
                said: answer.said,
            },
            (_, "RepoNotFound") => Self::NoRepository(repository),
            (500.., _) => Self::Unreachable {
                endpoint: endpoint.to_owned(),
                source: Box::new(source),
            },
            _ => Self::without_answer(repository, endpoint, source),
        }
    }

    fn without_answer(repository: Repository, endpoint: &str, source: HFError) -> Self {
        match source {
            HFError::RevisionNotFound { .. } => Self::NoRevision { repository },
            HFError::RepoNotFound { .. } => Self::NoRepository(repository),
            HFError::EntryNotFound { path: file, .. } => Self::NoFile { repository, file },
            HFError::CacheLockTimeout { .. } => Self::Busy(repository),
            // reqwest tells causes apart; what is left is a connection that broke.
            HFError::Request { source: cause, .. } if !cause.is_builder() && !cause.is_decode() => {
                Self::Unreachable {
                    endpoint: endpoint.to_owned(),
                    source: Box::new(cause),
                }
            }
            source => Self::Other {
                repository,
                source: Box::new(source),
            },
        }
    }
}

/// What the Hub answered, where it did.
#[derive(Default)]
struct Answer {
    status: u16,
    code: String,
    said: String,
}

impl Answer {
    fn of(error: &HFError) -> Self {
        let context = match error {
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RateLimited { context, .. } => Some(context),
            HFError::RepoNotFound { context, .. }
            | HFError::RevisionNotFound { context, .. }
            | HFError::EntryNotFound { context, .. } => context.as_ref(),
            _ => None,
        };
        let Some(context) = context else {
            return Self::default();
        };
        let said = context.server_message.as_deref().unwrap_or_default();
        Self {
            status: context.status.as_u16(),
            code: context.error_code.clone().unwrap_or_default(),
            said: match said {
                "" => String::new(),
                said => format!(" (the Hub says: {said})"),
            },
        }
    }
}
