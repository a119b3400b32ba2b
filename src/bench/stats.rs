//! Latencies and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Error;

/// Microseconds; what took longer is kept as this long.
const LONGEST: u64 = 3_600_000_000;

/// Latencies, kept in microseconds to three digits, whatever their number.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// What latencies come to, in milliseconds; all 0 where there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// Ninety-nine of a hundred are at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// (share that is at most as long, milliseconds), for plots.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    ///
    /// When the histogram cannot be made.
    pub fn new() -> Result<Self, Error> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST, 3)?))
    }

    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.max(1));
    }

    /// What they come to.
    pub fn percentiles(&self) -> Percentiles {
        let histogram = &self.0;
        if histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |share: f64| milliseconds(histogram.value_at_quantile(share));
        Percentiles {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
            curve: self.curve(),
        }
    }

    /// Up to where a share still stands for ten latencies or so: further out a curve is chance.
    fn curve(&self) -> Vec<(f64, f64)> {
        let histogram = &self.0;
        let last = (histogram.len() as f64).log10().clamp(0.5, 5.0);
        let steps = (last * 20.0) as u32;
        let shares = (0..=steps).map(|step| 1.0 - 10f64.powf(-f64::from(step) / 20.0));
        shares
            .map(|share| (share, milliseconds(histogram.value_at_quantile(share))))
            .collect()
    }
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// The middle one of several figures; 0 of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => 0.0,
        all if all.len().is_multiple_of(2) => (all[middle - 1] + all[middle]) / 2.0,
        all => all[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        for one in millis {
            latencies.add(Duration::from_millis(one));
        }
        latencies
    }

    /// The histogram keeps three digits.
    fn close(found: f64, expect: f64) {
        assert!((found - expect).abs() <= expect * 2e-3, "{found} {expect}");
    }

    #[test]
    fn percentiles_are_ranks() {
        let all = of(1..=1000).percentiles();
        assert_eq!(all.count, 1000);
        close(all.mean, 500.5);
        close(all.p50, 500.0);
        close(all.p90, 900.0);
        close(all.p99, 990.0);
        close(all.max, 1000.0);
    }

    #[test]
    fn one_is_all_of_them_and_none_is_none() {
        let one = of([7]).percentiles();
        for found in [one.mean, one.p50, one.p90, one.p99, one.max] {
            close(found, 7.0);
        }
        assert_eq!(of([]).percentiles(), Percentiles::default());
    }

    #[test]
    fn the_longest_that_is_told_apart_is_an_hour() {
        close(of([9_999_999]).percentiles().max, 3_600_000.0);
    }

    #[test]
    fn the_curve_rises_to_the_tail() {
        let curve = of(1..=1000).percentiles().curve;
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        close(curve[0].1, 1.0);
        assert!(curve.last().unwrap().0 >= 0.99);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
