//! One `ModelStreamInfer` call: requests in, answered one after the other in their order, each by one
//! response or, if it asks for that, by one a sentence. A request that fails costs only itself.

use std::time::Instant;

use futures_util::stream::Stream;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use super::super::apart::{self, End};
use super::super::gauges::Open;
use super::super::service::next;
use super::super::status;
use super::super::watched::Failures;
use super::OpenInference;
use super::batch;
use super::outputs::Piece;
use super::pb::infer_parameter::ParameterChoice;
use super::pb::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use super::request::{Ask, Form};
use crate::answer::Event;
use crate::article::Article;
use crate::engine::Lane;

/// Tells that nothing more comes in answer to a request.
const FINAL: &str = "triton_final_response";

/// Whether the stream is to end, with a status, at the first request that fails; Triton's header.
pub(super) fn wants_statuses(headers: &MetadataMap) -> bool {
    headers
        .get("triton_grpc_error")
        .is_some_and(|value| value == "true")
}

/// A call under way.
pub(super) struct Call {
    pub open_inference: OpenInference,
    pub deadline: Option<Instant>,
    pub failures: Failures,
    /// See [`wants_statuses`].
    pub statuses: bool,
}

/// A request, read.
struct Read {
    model: String,
    id: String,
    ask: Result<Ask, Status>,
}

impl Read {
    fn new(open_inference: &OpenInference, message: ModelInferRequest) -> Self {
        Self {
            model: message.model_name.clone(),
            id: message.id.clone(),
            ask: open_inference.read(message),
        }
    }
}

/// The first request of a stream, with which the stream is let in. The others wait for room.
pub(super) struct First(Read, Option<Lane>);

impl First {
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn admit(
        open_inference: &OpenInference,
        message: ModelInferRequest,
        deadline: Option<Instant>,
    ) -> Result<Self, Status> {
        let read = Read::new(open_inference, message);
        let lane = match &read.ask {
            Ok(ask) => {
                let until = ask.until(deadline);
                Some(batch::admit(&open_inference.service, &ask.articles, until)?)
            }
            Err(_) => None,
        };
        Ok(Self(read, lane))
    }
}

/// Why a request, or the whole call, is not answered.
enum Stop {
    Request(Status),
    Call(End),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Request(status)
    }
}

impl Call {
    /// Answers the requests in a task of its own, which ends when the stream of answers is dropped.
    pub fn answers(
        self,
        open: Open,
        first: Option<First>,
        requests: Streaming<ModelInferRequest>,
    ) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send + use<> {
        // A slow reader thus slows the reading of requests.
        apart::messages(move |out| async move {
            let _open = open;
            match first {
                Some(first) => self.run(&out, first, requests).await,
                None => Ok(()),
            }
        })
    }

    async fn run(
        &self,
        out: &Responses,
        First(mut read, mut admitted): First,
        mut requests: Streaming<ModelInferRequest>,
    ) -> Result<(), End> {
        let service = &self.open_inference.service;
        loop {
            let (model, id) = (read.model, read.id);
            let answered = match read.ask {
                Ok(ask) => self.answer(out, ask, admitted.take()).await,
                Err(status) => Err(Stop::Request(status)),
            };
            match answered {
                Ok(()) => {}
                Err(Stop::Call(end)) => return Err(end),
                Err(Stop::Request(status)) => self.fail(out, (&model, &id), status).await?,
            }
            let message = service.read(&mut requests, self.deadline).await;
            read = match message.map_err(End::Failed)? {
                Some(message) => Read::new(&self.open_inference, message),
                None => return Ok(()),
            };
        }
    }

    async fn answer(&self, out: &Responses, ask: Ask, lane: Option<Lane>) -> Result<(), Stop> {
        let terms = (ask.min_confidence, ask.until(self.deadline));
        if ask.form.decoupled {
            return self
                .by_sentence(out, &ask.form, ask.articles, terms, lane)
                .await;
        }
        let service = &self.open_inference.service;
        let response = {
            let answers = batch::answer(service, ask.articles, terms, lane).await?;
            let pieces = answers
                .iter()
                .map(Piece::whole)
                .collect::<Result<Vec<_>, _>>()?;
            self.open_inference.response(&ask.form, &pieces)
        };
        send(out, response, [(FINAL, ParameterChoice::BoolParam(true))]).await
    }

    /// A response a sentence, and one that ends each article.
    async fn by_sentence(
        &self,
        out: &Responses,
        form: &Form,
        articles: Vec<Article>,
        terms: (f32, Option<Instant>),
        mut admitted: Option<Lane>,
    ) -> Result<(), Stop> {
        let service = &self.open_inference.service;
        let count = articles.len();
        for (index, article) in articles.into_iter().enumerate() {
            let id = article.id.clone();
            let lane = admitted.take();
            let mut answer = batch::start(service, (index, article), terms, lane).await?;
            while let Some(event) = next(&mut answer, terms.1).await {
                let event = event.map_err(|error| batch::failed(index, error))?;
                let (piece, kind) = match &event {
                    Event::Sentence(sentence) => (Piece::sentence(sentence)?, "sentence"),
                    Event::Summary(summary) => (Piece::summary(&id, summary)?, "summary"),
                };
                let last = kind == "summary" && index + 1 == count && !form.empty_final;
                let response = self.open_inference.response(form, &[piece]);
                let parameters = [
                    ("article", ParameterChoice::Int64Param(index as i64)),
                    ("event", ParameterChoice::StringParam(kind.to_owned())),
                    (FINAL, ParameterChoice::BoolParam(last)),
                ];
                send(out, response, parameters).await?;
            }
        }
        if form.empty_final {
            let end = self.open_inference.head(&form.model, &form.id);
            send(out, end, [(FINAL, ParameterChoice::BoolParam(true))]).await?;
        }
        Ok(())
    }

    /// Tells that a request failed. A deadline of the call is not the request's, and ends the call.
    async fn fail(
        &self,
        out: &Responses,
        (model, id): (&str, &str),
        status: Status,
    ) -> Result<(), End> {
        if self.statuses || self.deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(End::Failed(status));
        }
        self.failures.count(&status);
        let mut response = self.open_inference.head(model, id);
        let code = ParameterChoice::StringParam(status::name(status.code()).to_owned());
        let reason = status.get_details_error_info().map(|info| info.reason);
        let reason = ParameterChoice::StringParam(reason.unwrap_or_default());
        let last = ParameterChoice::BoolParam(true);
        set(
            &mut response,
            [("code", code), ("reason", reason), (FINAL, last)],
        );
        let message = ModelStreamInferResponse {
            error_message: status.message().to_owned(),
            infer_response: Some(response),
        };
        out.send(message).await.map_err(|_| End::Gone)
    }
}

type Responses = mpsc::Sender<ModelStreamInferResponse>;

async fn send<const N: usize>(
    out: &Responses,
    mut response: ModelInferResponse,
    parameters: [(&str, ParameterChoice); N],
) -> Result<(), Stop> {
    set(&mut response, parameters);
    let message = ModelStreamInferResponse {
        error_message: String::new(),
        infer_response: Some(response),
    };
    let sent = out.send(message).await;
    sent.map_err(|_| Stop::Call(End::Gone))
}

fn set<const N: usize>(
    response: &mut ModelInferResponse,
    parameters: [(&str, ParameterChoice); N],
) {
    response.parameters.extend(parameters.map(|(name, value)| {
        let parameter_choice = Some(value);
        (name.to_owned(), InferParameter { parameter_choice })
    }));
}
