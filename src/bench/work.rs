//! How much was done, in whatever unit a figure is given.

use std::ops::AddAssign;

/// Work done, or work a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Articles answered.
    pub articles: f64,
    /// Sentences answered.
    pub sentences: f64,
    /// Tokens that the encoder read, context and special ones included; 0 where they are not known.
    pub tokens: f64,
    /// Floating-point operations of the encoder, see [`super::cost`].
    pub flops: f64,
}

impl Work {
    /// Work times a factor.
    pub fn times(self, factor: f64) -> Self {
        Self {
            articles: self.articles * factor,
            sentences: self.sentences * factor,
            tokens: self.tokens * factor,
            flops: self.flops * factor,
        }
    }

    /// Work a second.
    pub fn over(self, time: std::time::Duration) -> Self {
        // A clock that has not moved yet must not make a figure infinite.
        self.times(1.0 / time.as_secs_f64().max(1e-9))
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.articles += other.articles;
        self.sentences += other.sentences;
        self.tokens += other.tokens;
        self.flops += other.flops;
    }
}
