//! What the encoder costs in floating-point operations, from the model's dimensions. Counts the
//! matrix products only: the rest (softmax, GELU, layer norms, embeddings, heads) is overhead by
//! definition, so that the figure compares with what the machine's products reach.

use serde::Deserialize;

use super::Error;
use crate::encode::Window;

/// The encoder's dimensions, as `config.json` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Cost {
    #[serde(rename = "num_hidden_layers")]
    layers: usize,
    #[serde(rename = "hidden_size")]
    hidden: usize,
    #[serde(rename = "intermediate_size")]
    intermediate: usize,
}

impl Cost {
    /// Reads the dimensions from `config.json`.
    ///
    /// # Errors
    ///
    /// When one is missing.
    pub fn read(config: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(config).map_err(Error::Config)
    }

    /// Weights of the encoder's matrix products: per layer query, key, value and output
    /// (4 · hidden²) and the feed-forward part (2 · hidden · intermediate). Embeddings are looked
    /// up, not multiplied.
    pub fn parameters(&self) -> f64 {
        let (hidden, intermediate) = (self.hidden as f64, self.intermediate as f64);
        self.layers as f64 * (4.0 * hidden * hidden + 2.0 * hidden * intermediate)
    }

    /// Floating-point operations of one sequence. A multiplication and an addition count as two:
    ///
    /// ```text
    /// per token  =  2 · parameters  +  4 · tokens · hidden · layers
    /// ```
    ///
    /// The second term is attention: every token's query with every key, and its weights with every
    /// value, each 2 · tokens · hidden a layer. `tokens` is the length of the sequence without
    /// padding.
    pub fn sequence(&self, tokens: usize) -> f64 {
        let tokens = tokens as f64;
        let attention = 4.0 * tokens * self.hidden as f64 * self.layers as f64;
        tokens * (2.0 * self.parameters() + attention)
    }

    /// Floating-point operations of a window.
    pub fn window(&self, window: &Window) -> f64 {
        let sequences = window.sequences.iter();
        sequences.map(|s| self.sequence(s.ids.len())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_bert_costs_what_its_paper_and_pencil_say() {
        let config = br#"{"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "vocab_size": 9}"#;
        let cost = Cost::read(config).unwrap();
        assert_eq!(cost.parameters(), 10_616_832.0);
        // 21.2 MFLOP a token, and 9,216 more for each token that it attends to.
        assert_eq!(cost.sequence(1), 21_233_664.0 + 9_216.0);
        assert_eq!(cost.sequence(100), 100.0 * (21_233_664.0 + 100.0 * 9_216.0));
        assert!(Cost::read(b"{\"hidden_size\": 384}").is_err());
    }
}
