//! The one place where errors become statuses. Every status carries `google.rpc.ErrorInfo`; what
//! is wrong with a request carries `BadRequest`, a full queue `RetryInfo` and pushback.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::article::{Invalid, Reason};
use crate::classifier::ClassifyError;
use crate::engine::EngineError;

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "copydesk";

/// The trailer by which gRPC clients with a retry policy learn when to come back, in milliseconds.
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl From<Invalid> for Box<Status> {
    fn from(error: Invalid) -> Self {
        Box::new(invalid(&error))
    }
}

/// What is wrong with a request: `INVALID_ARGUMENT`.
pub fn invalid(error: &Invalid) -> Status {
    let mut details = info(reason(error.reason));
    details.add_bad_request_violation(&error.field, &error.problem);
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

/// Why an article was not answered.
pub fn classify(error: &ClassifyError) -> Status {
    match error {
        ClassifyError::Invalid(error) => invalid(error),
        ClassifyError::Engine(EngineError::Full { retry_after }) => queue_full(*retry_after),
        ClassifyError::Engine(EngineError::Stopping) => draining(),
        ClassifyError::Engine(EngineError::Expired) => deadline_exceeded(),
        // What exactly failed is in the log; it is nothing that a caller could act on.
        ClassifyError::Engine(EngineError::Failed(_)) => {
            let details = info("MODEL_FAILED");
            Status::with_error_details(Code::Internal, "the model failed on this article", details)
        }
    }
}

/// The queue has no room: `UNAVAILABLE`, with when to come back.
pub fn queue_full(retry_after: Duration) -> Status {
    let mut details = info("QUEUE_FULL");
    details.set_retry_info(Some(retry_after));
    let wait = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    let message = format!("the queue is full; try again in {wait} ms, or elsewhere");
    let mut status = Status::with_error_details(Code::Unavailable, message, details);
    status
        .metadata_mut()
        .insert(PUSHBACK, MetadataValue::from(wait));
    status
}

/// The server is going down: `UNAVAILABLE`.
pub fn draining() -> Status {
    let message = "the server is shutting down; send what is unanswered elsewhere";
    Status::with_error_details(Code::Unavailable, message, info("DRAINING"))
}

/// The caller's deadline passed: `DEADLINE_EXCEEDED`.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed before the article was answered";
    Status::with_error_details(Code::DeadlineExceeded, message, info("DEADLINE_EXCEEDED"))
}

/// No token, or none that is known: `UNAUTHENTICATED`.
pub fn unauthenticated() -> Status {
    let message = "no valid token; send the header `authorization: Bearer TOKEN`";
    Status::with_error_details(Code::Unauthenticated, message, info("UNAUTHENTICATED"))
}

/// A request message did not arrive in time: `DEADLINE_EXCEEDED`.
pub fn too_slow(limit: Duration) -> Status {
    let message = format!(
        "a request message took longer than {} s to arrive",
        limit.as_secs_f32()
    );
    Status::with_error_details(Code::DeadlineExceeded, message, info("REQUEST_TOO_SLOW"))
}

/// The Open Inference Protocol asked for a model that is not here: `NOT_FOUND`.
pub fn unknown_model(message: impl Into<String>) -> Status {
    Status::with_error_details(Code::NotFound, message, info("UNKNOWN_MODEL"))
}

/// What is wrong with a tensor, or another part, of a request of the Open Inference Protocol:
/// `INVALID_ARGUMENT`. The message says all by itself, as Triton's does.
pub fn invalid_tensor(field: &str, message: impl Into<String>) -> Status {
    let message = message.into();
    let mut details = info("INVALID_TENSOR");
    details.add_bad_request_violation(field, &message);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A code's name in the gRPC specification.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn info(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

/// The names of `copydesk.v1.ErrorReason`, less their prefix.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::EmptyArticleId => "EMPTY_ARTICLE_ID",
        Reason::DuplicateArticleId => "DUPLICATE_ARTICLE_ID",
        Reason::MissingText => "MISSING_TEXT",
        Reason::EmptyText => "EMPTY_TEXT",
        Reason::TextTooLong => "TEXT_TOO_LONG",
        Reason::TooManySentences => "TOO_MANY_SENTENCES",
        Reason::EmptySentence => "EMPTY_SENTENCE",
        Reason::HeadlineTooLong => "HEADLINE_TOO_LONG",
        Reason::TooManyParties => "TOO_MANY_PARTIES",
        Reason::TooManyAliases => "TOO_MANY_ALIASES",
        Reason::TooManySpans => "TOO_MANY_SPANS",
        Reason::TooManyMentions => "TOO_MANY_MENTIONS",
        Reason::EmptyPartyId => "EMPTY_PARTY_ID",
        Reason::DuplicatePartyId => "DUPLICATE_PARTY_ID",
        Reason::EmptyName => "EMPTY_NAME",
        Reason::NameTooLong => "NAME_TOO_LONG",
        Reason::InvalidSpan => "INVALID_SPAN",
        Reason::InvalidMinConfidence => "INVALID_MIN_CONFIDENCE",
    }
}
