//! Figures from counted answers, as `training/metrics.py` computes them. Knows neither articles nor
//! the classifier. A ratio of nothing to nothing is 0.

use std::collections::HashSet;
use std::ops::Range;

use serde::Serialize;

const BINS: usize = 15;

/// One answer of a classification: the true class and the score of every class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case<const N: usize> {
    /// Index of the true class.
    pub gold: usize,
    /// Calibrated.
    pub scores: [f32; N],
}

impl<const N: usize> Case<N> {
    /// The class with the highest score, the first of equals.
    pub fn answer(&self) -> usize {
        (1..N).fold(0, |best, i| {
            if self.scores[i] > self.scores[best] {
                i
            } else {
                best
            }
        })
    }
}

/// How well something is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Share of the answers that are right.
    pub precision: f64,
    /// Share of the truth that is answered.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// How many there are in truth.
    pub support: usize,
}

impl Score {
    fn of(hit: usize, answered: usize, gold: usize) -> Self {
        Self {
            precision: ratio(hit, answered),
            recall: ratio(hit, gold),
            f1: ratio(2 * hit, answered + gold),
            support: gold,
        }
    }
}

/// The score of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Class {
    /// The class.
    pub name: &'static str,
    /// Its score.
    #[serde(flatten)]
    pub score: Score,
}

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub cases: usize,
    /// The mean of their scores.
    pub confidence: f64,
    /// Share of right answers.
    pub accuracy: f64,
}

/// How well a classification does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classes {
    /// How many answers are judged.
    pub cases: usize,
    /// Mean of the classes' F1, classes without support included.
    pub macro_f1: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// How far the scores are from the share of right answers: 15 bins of equal width, after Guo
    /// et al. 2017, "On calibration of modern neural networks".
    pub calibration_error: f64,
    /// The bins of that, empty ones left out, by rising confidence.
    pub reliability: Vec<Bin>,
    /// In the order of the labels.
    pub classes: Vec<Class>,
    /// Counts: a row for each true class, a column for each answer.
    pub confusion: Vec<Vec<usize>>,
}

impl Classes {
    /// `None` without a case.
    pub fn of<const N: usize>(names: [&'static str; N], cases: &[Case<N>]) -> Option<Self> {
        if cases.is_empty() {
            return None;
        }
        let confusion = confusion(cases);
        let classes = std::array::from_fn::<_, N, _>(|c| {
            let answered = confusion.iter().map(|row| row[c]).sum();
            let gold = confusion[c].iter().sum();
            Class {
                name: names[c],
                score: Score::of(confusion[c][c], answered, gold),
            }
        });
        let right = (0..N).map(|c| confusion[c][c]).sum();
        let reliability = reliability(cases);
        Some(Self {
            cases: cases.len(),
            macro_f1: classes.iter().map(|c| c.score.f1).sum::<f64>() / N as f64,
            accuracy: ratio(right, cases.len()),
            calibration_error: calibration_error(&reliability),
            reliability,
            classes: classes.to_vec(),
            confusion: confusion.map(|row| row.to_vec()).to_vec(),
        })
    }
}

/// Counts of spans; exact matches only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    hit: usize,
    answered: usize,
    gold: usize,
}

impl Spans {
    /// Adds one sentence; a span given twice counts once.
    pub fn add(
        &mut self,
        gold: impl IntoIterator<Item = Range<usize>>,
        answered: impl IntoIterator<Item = Range<usize>>,
    ) {
        let gold: HashSet<_> = gold.into_iter().collect();
        let answered: HashSet<_> = answered.into_iter().collect();
        self.hit += gold.intersection(&answered).count();
        self.answered += answered.len();
        self.gold += gold.len();
    }

    /// What they come to.
    pub fn score(&self) -> Score {
        Score::of(self.hit, self.answered, self.gold)
    }
}

/// A share, 0 of nothing.
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

fn confusion<const N: usize>(cases: &[Case<N>]) -> [[usize; N]; N] {
    let mut counts = [[0; N]; N];
    for case in cases {
        counts[case.gold][case.answer()] += 1;
    }
    counts
}

fn reliability<const N: usize>(cases: &[Case<N>]) -> Vec<Bin> {
    // Per bin: answers, right ones, and the sum of confidences.
    let mut bins = [(0, 0, 0.0); BINS];
    for case in cases {
        let answer = case.answer();
        let confidence = case.scores[answer];
        let bin = &mut bins[((confidence * BINS as f32) as usize).min(BINS - 1)];
        bin.0 += 1;
        bin.1 += usize::from(answer == case.gold);
        bin.2 += f64::from(confidence);
    }
    bins.into_iter()
        .filter(|(cases, ..)| *cases > 0)
        .map(|(cases, right, sum)| Bin {
            cases,
            confidence: sum / cases as f64,
            accuracy: ratio(right, cases),
        })
        .collect()
}

/// Σ size × |accuracy − confidence| / cases
fn calibration_error(bins: &[Bin]) -> f64 {
    let cases: usize = bins.iter().map(|bin| bin.cases).sum();
    bins.iter()
        .map(|bin| bin.cases as f64 * (bin.accuracy - bin.confidence).abs())
        .sum::<f64>()
        / cases as f64
}
