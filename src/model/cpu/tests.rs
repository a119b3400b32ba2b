//! The encoder against candle's, and against itself in other batches.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use candle_transformers::models::bert::Config;
use copydesk_kernels::lanes::Precision;

use super::{Cpu, States};
use crate::encode::{Sequence, Window};
use crate::model::candle::Candle;
use crate::model::files::Files;
use crate::model::network::Network;
use crate::model::weights::Weights;

#[path = "../../../kernels/tests/numbers/mod.rs"]
#[expect(dead_code, reason = "the kernels' tests have use for the rest")]
mod numbers;

use self::numbers::{Numbers, rows};

const UNEVEN: [usize; 3] = [60, 10, 100];
const OF_TILES: [usize; 3] = [64, 32, 96];

/// So wide, in heads of so much, and wider between; of 60, 10 and 100 nothing is a multiple of a register or a
/// tile, of 64, 32 and 96 everything is one of a tile.
fn random_network([hidden, head, wide]: [usize; 3]) -> (Vec<u8>, Config) {
    let config = Config {
        vocab_size: 200,
        hidden_size: hidden,
        num_hidden_layers: 3,
        num_attention_heads: hidden / head,
        intermediate_size: wide,
        max_position_embeddings: 512,
        type_vocab_size: 5,
        ..Config::default()
    };
    let mut numbers = Numbers(5);
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    let mut add = |name: String, shape: &[usize], scale: f32, shift: f32| {
        let values = numbers.many(shape.iter().product());
        let values: Vec<f32> = values.iter().map(|x| x * scale + shift).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        tensors.insert(name, tensor);
    };
    let mut linear = |name: &str, inputs: usize, outputs: usize| {
        add(format!("{name}.weight"), &[outputs, inputs], 0.2, 0.0);
        add(format!("{name}.bias"), &[outputs], 0.2, 0.0);
    };
    for n in 0..3 {
        let name = |part: &str| format!("encoder.layer.{n}.{part}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            linear(&name(&format!("attention.{part}")), hidden, hidden);
        }
        linear(&name("intermediate.dense"), hidden, wide);
        linear(&name("output.dense"), wide, hidden);
    }
    linear("heads.sentence_type.dense", hidden, hidden);
    linear("heads.sentence_type.out", hidden, 5);
    for head in ["party", "speaker"] {
        linear(&format!("heads.{head}.dense"), hidden, 128);
        linear(&format!("heads.{head}.out"), 128, 3);
    }
    for part in ["query", "key", "value"] {
        linear(&format!("heads.sentiment.{part}"), hidden, hidden);
    }
    linear("heads.sentiment.dense", 3 * hidden, hidden);
    linear("heads.sentiment.out", hidden, 3);
    for name in ["from_start", "from_end"] {
        add(
            format!("heads.sentence_type.{name}.weight"),
            &[8, hidden],
            0.5,
            0.0,
        );
    }
    for (name, count) in [("word", 200), ("position", 512), ("token_type", 5)] {
        add(
            format!("embeddings.{name}_embeddings.weight"),
            &[count, hidden],
            0.5,
            0.0,
        );
    }
    let mut norm = |name: String| {
        add(format!("{name}.weight"), &[hidden], 0.3, 1.0);
        add(format!("{name}.bias"), &[hidden], 0.3, 0.0);
    };
    norm("embeddings.LayerNorm".to_owned());
    for n in 0..3 {
        norm(format!("encoder.layer.{n}.attention.output.LayerNorm"));
        norm(format!("encoder.layer.{n}.output.LayerNorm"));
    }
    (safetensors::serialize(&tensors, None).unwrap(), config)
}

fn window(numbers: &mut Numbers, tokens: usize, vocabulary: usize) -> Window {
    let mut ids = |end| (0..tokens).map(|_| numbers.below(end) as u32).collect();
    Window {
        sequences: vec![Sequence {
            ids: ids(vocabulary),
            cases: ids(5),
        }],
        sentences: Vec::new(),
    }
}

fn window_states(states: &States, window: usize, tokens: usize) -> Vec<Vec<f32>> {
    let place = states.windows[window][0];
    let all = rows(&states.parts[place.part]);
    all[place.token..place.token + tokens].to_vec()
}

/// The largest difference from candle's `BertModel`, over windows of these lengths.
fn compare(bytes: &[u8], config: &Config, lengths: &[usize], precision: Precision) -> f32 {
    let ours = Cpu::load(&Weights::new(bytes).unwrap(), config, precision).unwrap();
    let reference = Candle::load(bytes, config, Device::Cpu).unwrap();
    let mut numbers = Numbers(6);
    let mut largest: f32 = 0.0;
    for &tokens in lengths {
        let window = window(&mut numbers, tokens, config.vocab_size);
        let ours = window_states(&ours.encode(&[&window]).unwrap(), 0, tokens);
        let reference = reference.encode(&[&window]).unwrap();
        let reference: Vec<Vec<f32>> = reference[0][0].to_vec2().unwrap();
        for (a, b) in ours.iter().flatten().zip(reference.iter().flatten()) {
            largest = largest.max((a - b).abs());
        }
    }
    println!("largest difference {largest:e}");
    largest
}

#[test]
fn the_encoder_agrees_with_candle() {
    let mut numbers = Numbers(7);
    let mut lengths: Vec<usize> = (0..20).map(|_| 1 + numbers.below(512)).collect();
    lengths.extend([1, 2, 47, 48, 49, 511, 512]);
    for sizes in [UNEVEN, OF_TILES] {
        let (bytes, config) = random_network(sizes);
        assert!(compare(&bytes, &config, &lengths, Precision::F32) <= 1e-4);
        assert!(compare(&bytes, &config, &lengths, Precision::Bf16) <= 0.2);
    }
}

#[test]
fn the_default_models_encoder_agrees_with_candle() {
    let Some(files) = Files::embedded() else {
        return;
    };
    let (config, _) = crate::model::config::read(&files.config).unwrap();
    let compare = |precision| compare(&files.weights, &config, &[1, 30, 200, 512], precision);
    assert!(compare(Precision::F32) <= 1e-4);
    // States are normalised, their features about 1 in size.
    assert!(compare(Precision::Bf16) <= 0.2);
    assert!(compare(Precision::Int16) <= 0.05);
}

#[test]
fn a_window_has_the_same_bits_whatever_its_neighbours() {
    for sizes in [UNEVEN, OF_TILES] {
        let (bytes, config) = random_network(sizes);
        for precision in [Precision::F32, Precision::Bf16, Precision::Int16] {
            let network = Cpu::load(&Weights::new(&bytes).unwrap(), &config, precision).unwrap();
            same_bits(&network, config.vocab_size);
        }
    }
}

fn same_bits(network: &Cpu, vocabulary: usize) {
    let mut numbers = Numbers(8);
    let lengths = [30, 1, 200, 48, 512, 96, 500, 512, 512, 77];
    let windows: Vec<Window> = lengths
        .iter()
        .map(|&tokens| window(&mut numbers, tokens, vocabulary))
        .collect();
    let together = network.encode(&windows.iter().collect::<Vec<_>>()).unwrap();
    assert!(together.parts.len() > 1, "a batch goes through in parts");
    for (n, window) in windows.iter().enumerate() {
        let alone = network.encode(&[window]).unwrap();
        let bits = |rows: Vec<Vec<f32>>| -> Vec<u32> {
            rows.concat().iter().map(|x| x.to_bits()).collect()
        };
        let alone = bits(window_states(&alone, 0, lengths[n]));
        let batched = bits(window_states(&together, n, lengths[n]));
        assert!(alone == batched, "window {n}");
    }
}
