//! The network on candle: candle-transformers' `BertModel` and heads of candle's tensors. Runs on
//! GPUs, and is the reference that `model::cpu` is tested against.

mod heads;

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};

use self::heads::{SentimentHead, TagHead, TypeHead};
use super::network::{Asked, Mentions, Network, Tags, piece_ends, piece_of};
use super::{LoadError, RunError};
use crate::encode::{Sequence, Window};

/// The network, its weights on a device.
pub struct Candle {
    bert: BertModel,
    types: TypeHead,
    party: TagHead,
    speaker: TagHead,
    sentiment: SentimentHead,
    device: Device,
}

impl Candle {
    /// Reads the weights onto a device.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or does not fit the config, or holds NaN or infinity.
    pub fn load(bytes: &[u8], config: &Config, device: Device) -> Result<Self, LoadError> {
        let vb = VarBuilder::from_tensors(tensors(bytes)?, DType::F32, &device);
        let hidden = config.hidden_size;
        let heads = vb.pp("heads");
        let load = || -> candle_core::Result<_> {
            Ok(Self {
                bert: BertModel::load(vb.clone(), config)?,
                types: TypeHead::load(heads.pp("sentence_type"), hidden)?,
                party: TagHead::load(heads.pp("party"), hidden)?,
                speaker: TagHead::load(heads.pp("speaker"), hidden)?,
                sentiment: SentimentHead::load(heads.pp("sentiment"), hidden)?,
                device: device.clone(),
            })
        };
        load().map_err(shape)
    }

    fn pass(&self, sequences: &[&Sequence]) -> candle_core::Result<Vec<Tensor>> {
        let width = sequences.iter().map(|s| s.tokens()).max().unwrap_or(0);
        let shape = (sequences.len(), width);
        let pad = |row: &[u32], out: &mut Vec<u32>| {
            out.extend_from_slice(row);
            out.resize(out.len() + width - row.len(), 0);
        };
        let (mut ids, mut cases, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for s in sequences {
            pad(&s.ids, &mut ids);
            pad(&s.cases, &mut cases);
            pad(&vec![1; s.tokens()], &mut mask);
        }
        let tensor = |rows| Tensor::from_vec(rows, shape, &self.device);
        let states = self
            .bert
            .forward(&tensor(ids)?, &tensor(cases)?, Some(&tensor(mask)?))?;
        (0..sequences.len())
            .map(|i| states.i((i, ..sequences[i].tokens())))
            .collect()
    }
}

fn shape(error: candle_core::Error) -> LoadError {
    LoadError::Shape(error.to_string())
}

impl Network for Candle {
    /// \[tokens, hidden\] of every sequence of every window.
    type States = Vec<Vec<Tensor>>;

    fn encode(&self, windows: &[&Window]) -> Result<Self::States, RunError> {
        let sequences: Vec<&Sequence> = windows.iter().flat_map(|w| &w.sequences).collect();
        let mut states = Vec::with_capacity(sequences.len());
        // A window of many sequences (one huge sentence) must not become one huge batch.
        for chunk in sequences.chunks(16) {
            states.extend(self.pass(chunk)?);
        }
        let mut states = states.into_iter();
        let per_window = windows
            .iter()
            .map(|w| states.by_ref().take(w.sequences.len()).collect());
        Ok(per_window.collect())
    }

    fn types(&self, states: &Self::States, asked: &[Asked<'_>]) -> Result<Vec<[f32; 5]>, RunError> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mean = |a| gather(states, a)?.mean_keepdim(0);
        let means: Vec<Tensor> = asked.iter().map(mean).collect::<Result<_, _>>()?;
        let place = |side: usize| {
            let buckets: Vec<u32> = asked.iter().map(|a| a.sentence.places[side]).collect();
            Tensor::from_vec(buckets, asked.len(), &self.device)
        };
        let means = Tensor::cat(&means, 0)?;
        rows(&self.types.forward(&means, &place(0)?, &place(1)?)?)
    }

    fn tags(&self, states: &Self::States, asked: &[Asked<'_>]) -> Result<Vec<Tags>, RunError> {
        let count = |a: &Asked<'_>| a.sentence.tokens.words.len();
        let total: usize = asked.iter().map(count).sum();
        if total == 0 {
            return Ok(vec![(Vec::new(), Vec::new()); asked.len()]);
        }
        let words = |a: &Asked<'_>| {
            let words: Vec<u32> = a.sentence.tokens.words.iter().map(|&w| w as u32).collect();
            gather(states, a)?.index_select(&Tensor::from_vec(words, count(a), &self.device)?, 0)
        };
        let words: Vec<Tensor> = asked.iter().map(words).collect::<Result<_, _>>()?;
        let words = Tensor::cat(&words, 0)?;
        let mut party = rows::<3>(&self.party.forward(&words)?)?.into_iter();
        let mut speaker = rows::<3>(&self.speaker.forward(&words)?)?.into_iter();
        let split = asked.iter().map(|a| {
            (
                party.by_ref().take(count(a)).collect(),
                speaker.by_ref().take(count(a)).collect(),
            )
        });
        Ok(split.collect())
    }

    fn sentiments(
        &self,
        states: &Self::States,
        asked: &[Asked<'_>],
        mentions: &[Mentions],
    ) -> Result<Vec<[f32; 3]>, RunError> {
        let mut looked = Vec::new();
        let pairs = asked.iter().zip(mentions);
        for (asked, mentions) in pairs.filter(|(_, mentions)| !mentions.is_empty()) {
            let sentence = gather(states, asked)?;
            let mean = sentence.mean_keepdim(0)?;
            let ends = piece_ends(asked.sentence);
            for group in mentions.chunk_by(|a, b| piece_of(&ends, a).0 == piece_of(&ends, b).0) {
                let vectors = group.iter().map(|m| mention_mean(&sentence, m));
                let vectors = Tensor::cat(&vectors.collect::<Result<Vec<_>, _>>()?, 0)?;
                let (_, piece) = piece_of(&ends, &group[0]);
                let tokens = sentence.narrow(0, piece.start, piece.len())?;
                looked.push(self.sentiment.look(&vectors, &tokens, &mean)?);
            }
        }
        if looked.is_empty() {
            return Ok(Vec::new());
        }
        rows(&self.sentiment.judge(&Tensor::cat(&looked, 0)?)?)
    }
}

/// The states of a sentence, from all its pieces. One without tokens (a lone control character)
/// is read off the `[SEP]` behind it.
fn gather(states: &[Vec<Tensor>], asked: &Asked<'_>) -> candle_core::Result<Tensor> {
    let sequences = &states[asked.window];
    let piece = |(sequence, range): &(usize, Range<usize>)| {
        sequences[*sequence].narrow(0, range.start, range.len().max(1))
    };
    let pieces = asked
        .sentence
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

/// A \[n, N\] tensor as rows.
fn rows<const N: usize>(tensor: &Tensor) -> Result<Vec<[f32; N]>, RunError> {
    let flat = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(flat.as_chunks::<N>().0.to_vec())
}

/// The tensors by name, widened to f32 where they are stored smaller; all values finite.
fn tensors(bytes: &[u8]) -> Result<HashMap<String, Tensor>, LoadError> {
    let mut read = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(shape)?;
    for (name, tensor) in &mut read {
        *tensor = tensor.to_dtype(DType::F32).map_err(shape)?;
        let sum = tensor
            .sqr()
            .and_then(|t| t.sum_all())
            .and_then(|t| t.to_scalar::<f32>());
        if !sum.map_err(shape)?.is_finite() {
            return Err(LoadError::NotFinite(name.clone()));
        }
    }
    Ok(read)
}
