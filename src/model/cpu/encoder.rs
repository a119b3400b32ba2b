//! BERT (Devlin et al. 2019): embeddings, then layers of self-attention and a feed-forward net, each
//! followed by a residual connection and LayerNorm.

use candle_transformers::models::bert::Config;
use copydesk_kernels::kernel::{Kernels, Scratch, With};
use copydesk_kernels::lanes::{Lanes, Linear, Precision};
use copydesk_kernels::norm::Norm;

use crate::encode::Sequence;
use crate::model::LoadError;
use crate::model::weights::{Table, Weights};

/// The encoder's weights.
pub struct Encoder {
    words: Table,
    positions: Table,
    cases: Table,
    norm: Norm,
    layers: Vec<Layer>,
    hidden: usize,
    heads: usize,
    precision: Precision,
}

struct Layer {
    /// Queries, keys and values in one product.
    qkv: Linear,
    attended: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
}

/// Buffers of one pass.
#[derive(Default)]
pub struct Workspace {
    /// One token's embedding.
    token: Vec<f32>,
    qkv: Lanes,
    /// A window's part of it.
    window: Lanes,
    scratch: Scratch,
    attended: Lanes,
    context: Lanes,
    middle: Lanes,
    /// The wider half of a layer, and the same rounded.
    wide: Lanes,
    up: Lanes,
    /// What goes into any other product, rounded.
    rounded: Lanes,
}

impl Encoder {
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
        let hidden = config.hidden_size;
        let table = |name: &str, rows| {
            weights.table(
                &format!("embeddings.{name}_embeddings.weight"),
                [rows, hidden],
            )
        };
        let epsilon = config.layer_norm_eps as f32;
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.max_position_embeddings)?,
            cases: table("token_type", config.type_vocab_size)?,
            norm: norm(weights, "embeddings.LayerNorm", hidden, epsilon)?,
            layers: (0..config.num_hidden_layers)
                .map(|n| Layer::load(weights, n, config, precision))
                .collect::<Result<_, _>>()?,
            hidden,
            heads: config.num_attention_heads,
            precision,
        })
    }

    /// Token states \[hidden, tokens\] of sequences, one behind the other.
    pub fn forward(&self, kernels: Kernels, sequences: &[&Sequence], w: &mut Workspace) -> Lanes {
        let mut x = Lanes::default();
        self.embed(sequences, &mut w.token, &mut x);
        kernels.layer_norm(&mut x, &self.norm);
        for layer in &self.layers {
            let into = rounded(kernels, &x, self.precision, &mut w.rounded);
            kernels.linear(&layer.qkv, into, With::Bias, &mut w.qkv);
            self.attend(kernels, sequences, w);
            let attended = rounded(kernels, &w.attended, self.precision, &mut w.rounded);
            kernels.linear(&layer.attended, attended, With::Residual(&x), &mut w.middle);
            kernels.layer_norm(&mut w.middle, &layer.attention_norm);
            let middle = rounded(kernels, &w.middle, self.precision, &mut w.rounded);
            kernels.gelu_rounded(&layer.up, middle, &mut w.wide, &mut w.up);
            kernels.linear(&layer.down, &w.up, With::Residual(&w.middle), &mut x);
            kernels.layer_norm(&mut x, &layer.norm);
        }
        x
    }

    /// The sum of the embeddings of each token's word piece, position and letter case.
    fn embed(&self, sequences: &[&Sequence], token: &mut Vec<f32>, x: &mut Lanes) {
        x.resize(self.hidden, sequences.iter().map(|s| s.tokens()).sum());
        token.resize(self.hidden, 0.0);
        let mut at = 0;
        for sequence in sequences {
            let rows = sequence.ids.iter().zip(&sequence.cases);
            for (position, (&word, &case)) in rows.enumerate() {
                self.words.read(word as usize, token);
                self.positions.add(position, token);
                self.cases.add(case as usize, token);
                x.set(at, token);
                at += 1;
            }
        }
    }

    /// Each sequence attends over itself; no padding, no mask.
    fn attend(&self, kernels: Kernels, sequences: &[&Sequence], w: &mut Workspace) {
        if let [_] = sequences {
            kernels.attention(
                &w.qkv,
                self.heads,
                self.precision,
                &mut w.scratch,
                &mut w.attended,
            );
            return;
        }
        w.attended.resize(self.hidden, w.qkv.tokens());
        let mut start = 0;
        for sequence in sequences {
            let tokens = sequence.tokens();
            w.window.copy_from(&w.qkv, start, tokens);
            kernels.attention(
                &w.window,
                self.heads,
                self.precision,
                &mut w.scratch,
                &mut w.context,
            );
            w.attended.copy_to(&w.context, start);
            start += tokens;
        }
    }
}

impl Layer {
    fn load(
        weights: &Weights<'_>,
        number: usize,
        config: &Config,
        precision: Precision,
    ) -> Result<Self, LoadError> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let epsilon = config.layer_norm_eps as f32;
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for part in ["query", "key", "value"] {
            let part = name(&format!("attention.self.{part}"));
            weight.extend(weights.get(&format!("{part}.weight"), &[hidden, hidden])?);
            bias.extend(weights.get(&format!("{part}.bias"), &[hidden])?);
        }
        Ok(Self {
            qkv: Linear::with(&weight, &bias, precision),
            attended: read(
                weights,
                &name("attention.output.dense"),
                [hidden, hidden],
                precision,
            )?,
            attention_norm: norm(
                weights,
                &name("attention.output.LayerNorm"),
                hidden,
                epsilon,
            )?,
            up: read(
                weights,
                &name("intermediate.dense"),
                [hidden, wide],
                precision,
            )?,
            down: read(weights, &name("output.dense"), [wide, hidden], precision)?,
            norm: norm(weights, &name("output.LayerNorm"), hidden, epsilon)?,
        })
    }
}

/// What goes into a layer of this precision; `buffer` is room for it.
pub fn rounded<'a>(
    kernels: Kernels,
    x: &'a Lanes,
    precision: Precision,
    buffer: &'a mut Lanes,
) -> &'a Lanes {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 | Precision::Int16 => {
            kernels.round(x, precision, buffer);
            buffer
        }
    }
}

/// Reads a linear layer.
///
/// # Errors
///
/// As [`Weights::get`].
pub fn read(
    weights: &Weights<'_>,
    name: &str,
    [inputs, outputs]: [usize; 2],
    precision: Precision,
) -> Result<Linear, LoadError> {
    let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = weights.get(&format!("{name}.bias"), &[outputs])?;
    Ok(Linear::with(&weight, &bias, precision))
}

fn norm(weights: &Weights<'_>, name: &str, hidden: usize, epsilon: f32) -> Result<Norm, LoadError> {
    Ok(Norm {
        weight: weights.get(&format!("{name}.weight"), &[hidden])?,
        bias: weights.get(&format!("{name}.bias"), &[hidden])?,
        epsilon,
    })
}
