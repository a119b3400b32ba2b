//! The network: windows of token ids in, logits and spans out. Synchronous; knows nothing of
//! tokio, gRPC or articles. Refuses files that do not fit together, and logits that are no numbers.

pub mod config;
pub mod decode;
pub mod files;
mod heads;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;

use self::config::Card;
use self::files::Files;
use self::heads::{SentimentHead, TagHead, TypeHead};
use crate::answer::ModelIdentity;
use crate::encode::{Answered, Encoder, Lookup, Sequence, TokenizerError, Window};

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
    Shape(#[source] candle_core::Error),
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
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by number.
    Cuda(usize),
}

impl std::str::FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", n)) if n.parse::<usize>().is_ok() => {
                Ok(Self::Cuda(n.parse().unwrap_or(0)))
            }
            _ => Err(format!("{text:?} is no device; use cpu, cuda or cuda:N")),
        }
    }
}

impl std::fmt::Display for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Which implementation of the encoder runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// The one of this crate.
    #[default]
    Ours,
    /// candle's BERT, the reference.
    Candle,
}

/// The token states of a batch of windows, between encoder and heads: per window its sequences.
pub struct States(Vec<Vec<Tensor>>);

/// A loaded model; shared by all workers.
pub struct Model {
    card: Card,
    identity: ModelIdentity,
    encoder: Arc<Encoder>,
    bert: BertModel,
    types: TypeHead,
    party: TagHead,
    speaker: TagHead,
    sentiment: SentimentHead,
    device: Device,
    placement: Placement,
    hidden: usize,
}

impl Model {
    /// Loads a model onto a device.
    ///
    /// # Errors
    ///
    /// Names the file, and in it the setting or tensor, that is wrong.
    pub fn load(files: &Files, placement: Placement) -> Result<Self, LoadError> {
        Self::load_with(files, placement, Kernel::default())
    }

    /// The same, with a choice of the encoder. There is candle's only, so far.
    ///
    /// # Errors
    ///
    /// As [`Model::load`].
    pub fn load_with(
        files: &Files,
        placement: Placement,
        _kernel: Kernel,
    ) -> Result<Self, LoadError> {
        let (bert_config, card) = config::read(&files.config)?;
        let encoder = Encoder::new(&files.tokenizer, card.shape)?;
        if encoder.vocabulary() > bert_config.vocab_size {
            return Err(LoadError::Setting {
                name: "vocab_size".into(),
                problem: format!(
                    "is less than the tokenizer's {} tokens",
                    encoder.vocabulary()
                ),
            });
        }
        let device = device(placement)?;
        let tensors = tensors(&files.weights)?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &device);
        let hidden = bert_config.hidden_size;
        let heads = vb.pp("heads");
        let load = || -> candle_core::Result<_> {
            Ok((
                BertModel::load(vb.clone(), &bert_config)?,
                TypeHead::load(heads.pp("sentence_type"), hidden)?,
                TagHead::load(heads.pp("party"), hidden)?,
                TagHead::load(heads.pp("speaker"), hidden)?,
                SentimentHead::load(heads.pp("sentiment"), hidden)?,
            ))
        };
        let (bert, types, party, speaker, sentiment) = load().map_err(LoadError::Shape)?;
        let identity = ModelIdentity {
            id: card.id.clone(),
            revision: card.revision.clone(),
            sha256: files.sha256(),
        };
        let encoder = Arc::new(encoder);
        Ok(Self {
            card,
            identity,
            encoder,
            bert,
            types,
            party,
            speaker,
            sentiment,
            device,
            placement,
            hidden,
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
        self.read(windows, &self.encode(windows)?)
    }

    /// Runs the encoder over a batch of windows.
    ///
    /// # Errors
    ///
    /// When candle fails.
    pub fn encode(&self, windows: &[&Window]) -> Result<States, RunError> {
        Ok(States(self.states(windows)?))
    }

    /// Runs the heads over the states of the same windows: for each its sentences, in order.
    ///
    /// # Errors
    ///
    /// When candle fails or a logit is not finite.
    pub fn read(
        &self,
        windows: &[&Window],
        states: &States,
    ) -> Result<Vec<Vec<SentenceLogits>>, RunError> {
        let sentences: Vec<(&Answered, Tensor)> = windows
            .iter()
            .zip(&states.0)
            .flat_map(|(window, sequences)| {
                window
                    .sentences
                    .iter()
                    .map(move |s| (s, gather(sequences, s)))
            })
            .map(|(s, gathered)| Ok((s, gathered?)))
            .collect::<candle_core::Result<_>>()?;
        let mut answers = self.read_sentences(&sentences)?.into_iter();
        let per_window = windows
            .iter()
            .map(|w| answers.by_ref().take(w.sentences.len()).collect());
        Ok(per_window.collect())
    }

    /// Token states [tokens, hidden] of every sequence of every window.
    fn states(&self, windows: &[&Window]) -> candle_core::Result<Vec<Vec<Tensor>>> {
        let sequences: Vec<&Sequence> = windows.iter().flat_map(|w| &w.sequences).collect();
        let mut states = Vec::with_capacity(sequences.len());
        // A window of many sequences (one huge sentence) must not become one huge batch.
        for chunk in sequences.chunks(16) {
            states.extend(self.encode_sequences(chunk)?);
        }
        let mut states = states.into_iter();
        let per_window = windows
            .iter()
            .map(|w| states.by_ref().take(w.sequences.len()).collect());
        Ok(per_window.collect())
    }

    fn encode_sequences(&self, sequences: &[&Sequence]) -> candle_core::Result<Vec<Tensor>> {
        let width = sequences.iter().map(|s| s.ids.len()).max().unwrap_or(0);
        let shape = (sequences.len(), width);
        let pad = |row: &[u32], out: &mut Vec<u32>| {
            out.extend_from_slice(row);
            out.resize(out.len() + width - row.len(), 0);
        };
        let (mut ids, mut cases, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for s in sequences {
            pad(&s.ids, &mut ids);
            pad(&s.cases, &mut cases);
            pad(&vec![1; s.ids.len()], &mut mask);
        }
        let tensor = |rows| Tensor::from_vec(rows, shape, &self.device);
        let states = self
            .bert
            .forward(&tensor(ids)?, &tensor(cases)?, Some(&tensor(mask)?))?;
        (0..sequences.len())
            .map(|i| states.i((i, ..sequences[i].ids.len())))
            .collect()
    }

    fn read_sentences(
        &self,
        sentences: &[(&Answered, Tensor)],
    ) -> Result<Vec<SentenceLogits>, RunError> {
        if sentences.is_empty() {
            return Ok(Vec::new());
        }
        let means = sentences
            .iter()
            .map(|(_, s)| s.mean_keepdim(0))
            .collect::<Result<Vec<_>, _>>()?;
        let kinds = self.type_logits(sentences, &Tensor::cat(&means, 0)?)?;
        let tags = self.tag_logits(sentences)?;
        let mut looked = Vec::new();
        let mut answers = Vec::with_capacity(sentences.len());
        for (i, ((answered, states), (party, speaker))) in sentences.iter().zip(tags).enumerate() {
            let tokens = &answered.tokens;
            // Tokens of each mention, and its bytes where it was found here.
            let mentions: Vec<(Range<usize>, Range<usize>)> = match &answered.lookup {
                Lookup::Given(given) => given.iter().map(|t| (t.clone(), 0..0)).collect(),
                Lookup::Detect => decode::spans(&party)
                    .iter()
                    .map(|w| (tokens.word_tokens(w), tokens.word_bytes(w)))
                    .collect(),
            };
            looked.extend(self.look(answered, states, &means[i], &mentions)?);
            let mention = |(_, range)| MentionLogits {
                range,
                sentiment: [0.0; 3],
            };
            answers.push(SentenceLogits {
                index: answered.index,
                kind: kinds[i],
                speaker: decode::best_span(&speaker, 0.0).map(|w| tokens.word_bytes(&w)),
                party_tags: party,
                speaker_tags: speaker,
                mentions: mentions.into_iter().map(mention).collect(),
            });
        }
        if !looked.is_empty() {
            let logits = rows::<3>(&self.sentiment.judge(&Tensor::cat(&looked, 0)?)?)?;
            let all = answers.iter_mut().flat_map(|a| &mut a.mentions);
            for (mention, row) in all.zip(logits) {
                mention.sentiment = row;
            }
        }
        Ok(answers)
    }

    /// What a sentence's mentions (tokens, bytes) look at. Each attends over the piece of the sentence
    /// that it begins in, so that the cost of a huge sentence stays linear.
    fn look(
        &self,
        answered: &Answered,
        states: &Tensor,
        mean: &Tensor,
        mentions: &[(Range<usize>, Range<usize>)],
    ) -> candle_core::Result<Vec<Tensor>> {
        let ends: Vec<usize> = answered
            .pieces
            .iter()
            .scan(0, |end, (_, tokens)| {
                *end += tokens.len().max(1);
                Some(*end)
            })
            .collect();
        let piece_of = |tokens: &Range<usize>| ends.partition_point(|&end| end <= tokens.start);
        mentions
            .chunk_by(|(a, _), (b, _)| piece_of(a) == piece_of(b))
            .map(|group| {
                let vectors = group
                    .iter()
                    .map(|(tokens, _)| mention_mean(states, tokens))
                    .collect::<Result<Vec<_>, _>>()?;
                let piece = piece_of(&group[0].0);
                let start = piece.checked_sub(1).map_or(0, |before| ends[before]);
                let tokens = states.narrow(0, start, ends[piece] - start)?;
                self.sentiment
                    .look(&Tensor::cat(&vectors, 0)?, &tokens, mean)
            })
            .collect()
    }

    fn type_logits(
        &self,
        sentences: &[(&Answered, Tensor)],
        means: &Tensor,
    ) -> Result<Vec<[f32; 5]>, RunError> {
        let place = |side: usize| {
            let buckets: Vec<u32> = sentences.iter().map(|(s, _)| s.places[side]).collect();
            Tensor::from_vec(buckets, sentences.len(), &self.device)
        };
        rows(&self.types.forward(means, &place(0)?, &place(1)?)?)
    }

    /// Party and speaker logits of every sentence's words.
    #[expect(clippy::type_complexity, reason = "party and speaker, one row a word")]
    fn tag_logits(
        &self,
        sentences: &[(&Answered, Tensor)],
    ) -> Result<Vec<(Vec<[f32; 3]>, Vec<[f32; 3]>)>, RunError> {
        let words = sentences.iter().map(|(answered, states)| {
            let words: Vec<u32> = answered.tokens.words.iter().map(|&w| w as u32).collect();
            let count = words.len();
            states.index_select(&Tensor::from_vec(words, count, &self.device)?, 0)
        });
        let words = Tensor::cat(&words.collect::<Result<Vec<_>, _>>()?, 0)?;
        if words.dim(0)? == 0 {
            return Ok(vec![(Vec::new(), Vec::new()); sentences.len()]);
        }
        let mut party = rows::<3>(&self.party.forward(&words)?)?.into_iter();
        let mut speaker = rows::<3>(&self.speaker.forward(&words)?)?.into_iter();
        let split = sentences.iter().map(|(answered, _)| {
            let count = answered.tokens.words.len();
            (
                party.by_ref().take(count).collect(),
                speaker.by_ref().take(count).collect(),
            )
        });
        Ok(split.collect())
    }

    /// The encoder's width.
    pub fn hidden_size(&self) -> usize {
        self.hidden
    }
}

/// The states of a sentence, from all its pieces. One without tokens (a lone control character)
/// is read off the `[SEP]` behind it.
fn gather(sequences: &[Tensor], sentence: &Answered) -> candle_core::Result<Tensor> {
    let piece = |(sequence, range): &(usize, Range<usize>)| {
        sequences[*sequence].narrow(0, range.start, range.len().max(1))
    };
    let pieces = sentence
        .pieces
        .iter()
        .map(piece)
        .collect::<Result<Vec<_>, _>>()?;
    match pieces.as_slice() {
        [one] => one.contiguous(),
        many => Tensor::cat(many, 0),
    }
}

fn mention_mean(states: &Tensor, tokens: &Range<usize>) -> candle_core::Result<Tensor> {
    // A given mention without a token of its own is judged by the sentence.
    if tokens.is_empty() {
        return states.mean_keepdim(0);
    }
    states
        .narrow(0, tokens.start, tokens.len())?
        .mean_keepdim(0)
}

/// A [n, N] tensor as rows; refuses what is not finite.
fn rows<const N: usize>(tensor: &Tensor) -> Result<Vec<[f32; N]>, RunError> {
    let flat = tensor.flatten_all()?.to_vec1::<f32>()?;
    if flat.iter().any(|x| !x.is_finite()) {
        return Err(RunError::NotFinite);
    }
    Ok(flat.as_chunks::<N>().0.to_vec())
}

fn device(placement: Placement) -> Result<Device, LoadError> {
    match placement {
        Placement::Cpu => Ok(Device::Cpu),
        Placement::Cuda(n) => Device::new_cuda(n).map_err(|e| LoadError::Device {
            device: placement.to_string(),
            problem: e.to_string(),
        }),
    }
}

/// The tensors by name, widened to f32 where they are stored smaller; all values finite.
fn tensors(bytes: &[u8]) -> Result<std::collections::HashMap<String, Tensor>, LoadError> {
    // A view checks offsets and lengths against the file before a tensor is touched.
    safetensors::SafeTensors::deserialize(bytes)?;
    let read =
        candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(LoadError::Shape)?;
    let sorted: BTreeMap<_, _> = read.into_iter().collect();
    let mut out = std::collections::HashMap::new();
    for (name, tensor) in sorted {
        let tensor = tensor.to_dtype(DType::F32).map_err(LoadError::Shape)?;
        let sum = tensor
            .sqr()
            .and_then(|t| t.sum_all())
            .and_then(|t| t.to_scalar::<f32>());
        if !sum.map_err(LoadError::Shape)?.is_finite() {
            return Err(LoadError::NotFinite(name));
        }
        out.insert(name, tensor);
    }
    Ok(out)
}
