//! Sentences to windows of token ids. The twin of `training/windows.py`: whatever changes here
//! changes there. Cuts nothing off but the headline, which is context only.
//!
//! A window is `[CLS] headline [SEP] s1 [SEP] s2 [SEP] …`, at most `window_tokens` long. Every
//! sentence is answered in exactly one window; a later window may open with the last sentences of
//! the one before, as context. A sentence too long for a window becomes a window of several
//! sequences and is pooled over all of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::segment::link_lists;

/// Upper bounds, inclusive, of the buckets for a sentence's distance from an end of the article.
pub const PLACE_BUCKETS: [usize; 7] = [0, 1, 2, 4, 8, 16, 32];

/// The letter case of a word: a row of the encoder's token-type embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Case {
    /// No letter that has a case.
    None = 0,
    /// All lower case.
    Lower = 1,
    /// The first letter is the only capital.
    Capitalised = 2,
    /// Two capitals or more and nothing else.
    Upper = 3,
    /// Anything else.
    Mixed = 4,
}

impl Case {
    /// The names in `config.json`, in the order of the rows.
    pub const NAMES: [&'static str; 5] = ["none", "lower", "capitalised", "upper", "mixed"];

    /// The case of a word.
    pub fn of(word: &str) -> Self {
        let mut cased = 0;
        let mut upper = 0;
        let mut first = false;
        for c in word
            .chars()
            .filter(|c| c.is_uppercase() || c.is_lowercase())
        {
            first |= cased == 0 && c.is_uppercase();
            cased += 1;
            upper += usize::from(c.is_uppercase());
        }
        match (cased, upper) {
            (0, _) => Self::None,
            (_, 0) => Self::Lower,
            (_, 1) if first => Self::Capitalised,
            (c, u) if c == u => Self::Upper,
            _ => Self::Mixed,
        }
    }
}

/// The sizes that windows are cut by, from `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Shape {
    /// Tokens of a sequence, special ones included.
    pub window_tokens: usize,
    /// Sentences of the window before that may be repeated as context.
    pub context_sentences: usize,
    /// Tokens of the headline that are used as context.
    pub headline_tokens: usize,
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Not a tokenizer file.
    #[error("tokenizer.json cannot be read: {0}")]
    Unreadable(String),
    /// It would cut text off, or pad it.
    #[error(
        "tokenizer.json sets {0}; export it with {0} null, so that nothing is cut off in silence"
    )]
    Meddles(&'static str),
    /// BERT's own tokens are missing.
    #[error("tokenizer.json has no token {0}")]
    NoToken(&'static str),
    /// A text could not be tokenised.
    #[error("tokenising failed: {0}")]
    Failed(String),
}

/// A WordPiece tokenizer and the shape of the windows.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: tokenizers::Tokenizer,
    cls: u32,
    sep: u32,
    shape: Shape,
}

/// The tokens of one sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Rows of the vocabulary.
    pub ids: Vec<u32>,
    /// Rows of the token-type embedding: the case of each token's word.
    pub cases: Vec<u32>,
    /// Bytes of the sentence, one range a token.
    pub ranges: Vec<Range<usize>>,
    /// The first token of each word.
    pub words: Vec<usize>,
}

impl Tokens {
    /// The tokens that overlap a range of bytes; `None` if none does.
    pub fn covering(&self, bytes: &Range<usize>) -> Option<Range<usize>> {
        // Tokens follow each other, so both ends are found by halving.
        let start = self.ranges.partition_point(|r| r.end <= bytes.start);
        let end = self.ranges.partition_point(|r| r.start < bytes.end);
        (start < end).then_some(start..end)
    }

    /// The bytes of a range of words.
    pub fn word_bytes(&self, words: &Range<usize>) -> Range<usize> {
        let first = self.words.get(words.start).copied().unwrap_or_default();
        let end = self.words.get(words.end).copied().unwrap_or(self.ids.len());
        let bytes = |i: usize| self.ranges.get(i).cloned().unwrap_or_default();
        bytes(first).start..bytes(end.saturating_sub(1)).end
    }

    /// The tokens of a range of words.
    pub fn word_tokens(&self, words: &Range<usize>) -> Range<usize> {
        let end = self.words.get(words.end).copied().unwrap_or(self.ids.len());
        self.words.get(words.start).copied().unwrap_or(end)..end
    }
}

/// One sequence for the encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Rows of the vocabulary, `[CLS]` first.
    pub ids: Vec<u32>,
    /// Rows of the token-type embedding.
    pub cases: Vec<u32>,
}

/// A sentence that a window answers.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its number in the article.
    pub index: usize,
    /// Where its tokens stand: (sequence, tokens of it), in order, together all of the sentence.
    pub pieces: Vec<(usize, Range<usize>)>,
    /// Its tokens.
    pub tokens: Arc<Tokens>,
    /// Buckets of its distance from the start and from the end of the article.
    pub places: [u32; 2],
    /// Whose mentions to judge.
    pub lookup: Lookup,
}

/// Whose mentions to judge in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Those that the party tags find.
    Detect,
    /// These ranges of the sentence's tokens.
    Given(Vec<Range<usize>>),
}

/// What one pass of the model answers: whole sentences with their context.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// One, or several for a sentence longer than a window.
    pub sequences: Vec<Sequence>,
    /// The sentences answered here.
    pub sentences: Vec<Answered>,
}

impl Sequence {
    /// How long it is.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }
}

impl Window {
    /// Tokens that the encoder reads.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(Sequence::tokens).sum()
    }
}

/// The bucket of a distance from an end of the article.
pub fn place_bucket(distance: usize) -> u32 {
    let bucket = PLACE_BUCKETS.iter().position(|&top| distance <= top);
    bucket.unwrap_or(PLACE_BUCKETS.len()) as u32
}

impl Encoder {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// When it is unreadable, truncates or pads, or lacks `[CLS]` or `[SEP]`.
    pub fn new(json: &[u8], shape: Shape) -> Result<Self, TokenizerError> {
        let tokenizer = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        if tokenizer.get_truncation().is_some() {
            return Err(TokenizerError::Meddles("truncation"));
        }
        if tokenizer.get_padding().is_some() {
            return Err(TokenizerError::Meddles("padding"));
        }
        let id = |token| {
            tokenizer
                .token_to_id(token)
                .ok_or(TokenizerError::NoToken(token))
        };
        Ok(Self {
            cls: id("[CLS]")?,
            sep: id("[SEP]")?,
            tokenizer,
            shape,
        })
    }

    /// How windows are cut.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The highest row of the vocabulary, plus one.
    pub fn vocabulary(&self) -> usize {
        // Rows need not be numbered one by one.
        let rows = self.tokenizer.get_vocab(true);
        rows.values().max().map_or(0, |&row| row as usize + 1)
    }

    /// Tokenises one sentence or headline; adds no special tokens, and leaves out lists of related links that a
    /// scraper left in it.
    ///
    /// # Errors
    ///
    /// When the tokenizer fails, which an ordinary WordPiece file never does.
    pub fn tokenize(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|e| TokenizerError::Failed(e.to_string()))?;
        let lists = link_lists(text);
        let place = |i: usize| {
            let (start, end) = encoding.get_offsets()[i];
            start..end
        };
        let inside = |r: Range<usize>| lists.iter().any(|l| l.start <= r.start && r.end <= l.end);
        let kept: Vec<usize> = (0..encoding.len()).filter(|&i| !inside(place(i))).collect();
        let ranges: Vec<Range<usize>> = kept.iter().map(|&i| place(i)).collect();
        let of = encoding.get_word_ids();
        let words: Vec<usize> = (0..kept.len())
            .filter(|&i| i == 0 || of[kept[i]] != of[kept[i - 1]])
            .collect();
        let mut cases = Vec::with_capacity(kept.len());
        for (w, &first) in words.iter().enumerate() {
            let end = words.get(w + 1).copied().unwrap_or(kept.len());
            let word = text
                .get(ranges[first].start..ranges[end - 1].end)
                .unwrap_or_default();
            cases.resize(end, Case::of(word) as u32);
        }
        Ok(Tokens {
            ids: kept.iter().map(|&i| encoding.get_ids()[i]).collect(),
            cases,
            ranges,
            words,
        })
    }

    /// The windows of an article, tokenised as they are asked for.
    ///
    /// # Errors
    ///
    /// When the headline cannot be tokenised.
    pub fn windows<S>(
        self: &Arc<Self>,
        headline: Option<&str>,
        count: usize,
        source: S,
    ) -> Result<Windows<S>, TokenizerError>
    where
        S: FnMut(usize) -> Option<(String, Option<Vec<Range<usize>>>)>,
    {
        let mut opening = Sequence {
            ids: vec![self.cls],
            cases: vec![Case::None as u32],
        };
        let headline = self.tokenize(headline.unwrap_or_default())?;
        if !headline.ids.is_empty() {
            let kept = headline.ids.len().min(self.shape.headline_tokens);
            opening.append(&headline, 0..kept, self.sep);
        }
        Ok(Windows {
            encoder: Arc::clone(self),
            opening,
            count,
            next: 0,
            source,
            pending: None,
            recent: VecDeque::new(),
        })
    }
}

impl Sequence {
    /// Adds a piece of a sentence and `[SEP]`; where the piece lies.
    fn append(&mut self, tokens: &Tokens, piece: Range<usize>, sep: u32) -> Range<usize> {
        let first = self.ids.len();
        self.ids.extend_from_slice(&tokens.ids[piece.clone()]);
        self.cases.extend_from_slice(&tokens.cases[piece]);
        let end = self.ids.len();
        self.ids.push(sep);
        self.cases.push(Case::None as u32);
        first..end
    }
}

/// Cuts an article into windows, lazily. Made by [`Encoder::windows`].
pub struct Windows<S> {
    encoder: Arc<Encoder>,
    opening: Sequence,
    count: usize,
    next: usize,
    source: S,
    /// A sentence that did not fit into the window before.
    pending: Option<(usize, Arc<Tokens>, Lookup)>,
    /// The last sentences of the window before.
    recent: VecDeque<Arc<Tokens>>,
}

impl<S> Windows<S>
where
    S: FnMut(usize) -> Option<(String, Option<Vec<Range<usize>>>)>,
{
    fn take(&mut self) -> Result<Option<(usize, Arc<Tokens>, Lookup)>, TokenizerError> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        let index = self.next;
        let Some((text, mentions)) = (self.source)(index) else {
            return Ok(None);
        };
        self.next += 1;
        let tokens = self.encoder.tokenize(&text)?;
        let lookup = match mentions {
            None => Lookup::Detect,
            // A mention without a token (a bare control character) keeps its place, empty.
            Some(all) => Lookup::Given(
                all.iter()
                    .map(|m| tokens.covering(m).unwrap_or(0..0))
                    .collect(),
            ),
        };
        Ok(Some((index, Arc::new(tokens), lookup)))
    }

    fn build(&mut self) -> Result<Option<Window>, TokenizerError> {
        let shape = self.encoder.shape;
        let base = self.opening.ids.len();
        let Some(first) = self.take()? else {
            return Ok(None);
        };
        if base + first.1.ids.len() + 1 > shape.window_tokens {
            return Ok(Some(self.in_pieces(first)));
        }
        let mut window = Window {
            sequences: vec![self.opening.clone()],
            sentences: Vec::new(),
        };
        for tokens in self.context(first.1.ids.len() + 1) {
            window.sequences[0].append(&tokens, 0..tokens.ids.len(), self.encoder.sep);
        }
        let mut sentence = Some(first);
        while let Some((index, tokens, lookup)) = sentence {
            if window.sequences[0].ids.len() + tokens.ids.len() + 1 > shape.window_tokens {
                self.pending = Some((index, tokens, lookup));
                break;
            }
            let place = window.sequences[0].append(&tokens, 0..tokens.ids.len(), self.encoder.sep);
            self.remember(&tokens);
            window
                .sentences
                .push(self.answered(index, vec![(0, place)], tokens, lookup));
            sentence = self.take()?;
        }
        Ok(Some(window))
    }

    /// A sentence longer than a window, as several sequences.
    fn in_pieces(&mut self, (index, tokens, lookup): (usize, Arc<Tokens>, Lookup)) -> Window {
        let step = self.encoder.shape.window_tokens - self.opening.ids.len() - 1;
        let mut window = Window::default();
        let mut pieces = Vec::new();
        for low in (0..tokens.ids.len()).step_by(step) {
            let mut sequence = self.opening.clone();
            let high = (low + step).min(tokens.ids.len());
            pieces.push((
                window.sequences.len(),
                sequence.append(&tokens, low..high, self.encoder.sep),
            ));
            window.sequences.push(sequence);
        }
        // It is too long to be anyone's context.
        self.recent.clear();
        self.remember(&tokens);
        window
            .sentences
            .push(self.answered(index, pieces, tokens, lookup));
        window
    }

    fn answered(
        &self,
        index: usize,
        pieces: Vec<(usize, Range<usize>)>,
        tokens: Arc<Tokens>,
        lookup: Lookup,
    ) -> Answered {
        let places = [
            place_bucket(index),
            place_bucket(self.count.saturating_sub(index + 1)),
        ];
        Answered {
            index,
            pieces,
            tokens,
            places,
            lookup,
        }
    }

    fn remember(&mut self, tokens: &Arc<Tokens>) {
        self.recent.push_back(Arc::clone(tokens));
        if self.recent.len() > self.encoder.shape.context_sentences {
            self.recent.pop_front();
        }
    }

    /// The last sentences before the window that fit: together with the first sentence within a
    /// window, and within a quarter of one, since the rest is for answers.
    fn context(&self, first: usize) -> Vec<Arc<Tokens>> {
        let window = self.encoder.shape.window_tokens;
        let mut room = (window - self.opening.ids.len() - first).min(window / 4);
        let mut kept = Vec::new();
        for tokens in self.recent.iter().rev() {
            let need = tokens.ids.len() + 1;
            if need > room {
                break;
            }
            room -= need;
            kept.insert(0, Arc::clone(tokens));
        }
        kept
    }
}

impl<S> Iterator for Windows<S>
where
    S: FnMut(usize) -> Option<(String, Option<Vec<Range<usize>>>)>,
{
    type Item = Result<Window, TokenizerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.build().transpose()
    }
}
