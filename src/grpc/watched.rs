//! Calls as an observer is told of them: when they begin, when the first message leaves, how they
//! end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use tonic::Status;
use tonic_types::StatusExt;

use super::status;
use crate::classifier::Classification;
use crate::telemetry::{Began, Observer, Running, Stage, Stages};

/// The methods that are told apart. What else a caller asks for is one method.
const METHODS: [&str; 15] = [
    "copydesk.v1.ClassifierService/ClassifyArticle",
    "copydesk.v1.ClassifierService/ClassifyArticles",
    "copydesk.v1.ClassifierService/GetModel",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "inference.GRPCInferenceService/ServerLive",
    "inference.GRPCInferenceService/ServerReady",
    "inference.GRPCInferenceService/ServerMetadata",
    "inference.GRPCInferenceService/ModelReady",
    "inference.GRPCInferenceService/ModelMetadata",
    "inference.GRPCInferenceService/ModelConfig",
    "inference.GRPCInferenceService/ModelInfer",
    "inference.GRPCInferenceService/ModelStreamInfer",
];

/// Any other method.
const OTHER: &str = "other";

/// A call under way. One that is dropped before its end was cancelled.
#[derive(Debug)]
pub(super) struct Call {
    /// Empty once the end has been told.
    running: Vec<Box<dyn Running>>,
    began: Instant,
    first: bool,
}

impl Call {
    pub fn begin(observers: &[Arc<dyn Observer>], path: &str, headers: &HeaderMap) -> Self {
        let known = METHODS.into_iter().find(|m| path.get(1..) == Some(m));
        let method = known.unwrap_or(OTHER);
        let call = Began { method, headers };
        Self {
            running: observers.iter().map(|o| o.began(&call)).collect(),
            began: Instant::now(),
            first: false,
        }
    }

    /// Whom to tell of its work.
    pub fn work(&self) -> Work {
        Work(self.running.iter().filter_map(|r| r.stages()).collect())
    }

    /// A message leaves.
    pub fn message(&mut self) {
        if !self.first {
            self.first = true;
            let after = self.began.elapsed();
            self.running.iter_mut().for_each(|r| r.first(after));
        }
    }

    /// These are the last headers, or say nothing of an end.
    pub fn ended(&mut self, headers: &HeaderMap) {
        if !self.running.is_empty()
            && let Some(status) = Status::from_header_map(headers)
        {
            self.ended_with(&status);
        }
    }

    /// It ends with a status.
    pub fn ended_with(&mut self, status: &Status) {
        let info = status.get_details_error_info();
        let reason = info.as_ref().map(|info| info.reason.as_str());
        self.end(status::name(status.code()), reason);
    }

    fn end(&mut self, code: &'static str, reason: Option<&str>) {
        let after = self.began.elapsed();
        for mut running in self.running.drain(..) {
            running.ended(code, reason, after);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end("CANCELLED", None);
    }
}

/// Tells of the stages of a call's work. Stands among a request's extensions.
#[derive(Clone, Debug, Default)]
pub(super) struct Work(Arc<[Arc<dyn Stages>]>);

impl Work {
    /// An article has been cut.
    pub fn cut(&self, answer: &Classification, article: i64) {
        let (began, took) = answer.cut();
        self.tell("cut", began, took, article, answer.sentences());
    }

    /// Of the windows that came since it was called last.
    pub fn windows(&self, answer: &mut Classification, article: i64) {
        if let Some(window) = answer.passed() {
            let batch = window.ended.checked_sub(window.encoded);
            let entered = batch.and_then(|batch| batch.checked_sub(window.queued));
            if let Some((batch, entered)) = batch.zip(entered) {
                self.tell("queue", entered, window.queued, article, window.sentences);
                self.tell("encode", batch, window.encoded, article, window.sentences);
            }
        }
    }

    fn tell(
        &self,
        name: &'static str,
        began: Instant,
        took: Duration,
        article: i64,
        sentences: usize,
    ) {
        let stage = Stage {
            name,
            began: SystemTime::now() - began.elapsed(),
            took,
            article,
            sentences,
        };
        self.0.iter().for_each(|stages| stages.passed(&stage));
    }
}

/// Counts what fails within an answer. Stands among a request's extensions.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(pub Arc<[Arc<dyn Observer>]>);

impl Failures {
    pub fn count(&self, status: &Status) {
        if let Some(info) = status.get_details_error_info() {
            self.0.iter().for_each(|o| o.failed(&info.reason));
        }
    }
}
