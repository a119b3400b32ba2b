//! Tag logits to spans. The twin of `training/decode.py`. Rows are words, the logits of a word's
//! first token, in the order O, B, I.

use std::ops::Range;

const O: usize = 0;
const B: usize = 1;
const I: usize = 2;

/// The spans of the best path in which I follows only B or I (Viterbi 1967), as word ranges.
pub fn spans(logits: &[[f32; 3]]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (i, tag) in path(logits).into_iter().enumerate() {
        match (tag, found.last_mut()) {
            (B, _) => found.push(i..i + 1),
            (I, Some(last)) => last.end = i + 1,
            _ => {}
        }
    }
    found
}

fn path(logits: &[[f32; 3]]) -> Vec<usize> {
    let Some((first, rest)) = logits.split_first() else {
        return Vec::new();
    };
    let mut best = log_softmax(*first);
    best[I] = f32::NEG_INFINITY;
    let mut back = Vec::with_capacity(rest.len());
    for row in rest {
        let scores = log_softmax(*row);
        let any = argmax(best);
        let inside = if best[I] > best[B] { I } else { B };
        back.push([any, any, inside]);
        best = [
            best[any] + scores[O],
            best[any] + scores[B],
            best[inside] + scores[I],
        ];
    }
    let mut tag = argmax(best);
    let mut tags = vec![tag];
    for pointers in back.iter().rev() {
        tag = pointers[tag];
        tags.push(tag);
    }
    tags.reverse();
    tags
}

/// The likeliest labelling with exactly one span against the one with none; `None` if the log
/// odds stay under `threshold`. One pass, after Kadane's largest sub-array.
pub fn best_span(logits: &[[f32; 3]], threshold: f32) -> Option<Range<usize>> {
    let mut best = threshold;
    let mut found = None;
    let (mut start, mut total) = (0, f32::NEG_INFINITY);
    for (i, row) in logits.iter().enumerate() {
        let (open, go_on) = (row[B] - row[O], total + row[I] - row[O]);
        (start, total) = if open >= go_on {
            (i, open)
        } else {
            (start, go_on)
        };
        if total > best {
            best = total;
            found = Some(start..i + 1);
        }
    }
    found
}

/// Logits to probabilities after division by `temperature`.
pub fn softmax<const N: usize>(logits: [f32; N], temperature: f32) -> [f32; N] {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.map(|z| ((z - most) / temperature).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|p| p / sum)
}

/// The index of the largest value, the first of equals.
pub fn argmax<const N: usize>(values: [f32; N]) -> usize {
    (1..N).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

fn log_softmax(logits: [f32; 3]) -> [f32; 3] {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|z| (z - most).exp()).sum();
    logits.map(|z| z - most - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(tags: &str) -> Vec<[f32; 3]> {
        let row = |c| match c {
            'B' => [0.0, 4.0, 0.0],
            'I' => [0.0, 0.0, 4.0],
            // Likelier O than I, but not by much.
            'i' => [1.0, -4.0, 0.5],
            _ => [4.0, 0.0, 0.0],
        };
        tags.chars().map(row).collect()
    }

    #[test]
    fn paths_obey_the_scheme() {
        let check =
            |tags, expect: &[Range<usize>]| assert_eq!(spans(&rows(tags)), expect, "{tags}");
        check("", &[]);
        check("OOO", &[]);
        check("BIOBB", &[0..2, 3..4, 4..5]);
        check("OBiBO", &[1..2, 3..4]);
        assert!(
            spans(&rows("OII")).iter().all(|s| s.start > 0),
            "I never opens after O"
        );
    }

    #[test]
    fn one_span_at_most() {
        let check = |tags, expect| assert_eq!(best_span(&rows(tags), 0.0), expect, "{tags}");
        check("", None);
        check("OOO", None);
        check("OBIIO", Some(1..4));
        check("BOOBI", Some(3..5));
        assert_eq!(best_span(&rows("OBO"), 9.0), None, "under the threshold");
    }

    #[test]
    fn probabilities_sum_to_one() {
        let scores = softmax([1000.0, 0.0, -1000.0], 2.0);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6 && scores[0] > 0.99);
    }
}
