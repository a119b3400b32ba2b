//! The network: windows of token ids in, logits and spans out. Synchronous; knows nothing of
//! tokio, gRPC or articles. Refuses files that do not fit together, and logits that are no numbers.

mod candle;
pub mod config;
mod cpu;
pub mod decode;
pub mod files;
mod network;
mod weights;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use copydesk_kernels::kernel::Kernels;
use copydesk_kernels::lanes::Precision;

use self::candle::Candle;
use self::config::Card;
use self::cpu::Cpu;
use self::files::Files;
use self::network::{Asked, Mentions, Network};
use self::weights::Weights;
use crate::answer::ModelIdentity;
use crate::encode::{Encoder, Lookup, TokenizerError, Window};

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or unreadable.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `config.json` does not parse.
    #[error("config.json is not a copydesk model config")]
    Config(#[source] serde_json::Error),
    /// The directory is of another format.
    #[error(
        "config.json: copydesk.format is {found}; this build reads {}",
        config::FORMAT
    )]
    Format {
        /// What stands there.
        found: u32,
    },
    /// A setting does not fit.
    #[error("config.json: {name} {problem}")]
    Setting {
        /// Which.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `tokenizer.json` cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// `model.safetensors` is damaged.
    #[error("model.safetensors cannot be read: {0}")]
    Weights(#[from] safetensors::SafeTensorError),
    /// A tensor holds NaN or infinity.
    #[error("model.safetensors: tensor {0} holds a value that is not finite")]
    NotFinite(String),
    /// A tensor is missing or has another shape.
    #[error("model.safetensors does not fit config.json: {0}")]
    Shape(String),
    /// The device cannot be used.
    #[error("device {device}: {problem}")]
    Device {
        /// As asked for.
        device: String,
        /// Why not.
        problem: String,
    },
    /// Built without a model inside.
    #[error("this build has no model inside; name one with --model")]
    NoModel,
}

/// Why a batch was not answered.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// candle failed.
    #[error("the model failed")]
    Candle(#[from] candle_core::Error),
    /// The network gave NaN or infinity.
    #[error("the model gave logits that are not finite")]
    NotFinite,
    /// The token states come from a model that runs elsewhere.
    #[error("token states of another model")]
    OtherModel,
}

/// What the model says of one sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct SentenceLogits {
    /// Its number in the article.
    pub index: usize,
    /// In the order of [`crate::answer::SentenceType::ALL`].
    pub kind: [f32; 5],
    /// O, B, I of every word, for parties.
    pub party_tags: Vec<[f32; 3]>,
    /// O, B, I of every word, for the speaker.
    pub speaker_tags: Vec<[f32; 3]>,
    /// The speaker, in bytes of the sentence; whether the type allows one is not looked at.
    pub speaker: Option<Range<usize>>,
    /// One a mention: those given, in their order, or those found.
    pub mentions: Vec<MentionLogits>,
}

/// What the model says of one mention.
#[derive(Clone, Debug, PartialEq)]
pub struct MentionLogits {
    /// Bytes of the sentence; empty for a given mention (the caller knows it).
    pub range: Range<usize>,
    /// In the order of [`crate::answer::Sentiment::ALL`].
    pub sentiment: [f32; 3],
}

/// Where the model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The processor, by the encoder of our own: [`Placement::CpuBf16`] where the processor has tiles (Intel's
    /// AMX, on Linux) or an instruction for it that pays (AMD's), [`Placement::CpuInt16`] where it has one for integers
    /// (AVX512-VNNI) or AVX2 is the widest that it has, else [`Placement::CpuF32`].
    #[default]
    Cpu,
    /// The processor, all in f32.
    CpuF32,
    /// The processor, the products that every token passes of bfloat16 and summed in f32. The same answers, to the
    /// last bit, on every machine with tiles, and on every one without: tiles add up in another order.
    /// Without tiles or such an instruction no faster than f32.
    CpuBf16,
    /// The processor, the products that every token passes of integers of 16 bits (attention's of f32). The same answers,
    /// to the last bit, on every machine; without AVX2 many times slower than f32.
    CpuInt16,
    /// The processor, by candle's `BertModel`: several times slower; the reference.
    CpuCandle,
    /// An NVIDIA GPU by number.
    Cuda(usize),
}

impl std::str::FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cpu-f32" => Ok(Self::CpuF32),
            None if text == "cpu-bf16" => Ok(Self::CpuBf16),
            None if text == "cpu-int16" => Ok(Self::CpuInt16),
            None if text == "cpu-candle" => Ok(Self::CpuCandle),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", n)) if n.parse::<usize>().is_ok() => {
                Ok(Self::Cuda(n.parse().unwrap_or(0)))
            }
            _ => Err(format!(
                "{text:?} is no device; use cpu, cpu-f32, cpu-bf16, cpu-int16, cpu-candle, cuda or cuda:N"
            )),
        }
    }
}

impl std::fmt::Display for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::CpuF32 => f.write_str("cpu-f32"),
            Self::CpuBf16 => f.write_str("cpu-bf16"),
            Self::CpuInt16 => f.write_str("cpu-int16"),
            Self::CpuCandle => f.write_str("cpu-candle"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// A loaded model; shared by all workers.
pub struct Model {
    card: Card,
    identity: ModelIdentity,
    encoder: Arc<Encoder>,
    backend: Backend,
    placement: Placement,
}

enum Backend {
    Cpu(Box<Cpu>),
    Candle(Box<Candle>),
}

/// Token states of a batch; made by [`Model::encode`] for [`Model::read`] of the same model.
pub struct States(Backed);

enum Backed {
    Cpu(<Cpu as Network>::States),
    Candle(<Candle as Network>::States),
}

impl Model {
    /// Loads a model onto a device: some tenths of a second.
    ///
    /// ```
    /// use copydesk::model::files::Files;
    /// use copydesk::{Model, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let Some(files) = Files::embedded() else { return Ok(()) };
    /// let model = Model::load(&files, Placement::CpuF32)?;
    /// assert_eq!(model.identity().id, "news-en");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Names the file, and in it the setting or tensor, that is wrong.
    pub fn load(files: &Files, placement: Placement) -> Result<Self, LoadError> {
        let (bert, card) = config::read(&files.config)?;
        let encoder = Encoder::new(&files.tokenizer, card.shape)?;
        if encoder.vocabulary() > bert.vocab_size {
            return Err(LoadError::Setting {
                name: "vocab_size".into(),
                problem: format!(
                    "is less than the tokenizer's {} tokens",
                    encoder.vocabulary()
                ),
            });
        }
        // The table of contents is checked against the file before a tensor is touched.
        let weights = Weights::new(&files.weights)?;
        let placement = match placement {
            Placement::Cpu => match Kernels::new().preferred(bert.hidden_size) {
                Precision::F32 => Placement::CpuF32,
                Precision::Bf16 => Placement::CpuBf16,
                Precision::Int16 => Placement::CpuInt16,
            },
            other => other,
        };
        let cpu = |precision| Cpu::load(&weights, &bert, precision).map(Box::new);
        let backend = match placement {
            Placement::Cpu | Placement::CpuF32 => Backend::Cpu(cpu(Precision::F32)?),
            Placement::CpuBf16 => Backend::Cpu(cpu(Precision::Bf16)?),
            Placement::CpuInt16 => Backend::Cpu(cpu(Precision::Int16)?),
            Placement::CpuCandle | Placement::Cuda(_) => {
                let device = device(placement)?;
                Backend::Candle(Box::new(Candle::load(&files.weights, &bert, device)?))
            }
        };
        let identity = ModelIdentity {
            id: card.id.clone(),
            revision: card.revision.clone(),
            sha256: files.sha256(),
        };
        Ok(Self {
            card,
            identity,
            encoder: Arc::new(encoder),
            backend,
            placement,
        })
    }

    /// The `copydesk` object of the model's config.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Id, revision and hash.
    pub fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// The tokenizer and the cut of the windows.
    pub fn encoder(&self) -> &Arc<Encoder> {
        &self.encoder
    }

    /// Where it runs.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Answers a batch of windows: for each its sentences, in order.
    ///
    /// # Errors
    ///
    /// When candle fails or a logit is not finite.
    pub fn answer(&self, windows: &[&Window]) -> Result<Vec<Vec<SentenceLogits>>, RunError> {
        let states = self.encode(windows)?;
        self.read(windows, &states)
    }

    /// Passes windows through the encoder: each token once.
    ///
    /// # Errors
    ///
    /// When candle fails.
    pub fn encode(&self, windows: &[&Window]) -> Result<States, RunError> {
        Ok(States(match &self.backend {
            Backend::Cpu(network) => Backed::Cpu(network.encode(windows)?),
            Backend::Candle(network) => Backed::Candle(network.encode(windows)?),
        }))
    }

    /// Reads the heads off the states of the same windows: for each window its sentences, in order.
    ///
    /// # Errors
    ///
    /// When candle fails, a logit is not finite, or the states are another backend's.
    pub fn read(
        &self,
        windows: &[&Window],
        states: &States,
    ) -> Result<Vec<Vec<SentenceLogits>>, RunError> {
        match (&self.backend, &states.0) {
            (Backend::Cpu(network), Backed::Cpu(states)) => read(&**network, windows, states),
            (Backend::Candle(network), Backed::Candle(states)) => read(&**network, windows, states),
            _ => Err(RunError::OtherModel),
        }
    }
}

fn read<N: Network>(
    network: &N,
    windows: &[&Window],
    states: &N::States,
) -> Result<Vec<Vec<SentenceLogits>>, RunError> {
    let asked: Vec<Asked<'_>> = windows
        .iter()
        .enumerate()
        .flat_map(|(window, w)| {
            w.sentences
                .iter()
                .map(move |sentence| Asked { window, sentence })
        })
        .collect();
    let kinds = finite(network.types(states, &asked)?)?;
    let tags = network.tags(states, &asked)?;
    let mut mentions: Vec<Mentions> = Vec::with_capacity(asked.len());
    let mut answers = Vec::with_capacity(asked.len());
    for ((asked, kind), (party, speaker)) in asked.iter().zip(kinds).zip(tags) {
        let (party, speaker) = (finite(party)?, finite(speaker)?);
        let tokens = &asked.sentence.tokens;
        // Tokens of each mention, and its bytes where it was found here.
        let (found, ranges): (Mentions, Vec<Range<usize>>) = match &asked.sentence.lookup {
            Lookup::Given(given) => given.iter().map(|t| (t.clone(), 0..0)).unzip(),
            Lookup::Detect => decode::spans(&party)
                .iter()
                .map(|w| (tokens.word_tokens(w), tokens.word_bytes(w)))
                .unzip(),
        };
        mentions.push(found);
        let mention = |range| MentionLogits {
            range,
            sentiment: [0.0; 3],
        };
        answers.push(SentenceLogits {
            index: asked.sentence.index,
            kind,
            speaker: decode::best_span(&speaker, 0.0).map(|w| tokens.word_bytes(&w)),
            party_tags: party,
            speaker_tags: speaker,
            mentions: ranges.into_iter().map(mention).collect(),
        });
    }
    let sentiments = finite(network.sentiments(states, &asked, &mentions)?)?;
    let all = answers.iter_mut().flat_map(|a| &mut a.mentions);
    for (mention, sentiment) in all.zip(sentiments) {
        mention.sentiment = sentiment;
    }
    let mut answers = answers.into_iter();
    let per_window = windows
        .iter()
        .map(|w| answers.by_ref().take(w.sentences.len()).collect());
    Ok(per_window.collect())
}

/// Refuses logits that are no numbers.
fn finite<const N: usize>(rows: Vec<[f32; N]>) -> Result<Vec<[f32; N]>, RunError> {
    if rows.as_flattened().iter().all(|x| x.is_finite()) {
        Ok(rows)
    } else {
        Err(RunError::NotFinite)
    }
}

fn device(placement: Placement) -> Result<Device, LoadError> {
    match placement {
        Placement::Cpu
        | Placement::CpuF32
        | Placement::CpuBf16
        | Placement::CpuInt16
        | Placement::CpuCandle => Ok(Device::Cpu),
        Placement::Cuda(n) => Device::new_cuda(n).map_err(|e| LoadError::Device {
            device: placement.to_string(),
            problem: e.to_string(),
        }),
    }
}
