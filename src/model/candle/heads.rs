//! The heads: token states → logits. The twin of `training/network.py`.

use candle_core::{D, Result, Tensor};
use candle_nn::{Embedding, Linear, Module, VarBuilder, embedding, linear, ops::softmax_last_dim};

use crate::encode::PLACE_BUCKETS;
use crate::model::network::{TAG_HIDDEN, TARGET_HEADS};

/// Mean over a sentence plus its place in the article → 5 logits.
pub struct TypeHead {
    from_start: Embedding,
    from_end: Embedding,
    dense: Linear,
    out: Linear,
}

impl TypeHead {
    pub fn load(vb: VarBuilder, hidden: usize) -> Result<Self> {
        Ok(Self {
            from_start: embedding(PLACE_BUCKETS.len() + 1, hidden, vb.pp("from_start"))?,
            from_end: embedding(PLACE_BUCKETS.len() + 1, hidden, vb.pp("from_end"))?,
            dense: linear(hidden, hidden, vb.pp("dense"))?,
            out: linear(hidden, 5, vb.pp("out"))?,
        })
    }

    /// `means` is [sentences, hidden]; `from_start` and `from_end` are buckets, [sentences].
    pub fn forward(
        &self,
        means: &Tensor,
        from_start: &Tensor,
        from_end: &Tensor,
    ) -> Result<Tensor> {
        let x = (means + self.from_start.forward(from_start)?)?;
        let x = (x + self.from_end.forward(from_end)?)?;
        self.out.forward(&self.dense.forward(&x)?.gelu_erf()?)
    }
}

/// Token state → logits of O, B, I.
pub struct TagHead {
    dense: Linear,
    out: Linear,
}

impl TagHead {
    pub fn load(vb: VarBuilder, hidden: usize) -> Result<Self> {
        Ok(Self {
            dense: linear(hidden, TAG_HIDDEN, vb.pp("dense"))?,
            out: linear(TAG_HIDDEN, 3, vb.pp("out"))?,
        })
    }

    /// [words, hidden] → [words, 3].
    pub fn forward(&self, states: &Tensor) -> Result<Tensor> {
        self.out.forward(&self.dense.forward(states)?.gelu_erf()?)
    }
}

/// A mention attends over its sentence; mention, what it found, and the sentence's mean → 3 logits.
pub struct SentimentHead {
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    out: Linear,
}

impl SentimentHead {
    pub fn load(vb: VarBuilder, hidden: usize) -> Result<Self> {
        Ok(Self {
            query: linear(hidden, hidden, vb.pp("query"))?,
            key: linear(hidden, hidden, vb.pp("key"))?,
            value: linear(hidden, hidden, vb.pp("value"))?,
            dense: linear(3 * hidden, hidden, vb.pp("dense"))?,
            out: linear(hidden, 3, vb.pp("out"))?,
        })
    }

    /// What mentions of one sentence look at: `mentions` is [mentions, hidden], `tokens`
    /// [tokens, hidden], `mean` [1, hidden]. Gives [mentions, 3 · hidden], for [`Self::judge`].
    pub fn look(&self, mentions: &Tensor, tokens: &Tensor, mean: &Tensor) -> Result<Tensor> {
        let (m, hidden) = mentions.dims2()?;
        let width = hidden / TARGET_HEADS;
        let split = |x: Tensor| -> Result<Tensor> {
            let rows = x.dim(0)?;
            x.reshape((rows, TARGET_HEADS, width))?
                .transpose(0, 1)?
                .contiguous()
        };
        let q = split(self.query.forward(mentions)?)?;
        let k = split(self.key.forward(tokens)?)?;
        let v = split(self.value.forward(tokens)?)?;
        let scores = (q.matmul(&k.transpose(1, 2)?)? / (width as f64).sqrt())?;
        let found = softmax_last_dim(&scores)?.matmul(&v)?;
        let found = found.transpose(0, 1)?.contiguous()?.reshape((m, hidden))?;
        Tensor::cat(
            &[mentions, &found, &mean.broadcast_as((m, hidden))?],
            D::Minus1,
        )
    }

    /// [mentions, 3 · hidden] → [mentions, 3].
    pub fn judge(&self, looked: &Tensor) -> Result<Tensor> {
        self.out.forward(&self.dense.forward(looked)?.gelu_erf()?)
    }
}
