//! Calls as an observer is told of them: when they begin, when the first message leaves, how they
//! end.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use tonic::Status;
use tonic_types::StatusExt;

use super::status;
use crate::telemetry::Observer;

/// The methods that are told apart. What else a caller asks for is one method.
const METHODS: [&str; 7] = [
    "copydesk.v1.ClassifierService/ClassifyArticle",
    "copydesk.v1.ClassifierService/ClassifyArticles",
    "copydesk.v1.ClassifierService/GetModel",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Any other method.
const OTHER: &str = "other";

/// A call under way. One that is dropped before its end was cancelled.
#[derive(Debug)]
pub(super) struct Call {
    observer: Option<Arc<dyn Observer>>,
    method: &'static str,
    began: Instant,
    first: bool,
}

impl Call {
    pub fn begin(observer: Option<Arc<dyn Observer>>, path: &str) -> Self {
        let known = METHODS.into_iter().find(|m| path.get(1..) == Some(m));
        let method = known.unwrap_or(OTHER);
        if let Some(observer) = &observer {
            observer.began(method);
        }
        Self {
            observer,
            method,
            began: Instant::now(),
            first: false,
        }
    }

    /// A message leaves.
    pub fn message(&mut self) {
        if let Some(observer) = &self.observer
            && !self.first
        {
            self.first = true;
            observer.first(self.method, self.began.elapsed());
        }
    }

    /// These are the last headers, or say nothing of an end.
    pub fn ended(&mut self, headers: &HeaderMap) {
        if self.observer.is_some()
            && let Some(status) = Status::from_header_map(headers)
        {
            self.ended_with(&status);
        }
    }

    /// It ends with a status.
    pub fn ended_with(&mut self, status: &Status) {
        if let Some(observer) = self.observer.take() {
            Failures(Some(Arc::clone(&observer))).count(status);
            let code = status::name(status.code());
            observer.ended(self.method, code, self.began.elapsed());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.take() {
            observer.ended(self.method, "CANCELLED", self.began.elapsed());
        }
    }
}

/// Counts what fails. Stands among a request's extensions, for failures within an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(pub Option<Arc<dyn Observer>>);

impl Failures {
    pub fn count(&self, status: &Status) {
        if let Some(observer) = &self.0
            && let Some(info) = status.get_details_error_info()
        {
            observer.failed(&info.reason);
        }
    }
}
