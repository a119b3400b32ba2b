//! The kernels alone, single-threaded, at the default model's sizes: `cargo bench`.

#![allow(missing_docs, reason = "criterion's macros make functions")]

use std::hint::black_box;

use copydesk_kernels::kernel::{Kernels, Scratch, With};
use copydesk_kernels::lanes::{Lanes, Linear, Precision};
use copydesk_kernels::norm::Norm;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const HIDDEN: usize = 384;
const WIDE: usize = 1536;
const HEADS: usize = 12;
/// A short sentence, a window, and the longest that the encoder takes.
const TOKENS: [usize; 3] = [32, 256, 512];

const PRECISIONS: [(Precision, &str); 3] = [
    (Precision::F32, "f32"),
    (Precision::Bf16, "bf16"),
    (Precision::Int16, "int16"),
];

/// Numbers from −1 to 1, the same every time.
fn numbers(count: usize) -> Vec<f32> {
    let mut state: u64 = 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn lanes(features: usize, tokens: usize) -> Lanes {
    let mut lanes = Lanes::default();
    lanes.resize(features, tokens);
    for (token, values) in numbers(features * tokens).chunks(features).enumerate() {
        lanes.set(token, values);
    }
    lanes
}

/// Floating-point operations are the elements.
fn linear(c: &mut Criterion) {
    let kernels = Kernels::new();
    let mut group = c.benchmark_group("linear");
    for (name, inputs, outputs) in [
        ("qkv", HIDDEN, 3 * HIDDEN),
        ("attended", HIDDEN, HIDDEN),
        ("up, gelu", HIDDEN, WIDE),
        ("down", WIDE, HIDDEN),
    ] {
        let (weight, bias) = (numbers(inputs * outputs), numbers(outputs));
        for (precision, kind) in PRECISIONS {
            let layer = Linear::with(&weight, &bias, precision);
            for tokens in TOKENS {
                let [mut x, mut out, mut between] = [(); 3].map(|()| Lanes::default());
                kernels.round(&lanes(inputs, tokens), precision, &mut x);
                group.throughput(Throughput::Elements((2 * inputs * outputs * tokens) as u64));
                group.bench_function(BenchmarkId::new(format!("{name}, {kind}"), tokens), |b| {
                    b.iter(|| {
                        let (layer, x) = (black_box(&layer), black_box(&x));
                        if outputs == WIDE {
                            kernels.gelu_rounded(layer, x, &mut between, &mut out);
                        } else {
                            kernels.linear(layer, x, With::Bias, &mut out);
                        }
                    });
                });
            }
        }
    }
    group.finish();
}

fn attention(c: &mut Criterion) {
    let kernels = Kernels::new();
    let mut group = c.benchmark_group("attention");
    for tokens in TOKENS {
        let qkv = lanes(3 * HIDDEN, tokens);
        let (mut scratch, mut out) = (Scratch::default(), Lanes::default());
        group.throughput(Throughput::Elements((4 * HIDDEN * tokens * tokens) as u64));
        // There is none of integers.
        for (precision, kind) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
            group.bench_function(BenchmarkId::new(kind, tokens), |b| {
                b.iter(|| {
                    let qkv = black_box(&qkv);
                    kernels.attention(qkv, HEADS, precision, &mut scratch, &mut out);
                });
            });
        }
    }
    group.finish();
}

fn layer_norm(c: &mut Criterion) {
    let kernels = Kernels::new();
    let mut group = c.benchmark_group("layer_norm");
    let norm = Norm {
        weight: numbers(HIDDEN),
        bias: numbers(HIDDEN),
        epsilon: 1e-12,
    };
    for tokens in TOKENS {
        let mut x = lanes(HIDDEN, tokens);
        group.throughput(Throughput::Elements((HIDDEN * tokens) as u64));
        group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
            b.iter(|| kernels.layer_norm(black_box(&mut x), &norm));
        });
    }
    group.finish();
}

criterion_group!(benches, linear, attention, layer_norm);
criterion_main!(benches);
