"""Sentences to windows of token ids, exactly as `src/encode.rs` does it.

A window is `[CLS] headline [SEP] s1 [SEP] s2 [SEP] …`, at most `window_tokens` long. Every
sentence is answered in exactly one window; a later window may open with the last sentences of
the one before as context. A sentence too long for a window is cut into pieces, each a sequence
of its own, and pooled over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Tokenizer

from links import link_lists

# The letter case of the word a token belongs to: rows of the token-type embedding.
CASES = ("none", "lower", "capitalised", "upper", "mixed")
# Upper bounds (inclusive) of the buckets for a sentence's place from either end of the article.
PLACE_BUCKETS = (0, 1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Shape:
    """Sizes that the windows are cut by; stored in config.json for the Rust side."""

    window_tokens: int = 256
    context_sentences: int = 2
    headline_tokens: int = 48


@dataclass
class Tokens:
    """One sentence or headline: ids, cases, word starts, and code-point offsets."""

    ids: list[int]
    cases: list[int]
    word_start: list[bool]
    spans: list[tuple[int, int]]


@dataclass
class Window:
    """One sequence for the encoder. `sentences` holds (index, first token, end token, answered)."""

    ids: list[int] = field(default_factory=list)
    cases: list[int] = field(default_factory=list)
    sentences: list[tuple[int, int, int, bool]] = field(default_factory=list)


def case_of(word: str) -> int:
    """The row of the token-type embedding for a word."""
    cased = [c for c in word if c.isupper() or c.islower()]
    if not cased:
        return 0
    upper = sum(c.isupper() for c in cased)
    if upper == 0:
        return 1
    if upper == 1 and cased[0].isupper():
        return 2
    return 3 if upper == len(cased) else 4


def bucket(place: int) -> int:
    """The bucket of a sentence's distance from an end of the article."""
    return next((i for i, top in enumerate(PLACE_BUCKETS) if place <= top), len(PLACE_BUCKETS))


def load_tokenizer(path: str) -> Tokenizer:
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[Tokens]:
    """The tokens of each text but those of lists of related links that a scraper left in it."""
    out = []
    for text, enc in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False)):
        lists = link_lists(text)
        inside = lambda start, end: any(a <= start and end <= b for a, b in lists)
        kept = [i for i, span in enumerate(enc.offsets) if not inside(*span)]
        words, offsets = ([of[i] for i in kept] for of in (enc.word_ids, enc.offsets))
        bounds: dict[int, tuple[int, int]] = {}
        for word, (start, end) in zip(words, offsets):
            low, high = bounds.get(word, (start, end))
            bounds[word] = (min(low, start), max(high, end))
        case = {w: case_of(text[a:b]) for w, (a, b) in bounds.items()}
        starts = [i == 0 or words[i] != words[i - 1] for i in range(len(words))]
        out.append(Tokens([enc.ids[i] for i in kept], [case[w] for w in words], starts, offsets))
    return out


def make_windows(
    tokenizer: Tokenizer,
    headline: Tokens | None,
    sentences: list[Tokens],
    shape: Shape,
    first_budget: int | None = None,
) -> list[Window]:
    """Packs whole sentences greedily. `first_budget` shortens the first window, so that training
    meets a sentence at other places of the window in every epoch."""
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")

    def opening() -> Window:
        window = Window([cls], [0])
        if headline is not None and headline.ids:
            window.ids += headline.ids[: shape.headline_tokens] + [sep]
            window.cases += headline.cases[: shape.headline_tokens] + [0]
        return window

    def push(window: Window, index: int, low: int, high: int, answered: bool) -> None:
        first = len(window.ids)
        window.ids += sentences[index].ids[low:high] + [sep]
        window.cases += sentences[index].cases[low:high] + [0]
        window.sentences.append((index, first, first + high - low, answered))

    base = len(opening().ids)
    windows: list[Window] = []
    current, limit = opening(), first_budget or shape.window_tokens
    for index, sentence in enumerate(sentences):
        need = len(sentence.ids) + 1
        if base + need > shape.window_tokens:
            if any(s[3] for s in current.sentences):
                windows.append(current)
            step = shape.window_tokens - base - 1
            for low in range(0, len(sentence.ids), step):
                piece = opening()
                push(piece, index, low, min(low + step, len(sentence.ids)), True)
                windows.append(piece)
            current, limit = opening(), shape.window_tokens
            continue
        if len(current.ids) + need > limit and any(s[3] for s in current.sentences):
            windows.append(current)
            current, limit = opening(), shape.window_tokens
            context: list[int] = []
            room = shape.window_tokens - base - need
            for back in range(index - 1, max(-1, index - 1 - shape.context_sentences), -1):
                room -= len(sentences[back].ids) + 1
                # Context may take at most a quarter of the window: the rest is for answers.
                if room < 0 or sum(len(sentences[c].ids) + 1 for c in context) + len(
                    sentences[back].ids
                ) + 1 > shape.window_tokens // 4:
                    break
                context.insert(0, back)
            for back in context:
                push(current, back, 0, len(sentences[back].ids), False)
        push(current, index, 0, len(sentence.ids), True)
    if any(s[3] for s in current.sentences):
        windows.append(current)
    return windows
