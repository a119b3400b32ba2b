//! The encoder alone, and encoder with heads, on all cores: one single-threaded worker each over
//! shared weights, in batches as the engine makes them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use copydesk_kernels::lanes::Precision;
use serde::Serialize;

use super::cost::Cost;
use super::stats::median;
use super::work::Work;
use super::{Error, Pace, Watch, crew, peak};
use crate::encode::Window;
use crate::model::{Model, Placement};

/// What encoder and heads reach.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Report {
    /// The encoder alone.
    pub encoder: EncoderSpeed,
    /// Encoder and heads.
    pub encoder_heads: Speed,
    /// 10⁹ floating-point operations a second of the machine's products, the middle one of the turns;
    /// `None` where the model runs elsewhere than on the processor.
    pub peak_gflops: Option<f64>,
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
    /// Of what the machine's products reach: the middle one of the turns that both take, so that what
    /// else the machine does slows both down. With products of integers less than 1 can be reached, since
    /// attention counts among the operations and is computed in f32. `None` where the model runs elsewhere
    /// than on the processor.
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

/// How long the encoder runs before the machine's products have their turn.
const TURN: Duration = Duration::from_secs(1);

/// Measures.
///
/// # Errors
///
/// When there is no window, or the model fails.
pub fn measure(
    model: &Model,
    windows: &[Window],
    cost: &Cost,
    config: Config,
    watch: &dyn Watch,
) -> Result<Report, Error> {
    let batches = batches(windows, config.batch_tokens);
    if batches.is_empty() {
        return Err(Error::NoWindows);
    }
    let work: Vec<Work> = batches.iter().map(|b| work(b, cost)).collect();
    // Turns go on where the last one ended, so that all batches are measured.
    let next = AtomicUsize::new(0);
    let run = |heads: bool, pace: Pace| {
        let shares = crew::run(config.workers, pace, |_| {
            let n = next.fetch_add(1, Ordering::Relaxed) % batches.len();
            let states = model.encode(&batches[n])?;
            if heads {
                std::hint::black_box(model.read(&batches[n], &states)?);
            }
            std::hint::black_box(&states);
            Ok(work[n])
        })?;
        Ok::<_, Error>(crew::rate(&shares))
    };
    let mut products = precision(model).map(|p| peak::Products::new(config.workers, p));
    let turn = config.pace.time.min(TURN);
    let turns = config.pace.time.div_duration_f64(turn).round().max(1.0) as u32;
    let beside = if products.is_some() {
        peak::TIME * turns
    } else {
        Duration::ZERO
    };
    watch.begin("encoder alone", config.pace.whole() + beside);
    let (mut speeds, mut peaks) = (Vec::new(), Vec::new());
    for number in 0..turns {
        let warmup = if number == 0 {
            config.pace.warmup
        } else {
            Duration::ZERO
        };
        speeds.push(run(false, Pace { warmup, time: turn })?);
        if let Some(products) = &mut products {
            peaks.push(products.measure()?);
        }
    }
    let mean = |of: fn(&Work) -> f64| speeds.iter().map(of).sum::<f64>() / f64::from(turns);
    let shares: Vec<f64> = speeds
        .iter()
        .zip(&peaks)
        .map(|(s, peak)| s.flops / peak)
        .collect();
    watch.begin("encoder and heads", config.pace.whole());
    next.store(0, Ordering::Relaxed);
    let both = run(true, config.pace)?;
    Ok(Report {
        encoder: EncoderSpeed {
            tokens_per_second: mean(|s| s.tokens),
            gflops: mean(|s| s.flops) / 1e9,
            share_of_peak: products.is_some().then(|| median(&shares)),
        },
        encoder_heads: Speed {
            tokens_per_second: both.tokens,
        },
        peak_gflops: products.is_some().then(|| median(&peaks) / 1e9),
        workers: config.workers,
    })
}

/// What the model's products multiply, where it runs on the processor.
fn precision(model: &Model) -> Option<Precision> {
    match model.placement() {
        Placement::Cuda(_) => None,
        Placement::CpuBf16 => Some(Precision::Bf16),
        Placement::CpuInt16 => Some(Precision::Int16),
        Placement::Cpu | Placement::CpuF32 | Placement::CpuCandle => Some(Precision::F32),
    }
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
