"""Lists of related links that a scraper left inside a sentence, as `src/segment/links.rs` finds them, but that its
distances are of bytes."""

from __future__ import annotations

END = "MORE"
LONGEST, BEFORE = 1500, 80
BREAKS = "\n\r\v\f\x85\u2028\u2029"


def link_lists(text: str) -> list[tuple[int, int]]:
    """Code points of each, from behind the name to the end of its "MORE"."""
    found, last, at = [], 0, text.find(END)
    while at >= 0:
        end = at + len(END)
        if not text[at - 1 : at].isalnum() and _goes_on(text[end : end + 2]):
            low = max(last, at - LONGEST)
            low = max([low, *(text.rfind(b, low, at) for b in BREAKS)])
            start = _start(text, low, at)
            if start is not None:
                found.append((start, end))
        last, at = end, text.find(END, end)
    return found


def _goes_on(rest: str) -> bool:
    if rest[:1] == " ":
        return rest[1:].islower() or rest[1:] in ("(", "–", "—")
    return rest[:1] != "" and rest[:1] in "’'.,;)"


def _start(text: str, low: int, end: int) -> int | None:
    part, at = text[low:end], 0
    for word in part.split():
        first = part.index(word, at)
        at = first + len(word)
        if not word.lstrip("(")[:1].isupper():
            continue
        # The longest first: the name in "McOrsoOvernight" is not "Mc".
        for i in range(len(word) - 1, 1, -1):
            c, before = word[i], word[i - 1]
            glued = c.isupper() or c in "0123456789'‘\"“"
            if glued and (before.islower() or before in ".)"):
                named = _named_before(part, first, word[:i])
                if named is not None:
                    return low + named
        named = _named_in_full(part, first, word)
        if named is not None:
            return low + named
    return None


def _named_before(part: str, at: int, name: str) -> int | None:
    low = max(0, at - BEFORE)
    i = part.rfind(name, low, at)
    while i >= 0:
        before, after = part[i - 1 : i] if i else "", part[i + len(name) : i + len(name) + 1]
        if not before.isalnum() and not after.islower() and after not in tuple("0123456789"):
            return i + len(name)
        i = part.rfind(name, low, i + len(name) - 1)
    return None


def _named_in_full(part: str, at: int, word: str) -> int | None:
    end = _named_before(part, at, word)
    if end is None:
        return None
    given = part[: end - len(word)].split()[-1:]
    rest = part[end:at]
    if not given or not given[0][:1].isupper() or not rest.startswith(" " + given[0] + " "):
        return None
    return end if 1 <= len(rest[1 + len(given[0]) :].split()) <= 2 else None
