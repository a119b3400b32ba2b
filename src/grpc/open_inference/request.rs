//! What a `ModelInferRequest` asks for: its tensors as articles, the outputs that it wants, its parameters.
//! Refuses what does not fit, in words near Triton's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tonic::Status;

use super::super::status;
use super::ARTICLES;
use super::outputs::{OUTPUTS, Output};
use super::pb::infer_parameter::ParameterChoice;
use super::pb::model_infer_request::InferInputTensor;
use super::pb::{InferParameter, ModelInferRequest};
use super::tensor::{self, Datatype};
use crate::article::json::{self, Line};
use crate::article::{Article, Body, Invalid, Limits, Parties, Reason};

/// An input: its name, and whether it may be left out. All are BYTES, one element an article.
pub(super) struct Input {
    pub name: &'static str,
    pub optional: bool,
}

/// All inputs.
pub(super) const INPUTS: [Input; 3] = [
    Input {
        name: "text",
        optional: false,
    },
    Input {
        name: "headline",
        optional: true,
    },
    Input {
        name: "parties",
        optional: true,
    },
];

/// A request, read.
pub(super) struct Ask {
    pub form: Form,
    pub articles: Vec<Article>,
    pub min_confidence: f32,
    timeout: Option<Duration>,
}

/// How a request is answered.
pub(super) struct Form {
    /// As the request names it.
    pub model: String,
    /// The caller's id for the request.
    pub id: String,
    /// In the order asked for; all of them if none was named.
    pub outputs: Vec<&'static Output>,
    /// Tensors go as raw bytes, as they came.
    pub raw: bool,
    /// A response a sentence, in a stream.
    pub decoupled: bool,
    /// The end of such an answer is a response of its own, without outputs.
    pub empty_final: bool,
}

/// How elements of `text` are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// As an object if it opens with `{`, else as plain text.
    #[default]
    Auto,
    Text,
    Json,
}

impl Ask {
    /// Reads a request; articles are held to `limits` as far as no cutting is needed.
    pub fn read(mut message: ModelInferRequest, limits: &Limits) -> Result<Self, Status> {
        let parameters = Parameters(&message.parameters);
        let format = parameters.format()?;
        let min_confidence = parameters.number("min_confidence")?.unwrap_or_default() as f32;
        let timeout = parameters.microseconds("timeout")?;
        let decoupled = parameters.flag("decoupled")?;
        let empty_final = parameters.flag("triton_enable_empty_final_response")?;
        let outputs = wanted(&message)?;
        let raw = !message.raw_input_contents.is_empty();
        let mut inputs = Inputs::read(&mut message)?;
        let articles = inputs.articles(format, limits)?;
        let form = Form {
            model: message.model_name,
            id: message.id,
            outputs,
            raw,
            decoupled,
            empty_final,
        };
        Ok(Self {
            form,
            articles,
            min_confidence,
            timeout,
        })
    }

    /// The earlier of the call's deadline and the request's own.
    pub fn until(&self, deadline: Option<Instant>) -> Option<Instant> {
        let own = self.timeout.and_then(|t| Instant::now().checked_add(t));
        match (deadline, own) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// The outputs asked for.
fn wanted(message: &ModelInferRequest) -> Result<Vec<&'static Output>, Status> {
    let mut found: Vec<&'static Output> = Vec::new();
    for wanted in &message.outputs {
        let (name, model) = (&wanted.name, &message.model_name);
        let field = format!("outputs.{name}");
        let Some(output) = OUTPUTS.iter().find(|output| output.name == name) else {
            let names: Vec<&str> = OUTPUTS.iter().map(|output| output.name).collect();
            let message = format!(
                "unexpected inference output '{name}' for model '{model}'; there are {}",
                names.join(", ")
            );
            return Err(status::invalid_tensor(&field, message));
        };
        no_shared_memory(&field, name, &wanted.parameters)?;
        if Parameters(&wanted.parameters).number("classification")? > Some(0.0) {
            let message = format!("output '{name}' cannot be asked for as a classification");
            return Err(status::invalid_tensor(&field, message));
        }
        if !found.iter().any(|other| other.name == output.name) {
            found.push(output);
        }
    }
    if found.is_empty() {
        found.extend(&OUTPUTS);
    }
    Ok(found)
}

fn no_shared_memory(
    field: &str,
    name: &str,
    parameters: &HashMap<String, InferParameter>,
) -> Result<(), Status> {
    if parameters.contains_key("shared_memory_region") {
        let message =
            format!("tensor '{name}' is in shared memory, which this server does not read");
        return Err(status::invalid_tensor(field, message));
    }
    Ok(())
}

/// The elements of the inputs, in the order of [`INPUTS`]; an input that was left out has none.
struct Inputs {
    elements: [Option<Vec<String>>; INPUTS.len()],
}

impl Inputs {
    fn read(message: &mut ModelInferRequest) -> Result<Self, Status> {
        let model = std::mem::take(&mut message.model_name);
        let inputs = std::mem::take(&mut message.inputs);
        let raws = std::mem::take(&mut message.raw_input_contents);
        if !raws.is_empty() && raws.len() != inputs.len() {
            let problem = format!(
                "expected {} raw input contents, one an input, for model '{model}', but got {}",
                inputs.len(),
                raws.len()
            );
            return Err(status::invalid_tensor("raw_input_contents", problem));
        }
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        let mut elements = [const { None }; INPUTS.len()];
        let mut raws = raws.into_iter();
        for input in inputs {
            let name = input.name.clone();
            let Some(index) = INPUTS.iter().position(|known| known.name == name) else {
                let message = format!(
                    "unexpected inference input '{name}' for model '{model}'; there are text, headline \
                     and parties"
                );
                return Err(status::invalid_tensor(&name, message));
            };
            let found = read(input, raws.next(), &model)?;
            if elements[index].replace(found).is_some() {
                let message = format!("input '{name}' already exists in request");
                return Err(status::invalid_tensor(&name, message));
            }
        }
        if elements[0].is_none() {
            let message = format!(
                "expected input 'text' but got {} inputs for model '{model}'. Got input(s) {names:?}, \
                 but missing required input(s) ['text']",
                names.len()
            );
            return Err(status::invalid_tensor("text", message));
        }
        message.model_name = model;
        Ok(Self { elements })
    }

    fn articles(&mut self, format: Format, limits: &Limits) -> Result<Vec<Article>, Status> {
        let [texts, headlines, parties] = std::mem::take(&mut self.elements);
        let texts = texts.unwrap_or_default();
        let count = texts.len();
        let column = |input: usize, given: Option<Vec<String>>| match given {
            None => Ok(vec![String::new(); count]),
            Some(given) if given.len() == count => Ok(given),
            Some(given) => {
                let name = INPUTS[input].name;
                let message = format!(
                    "input '{name}' has {} elements, but 'text' has {count}; each article has its own",
                    given.len()
                );
                Err(status::invalid_tensor(name, message))
            }
        };
        let (headlines, parties) = (column(1, headlines)?, column(2, parties)?);
        let mut articles = Vec::with_capacity(count);
        let rows = texts.into_iter().zip(headlines).zip(parties).enumerate();
        for (index, ((text, headline), parties)) in rows {
            articles.push(article(index, format, text, headline, &parties)?);
        }
        check(&articles, limits)?;
        Ok(articles)
    }
}

/// One input's elements.
fn read(input: InferInputTensor, raw: Option<Vec<u8>>, model: &str) -> Result<Vec<String>, Status> {
    let name = input.name.as_str();
    no_shared_memory(name, name, &input.parameters)?;
    if input.datatype != Datatype::Bytes.name() {
        let message = format!(
            "inference input '{name}' data-type is '{}', but model '{model}' expects 'BYTES'",
            input.datatype
        );
        return Err(status::invalid_tensor(name, message));
    }
    let count = match input.shape.as_slice() {
        &[n] | &[n, 1] => usize::try_from(n)
            .ok()
            .filter(|n| (1..=ARTICLES).contains(n)),
        _ => None,
    };
    let Some(count) = count else {
        let message = format!(
            "unexpected shape for input '{name}' for model '{model}'. Expected [n] or [n,1] with n from \
             1 to {ARTICLES}, got {:?}",
            input.shape
        );
        return Err(status::invalid_tensor(name, message));
    };
    let elements = match (raw, input.contents) {
        (Some(_), Some(_)) => {
            let message = format!(
                "contents field must not be specified when using raw_input_contents for '{name}' for \
                 model '{model}'"
            );
            return Err(status::invalid_tensor(name, message));
        }
        (Some(raw), None) => tensor::split(name, &raw, count)?,
        (None, contents) => contents.unwrap_or_default().bytes_contents,
    };
    if elements.len() != count {
        return Err(tensor::wrong_count(name, Some(elements.len()), count));
    }
    let text = elements.into_iter().enumerate().map(|(index, bytes)| {
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let field = format!("{name}[{index}]");
            let message = format!("{field}: is not UTF-8: byte {at} cannot be read");
            status::invalid_tensor(&field, message)
        })
    });
    text.collect()
}

/// The article of one element, with what the other inputs say of it.
fn article(
    index: usize,
    format: Format,
    text: String,
    headline: String,
    parties: &str,
) -> Result<Article, Status> {
    let refuse = |field: String, problem: String| {
        let message = format!("{field}: {problem}");
        status::invalid_tensor(&field, message)
    };
    let text_field = || format!("text[{index}]");
    let object = match format {
        Format::Auto => opens_with_brace(&text),
        Format::Text => false,
        Format::Json => true,
    };
    let mut article = if object {
        let line = Line::parse(&text).map_err(|problem| refuse(text_field(), problem))?;
        let id = line.id().map_or_else(|| index.to_string(), str::to_owned);
        let article = line.into_article(id);
        article.map_err(|problem| refuse(text_field(), problem))?
    } else {
        Article {
            id: index.to_string(),
            body: Body::Text(text.trim_start_matches('\u{feff}').to_owned()),
            ..Article::default()
        }
    };
    if !headline.is_empty() {
        let own = article.headline.replace(headline);
        if own.is_some_and(|own| !own.is_empty()) {
            let problem = "stands in the article's object as well; send one of them".to_owned();
            return Err(refuse(format!("headline[{index}]"), problem));
        }
    }
    if !parties.trim().is_empty() {
        let field = format!("parties[{index}]");
        if article.parties != Parties::Detect {
            let problem = "stands in the article's object as well; send one of them".to_owned();
            return Err(refuse(field, problem));
        }
        article.parties = json::parties(parties).map_err(|problem| refuse(field, problem))?;
    }
    Ok(article)
}

fn opens_with_brace(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('{')
}

/// Holds each article to the limits, and all together to those of one: their answers are held until
/// the last is there.
fn check(articles: &[Article], limits: &Limits) -> Result<(), Status> {
    for (index, article) in articles.iter().enumerate() {
        article
            .check(limits)
            .map_err(|error| status::invalid(&place(index, error)))?;
    }
    let bytes: usize = articles.iter().map(|article| article.body.bytes()).sum();
    if bytes > limits.text_bytes {
        let problem = format!(
            "holds {bytes} bytes of text in {} articles; at most {} are allowed in one request",
            articles.len(),
            limits.text_bytes
        );
        return Err(status::invalid(&Invalid::new(
            "text",
            Reason::TextTooLong,
            problem,
        )));
    }
    Ok(())
}

/// Says which article of a request is meant: the text is the element itself, all else stands below it.
pub(super) fn place(index: usize, error: Invalid) -> Invalid {
    let field = match error.field.as_str() {
        // An option of the whole request.
        "min_confidence" => error.field,
        "text" => format!("text[{index}]"),
        below => format!("text[{index}].{below}"),
    };
    Invalid { field, ..error }
}

/// Parameters by name. Those that are not known are passed over, as the protocol has it.
struct Parameters<'a>(&'a HashMap<String, InferParameter>);

impl Parameters<'_> {
    fn get(&self, name: &str) -> Option<&ParameterChoice> {
        self.0.get(name)?.parameter_choice.as_ref()
    }

    fn format(&self) -> Result<Format, Status> {
        match self.get("input_format") {
            None => Ok(Format::Auto),
            Some(ParameterChoice::StringParam(name)) if name == "auto" => Ok(Format::Auto),
            Some(ParameterChoice::StringParam(name)) if name == "text" => Ok(Format::Text),
            Some(ParameterChoice::StringParam(name)) if name == "json" => Ok(Format::Json),
            Some(_) => Err(wrong("input_format", "'auto', 'text' or 'json'")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Status> {
        match self.get(name) {
            None => Ok(false),
            Some(ParameterChoice::BoolParam(flag)) => Ok(*flag),
            Some(_) => Err(wrong(name, "a bool")),
        }
    }

    /// Clients without doubles send text.
    fn number(&self, name: &str) -> Result<Option<f64>, Status> {
        let Some(given) = self.get(name) else {
            return Ok(None);
        };
        let number = match given {
            ParameterChoice::DoubleParam(x) => Some(*x),
            ParameterChoice::Int64Param(n) => Some(*n as f64),
            ParameterChoice::Uint64Param(n) => Some(*n as f64),
            ParameterChoice::StringParam(text) => text.trim().parse().ok(),
            ParameterChoice::BoolParam(_) => None,
        };
        number.map(Some).ok_or_else(|| wrong(name, "a number"))
    }

    /// `None` as well for 0, which Triton reads as no limit.
    fn microseconds(&self, name: &str) -> Result<Option<Duration>, Status> {
        let micros = match self.get(name) {
            None => Some(0),
            Some(ParameterChoice::Int64Param(n)) => u64::try_from(*n).ok(),
            Some(ParameterChoice::Uint64Param(n)) => Some(*n),
            Some(_) => None,
        };
        let micros = micros.ok_or_else(|| wrong(name, "a whole number of microseconds"))?;
        Ok((micros > 0).then(|| Duration::from_micros(micros)))
    }
}

fn wrong(name: &str, allowed: &str) -> Status {
    let message = format!("parameter '{name}': {allowed} is allowed");
    status::invalid_tensor(&format!("parameters.{name}"), message)
}
