//! What the service has open now. All of it is zero again when every caller has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls under way; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Gauges(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    articles: AtomicUsize,
    corpora: AtomicUsize,
}

/// What kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Article,
    Corpus,
}

impl Gauges {
    /// Calls under way that answer one request: `ClassifyArticle`, `ModelInfer`.
    pub fn articles(&self) -> usize {
        self.0.articles.load(Ordering::Relaxed)
    }

    /// Calls under way that answer many: `ClassifyArticles`, `ModelStreamInfer`.
    pub fn corpora(&self) -> usize {
        self.0.corpora.load(Ordering::Relaxed)
    }

    /// Counts a call until it is dropped.
    pub(super) fn open(&self, kind: Kind) -> Open {
        let open = Open(self.clone(), kind);
        open.count().fetch_add(1, Ordering::Relaxed);
        open
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Open(Gauges, Kind);

impl Open {
    fn count(&self) -> &AtomicUsize {
        match self.1 {
            Kind::Article => &self.0.0.articles,
            Kind::Corpus => &self.0.0.corpora,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}
