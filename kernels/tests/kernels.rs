//! The kernels against plain sums, and the instruction sets against each other.

use copydesk_kernels::kernel::{Kernels, Scratch, With};
use copydesk_kernels::lanes::{Lanes, Linear, Precision};
use copydesk_kernels::norm::Norm;
use pulp::Arch;

#[expect(dead_code, reason = "the encoder's tests have use for the rest")]
mod numbers;

use self::numbers::{Numbers, rows};

fn bits(lanes: &Lanes) -> Vec<u32> {
    rows(lanes).concat().iter().map(|x| x.to_bits()).collect()
}

/// The kernels of every instruction set of this machine, plain code first; the last has an
/// instruction for bfloat16 if the machine does.
fn kernels() -> Vec<Kernels> {
    #[allow(unused_mut, reason = "elsewhere there is only one more")]
    let mut sets = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    sets.extend(pulp::x86::V3::try_new().map(Arch::V3));
    sets.push(Arch::new());
    let mut all: Vec<_> = sets.into_iter().map(Kernels::with).collect();
    all.push(Kernels::new().without_tiles());
    all
}

/// Block boundaries, register boundaries, and what lies between.
const TOKENS: [usize; 9] = [1, 7, 16, 17, 33, 47, 48, 49, 130];

#[test]
fn a_linear_layer_is_its_formula() {
    let mut numbers = Numbers(1);
    // Outputs that fill no panel, too.
    for (inputs, outputs, tokens) in [(5, 3, 1), (24, 16, 50), (40, 21, 97), (400, 7, 20)] {
        let weight = numbers.many(inputs * outputs);
        let bias = numbers.many(outputs);
        let x = numbers.lanes(inputs, tokens);
        let residual = numbers.lanes(outputs, tokens);
        let layer = Linear::new(&weight, &bias);
        for with in [With::Bias, With::Gelu, With::Residual(&residual)] {
            let mut out = Lanes::default();
            Kernels::new().linear(&layer, &x, with, &mut out);
            let operands = rows(&x).into_iter().zip(rows(&residual)).zip(rows(&out));
            for ((x, residual), out) in operands {
                for (o, found) in out.iter().enumerate() {
                    let products = x.iter().zip(&weight[o * inputs..]);
                    let sum: f64 = products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    let sum = sum + f64::from(bias[o]);
                    let exact = match with {
                        With::Bias => sum,
                        With::Gelu => gelu(sum),
                        With::Residual(_) => sum + f64::from(residual[o]),
                    };
                    let difference = (exact - f64::from(*found)).abs();
                    // Every product of a sum is rounded.
                    let bound = 2e-6 * (inputs as f64 / 40.0).max(1.0);
                    assert!(difference < bound, "{inputs} → {outputs}: {difference:e}");
                }
            }
        }
    }
}

#[test]
fn bfloats_are_products_of_rounded_numbers() {
    let rounded = |x: &f32| f64::from(half::bf16::from_f32(*x).to_f32());
    let mut numbers = Numbers(7);
    // An odd width too, whose last pair is half empty; and two that tiles take, where the machine has them.
    let shapes = [
        (5, 3, 1),
        (24, 16, 50),
        (41, 21, 97),
        (32, 5, 31),
        (96, 70, 130),
    ];
    for (inputs, outputs, tokens) in shapes {
        let weight = numbers.many(inputs * outputs);
        let layer = Linear::with(&weight, &vec![0.5; outputs], Precision::Bf16);
        let x = numbers.lanes(inputs, tokens);
        let (mut pairs, mut out) = (Lanes::default(), Lanes::default());
        Kernels::new().round(&x, Precision::Bf16, &mut pairs);
        Kernels::new().linear(&layer, &pairs, With::Bias, &mut out);
        for (x, out) in rows(&x).iter().zip(rows(&out)) {
            for (o, found) in out.iter().enumerate() {
                let products = x.iter().zip(&weight[o * inputs..]);
                let sum: f64 = products.map(|(x, w)| rounded(x) * rounded(w)).sum();
                let difference = (sum + 0.5 - f64::from(*found)).abs();
                let bound = 2e-6 * (inputs as f64 / 40.0).max(1.0);
                assert!(difference < bound, "{inputs} → {outputs}: {difference:e}");
            }
        }
    }
}

/// The integers that numbers are rounded to, and what they are multiples of: of a token, and of the weights of
/// an output.
fn whole(numbers: &[f32], step: f64) -> (Vec<i64>, f64) {
    let whole = |x: &f32| (f64::from(*x) / step).round() as i64;
    (numbers.iter().map(whole).collect(), step)
}

fn whole_token(x: &[f32]) -> (Vec<i64>, f64) {
    let largest = x.iter().fold(1e-30, |a: f32, x| a.max(x.abs()));
    whole(x, f64::from(largest) / 4095.0)
}

fn whole_weights(w: &[f32]) -> (Vec<i64>, f64) {
    let largest = w.iter().fold(1e-30, |a: f32, x| a.max(x.abs()));
    let total: f64 = w.iter().map(|w| f64::from(w.abs())).sum();
    let most = 0.9999 * f64::from(i32::MAX) / 4095.0 - w.len() as f64 / 2.0;
    whole(w, (f64::from(largest) / 32_767.0).max(total / most))
}

#[test]
fn integers_are_products_of_rounded_numbers() {
    let mut numbers = Numbers(9);
    // An odd width, and one deeper than what a tile sums up at a time.
    for (inputs, outputs, tokens) in [(5, 3, 1), (24, 16, 50), (41, 21, 97), (1201, 7, 20)] {
        let weight = numbers.many(inputs * outputs);
        let residual = numbers.lanes(outputs, tokens);
        let x = numbers.lanes(inputs, tokens);
        for with in [With::Bias, With::Gelu, With::Residual(&residual)] {
            let found = of_integers(Kernels::new(), &weight, &vec![0.5; outputs], &x, with);
            for ((x, residual), found) in rows(&x).iter().zip(rows(&residual)).zip(found) {
                let (x, step) = whole_token(x);
                for (o, found) in found.iter().enumerate() {
                    let (w, unit) = whole_weights(&weight[o * inputs..][..inputs]);
                    let sum: i64 = x.iter().zip(&w).map(|(x, w)| x * w).sum();
                    assert!(i32::try_from(sum).is_ok(), "{sum}");
                    let sum = sum as f64 * step * unit + 0.5;
                    let exact = match with {
                        With::Bias => sum,
                        With::Gelu => gelu(sum),
                        With::Residual(_) => sum + f64::from(residual[o]),
                    };
                    let difference = (exact - f64::from(*found)).abs();
                    // A number halfway between two integers may become either, since the service divides
                    // in f32; no number is larger than 1.
                    let bound = 1.1 * (step + unit);
                    assert!(difference < bound, "{inputs} → {outputs}: {difference:e}");
                }
            }
        }
    }
}

#[test]
fn no_sum_of_integers_overflows() {
    let mut numbers = Numbers(10);
    for inputs in [1, 2, 384, 1536, 30_000] {
        let random = numbers.many(inputs);
        for (same, size) in [(true, 1e-15), (true, 1.0), (true, 1e15), (false, 1.0)] {
            // All weights as large as the largest, or of any size and sign.
            let weight = match same {
                true => vec![size; inputs],
                false => random.clone(),
            };
            // Every feature at its largest and of its weight's sign, or of the other.
            for sign in [1.0, -1.0] {
                let mut x = Lanes::default();
                x.resize(inputs, 1);
                let features: Vec<f32> = weight.iter().map(|w| sign * size * w.signum()).collect();
                x.set(0, &features);
                let total: f64 = weight.iter().map(|w| f64::from(w.abs())).sum();
                let exact = f64::from(sign * size) * total;
                for kernels in kernels() {
                    let found = of_integers(kernels, &weight, &[0.0], &x, With::Bias)[0][0];
                    let error = (f64::from(found) / exact - 1.0).abs();
                    assert!(error < 0.02, "{inputs} of {size:e}: {found}, not {exact}");
                }
            }
        }
    }
}

#[test]
fn a_token_that_is_no_number_spoils_itself_alone() {
    for spoilt in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = Lanes::default();
        x.resize(4, 3);
        x.set(0, &[1.0; 4]);
        x.set(1, &[1.0, spoilt, 1.0, 1.0]);
        x.set(2, &[0.0; 4]);
        for kernels in kernels() {
            let found = of_integers(kernels, &[1.0; 8], &[3.0, 4.0], &x, With::Bias);
            assert!(found[1].iter().all(|x| !x.is_finite()), "{found:?}");
            assert!((found[0][0] - 7.0).abs() < 1e-3, "{found:?}");
            assert_eq!(found[2], [3.0, 4.0]);
        }
    }
}

/// One row of outputs a token.
fn of_integers(
    kernels: Kernels,
    weight: &[f32],
    bias: &[f32],
    x: &Lanes,
    with: With<'_>,
) -> Vec<Vec<f32>> {
    let layer = Linear::laid_out(weight, bias, Precision::Int16, kernels);
    let (mut rounded, mut out) = (Lanes::default(), Lanes::default());
    kernels.round(x, Precision::Int16, &mut rounded);
    kernels.linear(&layer, &rounded, with, &mut out);
    rows(&out)
}

#[test]
fn the_precision_preferred_is_what_the_instruction_set_is_fast_at() {
    assert_eq!(Kernels::with(Arch::Scalar).preferred(384), Precision::F32);
    #[cfg(target_arch = "x86_64")]
    if let Some(v3) = pulp::x86::V3::try_new() {
        assert_eq!(Kernels::with(Arch::V3(v3)).preferred(384), Precision::Int16);
    }
}

#[test]
fn attention_in_bfloats_is_close_to_that_in_f32() {
    let mut numbers = Numbers(8);
    for tokens in TOKENS {
        // A width of 10, and an odd one of 5, which stays in f32; and two that tiles take.
        for (hidden, heads) in [(20, 2), (20, 4), (96, 3), (128, 2)] {
            let qkv = numbers.lanes(3 * hidden, tokens);
            let attend = |precision| {
                let mut out = Lanes::default();
                // Left over from before: nothing of it may count.
                out.resize(hidden, tokens);
                let mut scratch = Scratch::default();
                let junk = numbers_of_none(3 * hidden, 150);
                Kernels::new().attention(&junk, heads, precision, &mut scratch, &mut out);
                Kernels::new().attention(&qkv, heads, precision, &mut scratch, &mut out);
                rows(&out).concat()
            };
            let (single, pairs) = (attend(Precision::F32), attend(Precision::Bf16));
            for (a, b) in single.iter().zip(&pairs) {
                assert!(
                    (a - b).abs() < 0.02,
                    "{tokens} tokens, {heads} heads: {a} and {b}"
                );
            }
        }
    }
}

/// Queries, keys and values that are no numbers.
fn numbers_of_none(features: usize, tokens: usize) -> Lanes {
    let mut lanes = Lanes::default();
    lanes.resize(features, tokens);
    for token in 0..tokens {
        lanes.set(token, &vec![f32::NAN; features]);
    }
    lanes
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
}

#[test]
fn gelu_is_within_its_bound() {
    let same = Linear::new(&[1.0], &[0.0]);
    let mut x = Lanes::default();
    let values: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 / 2_000.0).collect();
    x.resize(1, values.len());
    for (token, value) in values.iter().enumerate() {
        x.set(token, &[*value]);
    }
    let mut out = Lanes::default();
    Kernels::new().linear(&same, &x, With::Gelu, &mut out);
    let found = rows(&out).concat();
    let largest = values
        .iter()
        .zip(&found)
        .map(|(x, y)| {
            (gelu(f64::from(*x)) - f64::from(*y)).abs() / f64::from(x.abs().max(4.0)) * 4.0
        })
        .fold(0.0, f64::max);
    println!("largest difference {largest:e}");
    assert!(largest <= 3e-7, "{largest:e}");
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let mut numbers = Numbers(2);
    // Deeper than what a tile sums up at a time, too; 20 outputs fill no panel.
    let shapes = [24, 800].map(|inputs| (numbers.many(inputs * 20), numbers.many(20)));
    let norm = Norm {
        weight: numbers.many(30),
        bias: numbers.many(30),
        epsilon: 1e-12,
    };
    for tokens in TOKENS {
        let inputs = [24, 800].map(|inputs| numbers.lanes(inputs, tokens));
        let residual = numbers.lanes(20, tokens);
        let normal = numbers.lanes(30, tokens);
        // Two heads, 10 wide: no multiple of a panel.
        let qkv = numbers.lanes(60, tokens);
        let mut rounded = Lanes::default();
        let all = kernels().into_iter().map(|kernels| {
            let mut found = Vec::new();
            let mut out = Lanes::default();
            for ((weight, bias), x) in shapes.iter().zip(&inputs) {
                let layer = |precision| Linear::laid_out(weight, bias, precision, kernels);
                for with in [With::Bias, With::Gelu, With::Residual(&residual)] {
                    kernels.linear(&layer(Precision::F32), x, with, &mut out);
                    found.push(bits(&out));
                    for precision in [Precision::Bf16, Precision::Int16] {
                        kernels.round(x, precision, &mut rounded);
                        kernels.linear(&layer(precision), &rounded, with, &mut out);
                        found.push(bits(&out));
                    }
                }
            }
            out.copy_from(&normal, 0, tokens);
            kernels.layer_norm(&mut out, &norm);
            found.push(bits(&out));
            for precision in [Precision::F32, Precision::Bf16] {
                let mut scratch = Scratch::default();
                kernels.attention(&qkv, 2, precision, &mut scratch, &mut out);
                found.push(bits(&out));
            }
            found
        });
        let all: Vec<_> = all.collect();
        for (n, found) in all.iter().enumerate() {
            assert!(*found == all[0], "set {n}, {tokens} tokens");
        }
    }
}

/// What an instruction of tiles gives, by its description: of 32 features at a time the products of even and
/// of odd ones, each added and rounded at once, then both.
fn by_tiles(x: &[f32], weights: &[f32]) -> f32 {
    let rounded = |x: &f32| half::bf16::from_f32(*x).to_f32();
    let mut sum = 0.0;
    for (x, weights) in x.chunks(32).zip(weights.chunks(32)) {
        let mut halves = [0.0_f32; 2];
        for (i, (x, w)) in x.iter().zip(weights).enumerate() {
            halves[i % 2] = rounded(x).mul_add(rounded(w), halves[i % 2]);
        }
        sum += halves[0] + halves[1];
    }
    sum
}

#[test]
fn tiles_give_the_bits_of_their_description() {
    let kernels = Kernels::new();
    if kernels.tiles().is_none() {
        println!("this machine has no tiles");
        return;
    }
    let mut numbers = Numbers(11);
    for (inputs, outputs) in [(32, 5), (96, 70), (384, 32)] {
        let weight = numbers.many(inputs * outputs);
        let bias = numbers.many(outputs);
        let layer = Linear::with(&weight, &bias, Precision::Bf16);
        for tokens in TOKENS {
            let x = numbers.lanes(inputs, tokens);
            let (mut pairs, mut out) = (Lanes::default(), Lanes::default());
            kernels.round(&x, Precision::Bf16, &mut pairs);
            let residual = numbers.lanes(outputs, tokens);
            for with in [With::Bias, With::Gelu, With::Residual(&residual)] {
                kernels.linear(&layer, &pairs, with, &mut out);
                let operands = rows(&x).into_iter().zip(rows(&residual)).zip(rows(&out));
                for ((x, residual), out) in operands {
                    for (o, found) in out.iter().enumerate() {
                        let sum = by_tiles(&x, &weight[o * inputs..][..inputs]);
                        match with {
                            With::Bias => assert_eq!(sum + bias[o], *found),
                            With::Residual(_) => assert_eq!(sum + (residual[o] + bias[o]), *found),
                            With::Gelu => {
                                let exact = gelu(f64::from(sum + bias[o]));
                                assert!((exact - f64::from(*found)).abs() < 1e-5, "{exact}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_goes_into_the_next_layer_is_gelu_rounded() {
    let mut numbers = Numbers(12);
    // Tiles take the last three, where the machine has them; odd outputs, too.
    for (inputs, outputs) in [(24, 16), (41, 21), (32, 5), (96, 70), (64, 33)] {
        let (weight, bias) = (numbers.many(inputs * outputs), numbers.many(outputs));
        for tokens in TOKENS {
            let x = numbers.lanes(inputs, tokens);
            let [mut pairs, mut between, mut out] = [(); 3].map(|()| Lanes::default());
            let layer = Linear::with(&weight, &bias, Precision::Bf16);
            let kernels = Kernels::new();
            kernels.round(&x, Precision::Bf16, &mut pairs);
            kernels.gelu_rounded(&layer, &pairs, &mut between, &mut out);
            assert_eq!(
                (out.features(), out.tokens()),
                (outputs.div_ceil(2), tokens)
            );
            for (x, out) in rows(&x).iter().zip(rows(&out)) {
                for (o, weight) in weight.chunks(inputs).enumerate() {
                    let sum = by_tiles(x, weight) + bias[o];
                    let exact = gelu(f64::from(sum));
                    let bits = out[o / 2].to_bits() >> (16 * (o % 2)) << 16;
                    let found = f64::from(f32::from_bits(bits));
                    // Half a unit in the last of eight places, and what the polynomials are off.
                    let bound = exact.abs() / 256.0 + 3e-5;
                    assert!((exact - found).abs() < bound, "{exact} and {found}");
                }
            }
        }
    }
}

#[test]
fn layer_norm_is_its_formula() {
    let mut numbers = Numbers(3);
    let norm = Norm {
        weight: numbers.many(30),
        bias: numbers.many(30),
        epsilon: 1e-5,
    };
    let mut x = numbers.lanes(30, 50);
    let before = rows(&x);
    Kernels::new().layer_norm(&mut x, &norm);
    for (before, after) in before.iter().zip(rows(&x)) {
        let mean = before.iter().sum::<f32>() / 30.0;
        let variance = before.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 30.0;
        for (i, found) in after.iter().enumerate() {
            let exact =
                (before[i] - mean) / (variance + 1e-5).sqrt() * norm.weight[i] + norm.bias[i];
            assert!((exact - found).abs() < 1e-5);
        }
    }
}

#[test]
fn tokens_move_between_lanes_unchanged() {
    let mut numbers = Numbers(4);
    let all = numbers.lanes(3, 200);
    for (start, tokens) in [(0, 200), (13, 48), (47, 2), (96, 104), (150, 50)] {
        let mut part = Lanes::default();
        part.copy_from(&all, start, tokens);
        assert_eq!(rows(&part), rows(&all)[start..start + tokens]);
        let mut back = numbers.lanes(3, 200);
        let before = rows(&back);
        back.copy_to(&part, start);
        let after = rows(&back);
        assert_eq!(after[start..start + tokens], rows(&part));
        assert_eq!(after[..start], before[..start]);
        assert_eq!(after[start + tokens..], before[start + tokens..]);
    }
}
