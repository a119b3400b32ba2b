//! The encoder alone, and encoder with heads, on all cores: one single-threaded worker each over
//! shared weights, in batches as the engine makes them.

use serde::Serialize;

use super::cost::Cost;
use super::work::Work;
use super::{Error, Pace, Watch, crew, peak};
use crate::encode::Window;
use crate::model::cpu::lanes::Precision;
use crate::model::{Model, Placement};

/// What encoder and heads reach.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Report {
    /// The encoder alone.
    pub encoder: EncoderSpeed,
    /// Encoder and heads.
    pub encoder_heads: Speed,
    /// Single-threaded workers.
    pub workers: usize,
}

/// What the encoder reaches, all workers together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EncoderSpeed {
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// 10⁹ floating-point operations a second, counted as [`Cost`] says.
    pub gflops: f64,
    /// Of what the machine's products reach; `None` where the model runs elsewhere than on the
    /// processor.
    pub share_of_peak: Option<f64>,
}

/// What encoder and heads reach, all workers together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    /// Tokens a second.
    pub tokens_per_second: f64,
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Single-threaded workers.
    pub workers: usize,
    /// Tokens of one batch; a window larger than this goes alone.
    pub batch_tokens: usize,
    /// How long each of the two takes.
    pub pace: Pace,
}

impl EncoderSpeed {
    /// From work a second, and what the machine's products reach (operations a second).
    pub fn new(speed: Work, peak: Option<f64>) -> Self {
        Self {
            tokens_per_second: speed.tokens,
            gflops: speed.flops / 1e9,
            share_of_peak: peak.map(|peak| speed.flops / peak),
        }
    }
}

/// Measures; `peak` is what the machine's products reach (operations a second).
///
/// # Errors
///
/// When there is no window, or the model fails.
pub fn measure(
    model: &Model,
    windows: &[Window],
    cost: &Cost,
    peak: Option<f64>,
    config: Config,
    watch: &dyn Watch,
) -> Result<Report, Error> {
    let batches = batches(windows, config.batch_tokens);
    if batches.is_empty() {
        return Err(Error::NoWindows);
    }
    let work: Vec<Work> = batches.iter().map(|b| work(b, cost)).collect();
    let run = |heads: bool| {
        crew::run(config.workers, config.pace, |n| {
            let n = n % batches.len();
            let states = model.encode(&batches[n])?;
            if heads {
                std::hint::black_box(model.read(&batches[n], &states)?);
            }
            std::hint::black_box(&states);
            Ok(work[n])
        })
    };
    watch.begin("encoder alone", config.pace.whole());
    let alone = crew::rate(&run(false)?);
    watch.begin("encoder and heads", config.pace.whole());
    let both = crew::rate(&run(true)?);
    Ok(Report {
        encoder: EncoderSpeed::new(alone, peak),
        encoder_heads: Speed {
            tokens_per_second: both.tokens,
        },
        workers: config.workers,
    })
}

/// What the machine's products reach, in operations a second, where the model runs on them.
///
/// # Errors
///
/// When a thread panics.
pub fn peak(model: &Model, workers: usize, watch: &dyn Watch) -> Result<Option<f64>, Error> {
    let precision = match model.placement() {
        Placement::Cuda(_) => return Ok(None),
        Placement::CpuBf16 => Precision::Pairs,
        Placement::Cpu | Placement::CpuF32 | Placement::CpuCandle => Precision::Single,
    };
    watch.begin("matrix products", peak::TIME);
    peak::measure(workers, precision).map(Some)
}

/// Windows in batches, filled greedily in their order.
pub fn batches(windows: &[Window], most: usize) -> Vec<Vec<&Window>> {
    let mut batches: Vec<Vec<&Window>> = Vec::new();
    let mut used = 0;
    for window in windows {
        let tokens = window.tokens();
        match batches.last_mut() {
            Some(batch) if used + tokens <= most => {
                used += tokens;
                batch.push(window);
            }
            _ => {
                used = tokens;
                batches.push(vec![window]);
            }
        }
    }
    batches
}

fn work(batch: &[&Window], cost: &Cost) -> Work {
    Work {
        articles: 0.0,
        sentences: batch.iter().map(|w| w.sentences.len()).sum::<usize>() as f64,
        tokens: batch.iter().map(|w| w.tokens()).sum::<usize>() as f64,
        flops: batch.iter().map(|w| cost.window(w)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Sequence;

    #[test]
    fn batches_are_full_and_in_order() {
        let window = |tokens: usize| Window {
            sequences: vec![Sequence {
                ids: vec![0; tokens],
                cases: vec![0; tokens],
            }],
            sentences: Vec::new(),
        };
        let windows: Vec<Window> = [4, 4, 4, 30, 1, 9].map(window).into();
        let sizes: Vec<Vec<usize>> = batches(&windows, 10)
            .iter()
            .map(|batch| batch.iter().map(|w| w.tokens()).collect())
            .collect();
        assert_eq!(sizes, [vec![4, 4], vec![4], vec![30], vec![1, 9]]);
        assert!(batches(&[], 10).is_empty());
    }
}
