//! What the machine's matrix products reach: the ceiling that the encoder is compared with. Two
//! products are tried in turn, that of the crate `gemm`, which candle multiplies with, and the
//! encoder's own; the better one counts, so that the ceiling is not set too low. Of bfloat16 and
//! integers, which `gemm` has no product for, the ceiling is the better of the encoder's own two: one leaves
//! sums in f32, the other gelu's of them, rounded.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use copydesk_kernels::kernel::{Kernels, With};
use copydesk_kernels::lanes::{Lanes, Linear, Precision};

use super::Error;
use crate::engine::alone;

/// Rows, inner size and columns of the product: a window through the wider half of a small
/// BERT's feed-forward part.
const SHAPE: [usize; 3] = [256, 384, 1536];

/// How long each of the two is measured.
const ROUND: Duration = Duration::from_millis(200);

/// How long it all takes.
pub const TIME: Duration = Duration::from_millis(2 * 200);

/// The two factors and the room of every worker, made once.
pub struct Products(Vec<Product>);

impl Products {
    /// For so many single-threaded workers.
    pub fn new(workers: usize, precision: Precision) -> Self {
        let product = |_| Product::new(precision);
        Self((0..workers.max(1)).map(product).collect())
    }

    /// Floating-point operations a second that the workers reach together, each by its own clock.
    ///
    /// # Errors
    ///
    /// When a thread panics.
    pub fn measure(&mut self) -> Result<f64, Error> {
        let together = &Barrier::new(self.0.len());
        let all: Result<Vec<[f64; 2]>, Error> = std::thread::scope(|scope| {
            let start = |product| scope.spawn(move || alone(|| rates(product, together)));
            let threads: Vec<_> = self.0.iter_mut().map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().map_err(|_| Error::Panicked)
            };
            threads.into_iter().map(join).collect()
        });
        let all = all?;
        let sums = [0, 1].map(|kind| all.iter().map(|rates| rates[kind]).sum::<f64>());
        Ok(sums[0].max(sums[1]))
    }
}

/// What a worker reaches with either product.
fn rates(product: &mut Product, together: &Barrier) -> [f64; 2] {
    let kinds: [fn(&mut Product) -> f64; 2] = match product.layer.precision() {
        Precision::F32 => [Product::run, Product::run_own],
        Precision::Bf16 | Precision::Int16 => [Product::run_rounded, Product::run_own],
    };
    kinds.map(|run| {
        together.wait();
        let began = Instant::now();
        let mut flops = 0.0;
        while began.elapsed() < ROUND {
            flops += run(product);
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
    between: Lanes,
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
        let mut rounded = Lanes::default();
        Kernels::new().round(&tokens, precision, &mut rounded);
        Self {
            left: vec![0.5; rows * inner],
            layer: Linear::with(&right, &vec![0.0; columns], precision),
            right,
            out: vec![0.0; rows * columns],
            tokens: rounded,
            features: Lanes::default(),
            between: Lanes::default(),
        }
    }

    /// Multiplies once, by the encoder's own product; its operations.
    fn run_own(&mut self) -> f64 {
        Kernels::new().linear(&self.layer, &self.tokens, With::Bias, &mut self.features);
        let [m, k, n] = SHAPE;
        2.0 * (m * k * n) as f64
    }

    /// The same with gelu, and rounded.
    fn run_rounded(&mut self) -> f64 {
        let (between, out) = (&mut self.between, &mut self.features);
        Kernels::new().gelu_rounded(&self.layer, &self.tokens, between, out);
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
        let mut product = Product::new(Precision::F32);
        assert_eq!(product.run(), 2.0 * 256.0 * 384.0 * 1536.0);
        assert!(product.out.iter().all(|&x| x == 384.0 * 0.5 * 0.25));
        assert_eq!(product.run_own(), 2.0 * 256.0 * 384.0 * 1536.0);
        let mut last = [0.0; 1536];
        product.features.get(255, &mut last);
        assert!(last.iter().all(|&x| x == 384.0 * 0.5 * 0.25));
    }
}
