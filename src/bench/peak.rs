//! What the machine's matrix products reach: the ceiling that the encoder is compared with. Two
//! products are tried in turn, that of the crate `gemm`, which candle multiplies with, and the
//! encoder's own; the better one counts, so that the ceiling is not set too low. Of bfloat16, which
//! `gemm` has no product for, the ceiling is the encoder's own product alone.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::Error;
use crate::engine::alone;
use crate::model::cpu::kernel::{Kernels, With};
use crate::model::cpu::lanes::{Lanes, Linear, Precision};

/// Rows, inner size and columns of the product: a full batch through the wider half of a small
/// BERT's feed-forward part.
const SHAPE: [usize; 3] = [1024, 384, 1536];

/// How often it is measured; the best counts, since all else on the machine only takes away.
const ROUNDS: usize = 8;

/// How long one round takes.
const ROUND: Duration = Duration::from_millis(150);

/// How long it all takes.
pub const TIME: Duration = Duration::from_millis(150 * ROUNDS as u64);

/// Floating-point operations a second of products of this precision that run single-threaded on `workers`
/// threads at once.
///
/// # Errors
///
/// When a thread panics.
pub fn measure(workers: usize, precision: Precision) -> Result<f64, Error> {
    let workers = workers.max(1);
    let together = Barrier::new(workers);
    let all: Result<Vec<[f64; ROUNDS]>, Error> = std::thread::scope(|scope| {
        let start = |_| scope.spawn(|| alone(|| rounds(&together, precision)));
        let threads: Vec<_> = (0..workers).map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().map_err(|_| Error::Panicked)
        };
        threads.into_iter().map(join).collect()
    });
    let all = all?;
    let sums = (0..ROUNDS).map(|round| all.iter().map(|rates| rates[round]).sum());
    Ok(sums.fold(0.0, f64::max))
}

fn rounds(together: &Barrier, precision: Precision) -> [f64; ROUNDS] {
    let mut product = Product::new(precision);
    std::array::from_fn(|round| {
        together.wait();
        let began = Instant::now();
        let mut flops = 0.0;
        while began.elapsed() < ROUND {
            flops += if round % 2 == 0 && precision == Precision::Single {
                product.run()
            } else {
                product.run_own()
            };
        }
        flops / began.elapsed().as_secs_f64()
    })
}

/// Two factors and room for what they give, as `gemm` takes them and as the encoder does.
struct Product {
    left: Vec<f32>,
    right: Vec<f32>,
    out: Vec<f32>,
    layer: Linear,
    tokens: Lanes,
    features: Lanes,
}

impl Product {
    fn new(precision: Precision) -> Self {
        let [rows, inner, columns] = SHAPE;
        let right = vec![0.25; columns * inner];
        let mut tokens = Lanes::default();
        tokens.resize(inner, rows);
        for token in 0..rows {
            tokens.set(token, &vec![0.5; inner]);
        }
        if precision == Precision::Pairs {
            let mut pairs = Lanes::default();
            Kernels::new().round(&tokens, &mut pairs);
            tokens = pairs;
        }
        Self {
            left: vec![0.5; rows * inner],
            layer: Linear::with(&right, &vec![0.0; columns], precision),
            right,
            out: vec![0.0; rows * columns],
            tokens,
            features: Lanes::default(),
        }
    }

    /// Multiplies once, by the encoder's own product; its operations.
    fn run_own(&mut self) -> f64 {
        Kernels::new().linear(&self.layer, &self.tokens, With::Bias, &mut self.features);
        let [m, k, n] = SHAPE;
        2.0 * (m * k * n) as f64
    }

    /// Multiplies once, as a linear layer does (the right factor transposed); its operations.
    #[expect(unsafe_code, reason = "gemm takes bare pointers")]
    fn run(&mut self) -> f64 {
        let [m, k, n] = SHAPE;
        // SAFETY: the three buffers have m·k, n·k and m·n numbers, which the strides below stay
        // within; the one that is written to is borrowed mutably and overlaps with no other.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                self.out.as_mut_ptr(),
                1,
                n as isize,
                false,
                self.left.as_ptr(),
                1,
                k as isize,
                self.right.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        2.0 * (m * k * n) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_one() {
        let mut product = Product::new(Precision::Single);
        assert_eq!(product.run(), 2.0 * 1024.0 * 384.0 * 1536.0);
        assert!(product.out.iter().all(|&x| x == 384.0 * 0.5 * 0.25));
        assert_eq!(product.run_own(), 2.0 * 1024.0 * 384.0 * 1536.0);
        let mut last = [0.0; 1536];
        product.features.get(1023, &mut last);
        assert!(last.iter().all(|&x| x == 384.0 * 0.5 * 0.25));
    }
}
