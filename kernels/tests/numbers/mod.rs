//! Numbers for the tests of the kernels, and for those of the encoder that is made of them.

use copydesk_kernels::lanes::Lanes;

/// Numbers from −1 to 1, the same every time (a linear congruential generator).
pub struct Numbers(pub u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * end as f32) as usize % end
    }

    pub fn lanes(&mut self, features: usize, tokens: usize) -> Lanes {
        let mut lanes = Lanes::default();
        lanes.resize(features, tokens);
        for token in 0..tokens {
            lanes.set(token, &self.many(features));
        }
        lanes
    }
}

/// One row of features a token.
pub fn rows(lanes: &Lanes) -> Vec<Vec<f32>> {
    let row = |token| {
        let mut row = vec![0.0; lanes.features()];
        lanes.get(token, &mut row);
        row
    };
    (0..lanes.tokens()).map(row).collect()
}
