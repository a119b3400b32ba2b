//! What the server and its model say of themselves: names, tensors and, in Triton's configuration, labels
//! and limits.

use super::ARTICLES;
use super::outputs::OUTPUTS;
use super::pb::model_instance_group::Kind;
use super::pb::model_metadata_response::TensorMetadata;
use super::pb::{
    DataType, ModelConfig, ModelInput, ModelInstanceGroup, ModelMetadataResponse, ModelOutput,
    ModelParameter, ModelTransactionPolicy, ServerMetadataResponse,
};
use super::request::INPUTS;
use super::tensor::Datatype;
use crate::classifier::Classifier;
use crate::model::{Model, Placement};

/// What runs the model.
const PLATFORM: &str = "copydesk";

pub(super) fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: PLATFORM.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: ["model_configuration", "parameters"]
            .map(str::to_owned)
            .to_vec(),
    }
}

pub(super) fn metadata(model: &Model) -> ModelMetadataResponse {
    let tensor = |name: &str, datatype: Datatype, shape| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.name().to_owned(),
        shape,
    };
    let inputs = INPUTS.iter();
    let inputs = inputs.map(|input| tensor(input.name, Datatype::Bytes, vec![-1]));
    let outputs = OUTPUTS.iter();
    let outputs = outputs.map(|output| tensor(output.name, output.datatype, output.dims()));
    ModelMetadataResponse {
        name: model.identity().id.clone(),
        versions: versions(model),
        platform: PLATFORM.to_owned(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
    }
}

fn versions(model: &Model) -> Vec<String> {
    let revision = Some(model.identity().revision.clone());
    revision.into_iter().filter(|r| !r.is_empty()).collect()
}

/// Triton's configuration, as far as there is something to say. `max_batch_size` is 0: the first dimension
/// is not that of all outputs, so nobody may cut or join tensors along it.
pub(super) fn config(classifier: &Classifier) -> ModelConfig {
    let engine = classifier.engine();
    let model = engine.model();
    let inputs = INPUTS.iter().map(|input| ModelInput {
        name: input.name.to_owned(),
        data_type: DataType::TypeString.into(),
        dims: vec![-1],
        optional: input.optional,
        ..ModelInput::default()
    });
    let outputs = OUTPUTS.iter().map(|output| ModelOutput {
        name: output.name.to_owned(),
        data_type: data_type(output.datatype).into(),
        dims: output.dims(),
        ..ModelOutput::default()
    });
    let (kind, gpus) = match model.placement() {
        Placement::Cpu
        | Placement::CpuF32
        | Placement::CpuBf16
        | Placement::CpuInt16
        | Placement::CpuCandle => (Kind::Cpu, Vec::new()),
        Placement::Cuda(number) => (Kind::Gpu, vec![i32::try_from(number).unwrap_or(i32::MAX)]),
    };
    let instances = ModelInstanceGroup {
        name: model.identity().id.clone(),
        kind: kind.into(),
        count: i32::try_from(engine.config().workers).unwrap_or(i32::MAX),
        gpus,
        ..ModelInstanceGroup::default()
    };
    ModelConfig {
        name: model.identity().id.clone(),
        platform: PLATFORM.to_owned(),
        backend: PLATFORM.to_owned(),
        max_batch_size: 0,
        input: inputs.collect(),
        output: outputs.collect(),
        instance_group: vec![instances],
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
        parameters: parameters(classifier)
            .into_iter()
            .map(|(name, string_value)| (name.to_owned(), ModelParameter { string_value }))
            .collect(),
        ..ModelConfig::default()
    }
}

fn data_type(datatype: Datatype) -> DataType {
    match datatype {
        Datatype::Bytes => DataType::TypeString,
        Datatype::Fp32 => DataType::TypeFp32,
        Datatype::Int32 => DataType::TypeInt32,
    }
}

/// Labels, in the order of the columns of their scores, and limits.
fn parameters(classifier: &Classifier) -> [(&'static str, String); 14] {
    let (model, limits) = (classifier.engine().model(), classifier.limits());
    let (card, identity) = (model.card(), model.identity());
    [
        ("types", card.types.join(",")),
        ("sentiments", card.sentiments.join(",")),
        ("revision", identity.revision.clone()),
        ("sha256", identity.sha256.clone()),
        ("language", card.language_639_3().to_owned()),
        ("window_tokens", card.shape.window_tokens.to_string()),
        ("max_articles", ARTICLES.to_string()),
        ("max_text_bytes", limits.text_bytes.to_string()),
        ("max_headline_bytes", limits.headline_bytes.to_string()),
        ("max_sentences", limits.sentences.to_string()),
        ("max_parties", limits.parties.to_string()),
        ("max_aliases", limits.aliases.to_string()),
        ("max_spans", limits.spans.to_string()),
        ("max_name_bytes", limits.name_bytes.to_string()),
    ]
}
