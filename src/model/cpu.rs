//! The network on a processor: an encoder and heads of our own, one thread a call. Bit for bit the
//! same answer whatever else is in a batch. `model::candle` is the reference that it is tested
//! against.

mod encoder;
mod heads;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use candle_transformers::models::bert::Config;
use copydesk_kernels::kernel::Kernels;
use copydesk_kernels::lanes::{Lanes, Precision};

use self::encoder::{Encoder, Workspace};
use self::heads::Heads;
use super::network::{Asked, Mentions, Network, Tags};
use super::weights::Weights;
use super::{LoadError, RunError};
use crate::encode::{Sequence, Window};

/// Tokens that pass through the layers together, about a window; a batch beyond goes through in parts, so that what
/// one layer leaves is still near when the next needs it. (Of tiles, with heads, 1.08 times as fast as 2,048 on a
/// Granite Rapids; in f32 the same.)
const TOGETHER: usize = 256;

/// The network, its weights laid out for the kernels.
pub(super) struct Cpu {
    kernels: Kernels,
    encoder: Encoder,
    heads: Heads,
    /// Buffers of earlier calls, one set a thread that is in one.
    spare: Mutex<Vec<Workspace>>,
}

/// Token states of a batch.
pub(super) struct States {
    /// What passed through together, \[hidden, tokens\] each.
    parts: Vec<Lanes>,
    /// Of each window, where each sequence begins: part and token of it.
    windows: Vec<Vec<Place>>,
}

/// A token among the states.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    token: usize,
}

impl Cpu {
    /// Reads and lays out the weights.
    ///
    /// # Errors
    ///
    /// Names the tensor that is missing or does not fit the config.
    pub fn load(
        weights: &Weights<'_>,
        config: &Config,
        precision: Precision,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            kernels: Kernels::new(),
            encoder: Encoder::load(weights, config, precision)?,
            heads: Heads::load(weights, config.hidden_size, precision)?,
            spare: Mutex::default(),
        })
    }

    fn with_workspace<T>(&self, run: impl FnOnce(&mut Workspace) -> T) -> T {
        let lock = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = lock().pop().unwrap_or_default();
        let result = run(&mut workspace);
        lock().push(workspace);
        result
    }
}

impl Network for Cpu {
    type States = States;

    fn encode(&self, windows: &[&Window]) -> Result<States, RunError> {
        let mut parts: Vec<Vec<&Sequence>> = Vec::new();
        let mut last = 0;
        let mut places = Vec::with_capacity(windows.len());
        for window in windows {
            let place = |sequence| {
                let tokens = Sequence::tokens(sequence);
                if parts.is_empty() || last + tokens > TOGETHER {
                    parts.push(Vec::new());
                    last = 0;
                }
                let part = parts.len() - 1;
                parts[part].push(sequence);
                last += tokens;
                Place {
                    part,
                    token: last - tokens,
                }
            };
            places.push(window.sequences.iter().map(place).collect());
        }
        let encode = |sequences: &Vec<&Sequence>| {
            self.with_workspace(|w| self.encoder.forward(self.kernels, sequences, w))
        };
        Ok(States {
            parts: parts.iter().map(encode).collect(),
            windows: places,
        })
    }

    fn types(&self, states: &States, asked: &[Asked<'_>]) -> Result<Vec<[f32; 5]>, RunError> {
        Ok(self.heads.types(self.kernels, states, asked))
    }

    fn tags(&self, states: &States, asked: &[Asked<'_>]) -> Result<Vec<Tags>, RunError> {
        Ok(self.heads.tags(self.kernels, states, asked))
    }

    fn sentiments(
        &self,
        states: &States,
        asked: &[Asked<'_>],
        mentions: &[Mentions],
    ) -> Result<Vec<[f32; 3]>, RunError> {
        Ok(self.heads.sentiments(self.kernels, states, asked, mentions))
    }
}
