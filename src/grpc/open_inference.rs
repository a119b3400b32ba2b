//! KServe's Open Inference Protocol v2 as Triton's clients speak it: articles as BYTES in, answers as JSON
//! and as tensors out. Asks the classifier by the same rules as our own service, and decides nothing about
//! articles. What it has no use for (shared memory, repositories, statistics) is UNIMPLEMENTED.

mod batch;
mod describe;
mod outputs;
mod request;
mod stream;
mod tensor;

use std::pin::Pin;

use futures_util::stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use self::outputs::Piece;
use self::pb::grpc_inference_service_server::GrpcInferenceService;
use super::gauges::Kind;
use super::service::Service;
use super::watched::Failures;
use super::{deadline, status};

/// The protocol, generated from `proto/third_party/triton`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::unwrap_used)]
pub mod pb {
    tonic::include_proto!("inference");
    /// The protocol's descriptors, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("inference");
}

/// The service's full name, as health checks ask for it.
pub const SERVICE: &str = "inference.GRPCInferenceService";

/// Articles of one request, at most: their answers are held until the last is there. All together
/// they may have as much text and as many sentences as one article.
pub const ARTICLES: usize = 256;

/// The service; answers by the classifier of [`Service`], under its admission.
#[derive(Clone)]
pub struct OpenInference {
    service: Service,
}

impl OpenInference {
    /// Speaks the protocol for `service`.
    pub fn new(service: Service) -> Self {
        Self { service }
    }

    /// Whether the model that is served is the one named; any version if that is empty.
    fn known(&self, name: &str, version: &str) -> Result<(), Status> {
        let model = self.service.classifier().engine().model().identity();
        if name != model.id {
            let message = format!(
                "Request for unknown model: '{name}' is not found; this server has '{}'",
                model.id
            );
            return Err(status::unknown_model(message));
        }
        if !version.is_empty() && version != model.revision {
            let has = match model.revision.as_str() {
                "" => "the model has no version, leave it empty".to_owned(),
                revision => format!("this server has '{revision}'"),
            };
            let message = format!(
                "Request for unknown model: '{name}' version {version} is not found; {has}"
            );
            return Err(status::unknown_model(message));
        }
        Ok(())
    }

    /// What a request asks for.
    fn read(&self, message: pb::ModelInferRequest) -> Result<request::Ask, Status> {
        self.known(&message.model_name, &message.model_version)?;
        request::Ask::read(message, self.service.classifier().limits())
    }

    /// The head of every response to a request.
    fn head(&self, model: &str, id: &str) -> pb::ModelInferResponse {
        let identity = self.service.classifier().engine().model().identity();
        pb::ModelInferResponse {
            model_name: model.to_owned(),
            model_version: identity.revision.clone(),
            id: id.to_owned(),
            ..pb::ModelInferResponse::default()
        }
    }

    /// The response to a request, or a part of it.
    fn response(&self, ask: &request::Form, pieces: &[Piece<'_>]) -> pb::ModelInferResponse {
        let head = self.head(&ask.model, &ask.id);
        outputs::response(head, &ask.outputs, ask.raw, pieces)
    }
}

/// Methods that this server has no use for.
macro_rules! without {
    ($($method:ident: $request:ident => $response:ident, $why:literal;)*) => {$(
        fn $method<'s, 'f>(
            &'s self,
            _request: Request<pb::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<pb::$response>, Status>> + Send + 'f>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(Status::unimplemented($why)) })
        }
    )*};
}

#[tonic::async_trait]
impl GrpcInferenceService for OpenInference {
    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<pb::ModelStreamInferResponse, Status>> + Send>>;

    async fn server_live(
        &self,
        _request: Request<pb::ServerLiveRequest>,
    ) -> Result<Response<pb::ServerLiveResponse>, Status> {
        Ok(Response::new(pb::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _request: Request<pb::ServerReadyRequest>,
    ) -> Result<Response<pb::ServerReadyResponse>, Status> {
        let ready = self.service.serving();
        Ok(Response::new(pb::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Result<Response<pb::ModelReadyResponse>, Status> {
        let asked = request.into_inner();
        // A model that is not here is not ready; that is an answer, as it is Triton's.
        let ready = self.known(&asked.name, &asked.version).is_ok() && self.service.serving();
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _request: Request<pb::ServerMetadataRequest>,
    ) -> Result<Response<pb::ServerMetadataResponse>, Status> {
        Ok(Response::new(describe::server()))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Result<Response<pb::ModelMetadataResponse>, Status> {
        let asked = request.into_inner();
        self.known(&asked.name, &asked.version)?;
        let model = self.service.classifier().engine().model();
        Ok(Response::new(describe::metadata(model)))
    }

    async fn model_config(
        &self,
        request: Request<pb::ModelConfigRequest>,
    ) -> Result<Response<pb::ModelConfigResponse>, Status> {
        let asked = request.into_inner();
        self.known(&asked.name, &asked.version)?;
        let config = Some(describe::config(self.service.classifier()));
        Ok(Response::new(pb::ModelConfigResponse { config }))
    }

    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Result<Response<pb::ModelInferResponse>, Status> {
        let deadline = deadline::of(&request);
        let _open = self.service.gauges().open(Kind::Article);
        let ask = self.read(request.into_inner())?;
        if ask.form.decoupled {
            let message =
                "parameter 'decoupled': only ModelStreamInfer answers sentence by sentence";
            return Err(status::invalid_tensor("parameters.decoupled", message));
        }
        let deadline = ask.until(deadline);
        let admitted = batch::admit(&self.service, &ask.articles, deadline)?;
        let terms = (ask.min_confidence, deadline);
        let answers = batch::answer(&self.service, ask.articles, terms, Some(admitted)).await?;
        let pieces = answers
            .iter()
            .map(Piece::whole)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Response::new(self.response(&ask.form, &pieces)))
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<pb::ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let failures = request.extensions().get::<Failures>();
        let failures = failures.cloned().unwrap_or_default();
        let deadline = deadline::of(&request);
        let open = self.service.gauges().open(Kind::Corpus);
        let statuses = stream::wants_statuses(request.metadata());
        let mut requests = request.into_inner();
        let first = match self.service.read(&mut requests, deadline).await? {
            None => None,
            Some(message) => Some(stream::First::admit(self, message, deadline)?),
        };
        let call = stream::Call {
            open_inference: self.clone(),
            deadline,
            failures,
            statuses,
        };
        Ok(Response::new(call.answers(open, first, requests).boxed()))
    }

    without! {
        model_statistics: ModelStatisticsRequest => ModelStatisticsResponse,
            "no statistics here; the server tells its metrics to Prometheus (--metrics-addr)";
        repository_index: RepositoryIndexRequest => RepositoryIndexResponse,
            "no model repository; this server has one model, see ModelMetadata";
        repository_model_load: RepositoryModelLoadRequest => RepositoryModelLoadResponse,
            "no model repository; this server has one model, chosen by --model";
        repository_model_unload: RepositoryModelUnloadRequest => RepositoryModelUnloadResponse,
            "no model repository; this server has one model, chosen by --model";
        system_shared_memory_status:
            SystemSharedMemoryStatusRequest => SystemSharedMemoryStatusResponse,
            "no shared memory; send tensors in the request";
        system_shared_memory_register:
            SystemSharedMemoryRegisterRequest => SystemSharedMemoryRegisterResponse,
            "no shared memory; send tensors in the request";
        system_shared_memory_unregister:
            SystemSharedMemoryUnregisterRequest => SystemSharedMemoryUnregisterResponse,
            "no shared memory; send tensors in the request";
        cuda_shared_memory_status: CudaSharedMemoryStatusRequest => CudaSharedMemoryStatusResponse,
            "no shared memory; send tensors in the request";
        cuda_shared_memory_register:
            CudaSharedMemoryRegisterRequest => CudaSharedMemoryRegisterResponse,
            "no shared memory; send tensors in the request";
        cuda_shared_memory_unregister:
            CudaSharedMemoryUnregisterRequest => CudaSharedMemoryUnregisterResponse,
            "no shared memory; send tensors in the request";
        trace_setting: TraceSettingRequest => TraceSettingResponse,
            "traces are set by the server's flags (--otlp-endpoint, --trace-ratio)";
        log_settings: LogSettingsRequest => LogSettingsResponse,
            "the log is set by the server's flags (--log, --log-format)";
    }
}
