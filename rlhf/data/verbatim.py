"""Which stretches of words one body of texts shares with another, word for word.

Words are compared without case and punctuation; a character of Chinese, Japanese or Korean is a
word. A stretch never runs over the end of a text. Stretches are compared by a 64-bit hash, by
which two different ones are taken for the same about once in 10^19 comparisons.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
SHORTEST = 4  # words: shorter stretches are shared by all texts of a language
STEP = 8  # beyond this many words a length is known to an eighth of it


def words_of(text: str) -> list[str]:
    """The words of a text, without case."""
    return _WORD.findall(text.casefold())


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as numbers of their words one after another, with the text that each is from."""

    numbers: Hashes
    text: NDArray[np.int64]
    count: int

    def stretches(self, length: int) -> tuple[Hashes, NDArray[np.int64]]:
        """A hash of each stretch of `length` words, and where it starts."""
        size = len(self.numbers) - length + 1
        if size < 1:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        hashes = np.zeros(size, np.uint64)
        for place in range(length):
            hashes = hashes * _FACTOR + self.numbers[place : place + size]
        whole = self.text[:size] == self.text[length - 1 :]
        return hashes[whole], np.flatnonzero(whole)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts to look others up in."""

    vocabulary: dict[str, int]
    words: Words

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """From texts; the same text counts once."""
        vocabulary: dict[str, int] = {}
        return cls(vocabulary, _numbered(list(dict.fromkeys(texts)), vocabulary))

    def longest_runs(self, texts: Sequence[str]) -> list[int]:
        """The longest stretch of words that each text shares with any of the corpus; 0 below
        `SHORTEST` words, and above `STEP` up to an eighth less than it is.
        """
        asked = _numbered(texts, dict(self.vocabulary))
        longest = np.zeros(len(texts), np.int64)
        length, found = SHORTEST, True
        while found:
            hashes, starts = asked.stretches(length)
            hits = starts[np.isin(hashes, self.words.stretches(length)[0])]
            longest[asked.text[hits]] = length
            found = len(hits) > 0
            length += max(1, length // STEP)
        return [int(one) for one in longest]

    def covered(self, texts: Sequence[str], length: int) -> list[float]:
        """The share of each text's words that lie in a stretch of `length` words which the corpus
        holds too; none of a text that is shorter.
        """
        asked = _numbered(texts, dict(self.vocabulary))
        hashes, starts = asked.stretches(length)
        hits = starts[np.isin(hashes, self.words.stretches(length)[0])]
        inside = np.zeros(len(asked.numbers))
        for offset in range(length):
            inside[hits + offset] = 1.0
        sizes = np.bincount(asked.text, minlength=len(texts))
        shared = np.bincount(asked.text, weights=inside, minlength=len(texts))
        return [float(a / b) if b else 0.0 for a, b in zip(shared, sizes, strict=True)]

    def holds(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text stands whole in one of the corpus; an empty one does not."""
        asked = _numbered(texts, dict(self.vocabulary))
        sizes = np.bincount(asked.text, minlength=len(texts))
        found = np.zeros(len(texts), bool)
        for size in sorted({int(one) for one in sizes if one}):
            hashes, starts = asked.stretches(size)
            hits = starts[np.isin(hashes, self.words.stretches(size)[0])]
            found[asked.text[hits]] |= sizes[asked.text[hits]] == size
        return found.tolist()


def _numbered(texts: Sequence[str], vocabulary: dict[str, int]) -> Words:
    """The words of all texts as numbers that look random, so that their sums do not meet."""
    held = [words_of(text) for text in texts]
    flat = [vocabulary.setdefault(word, len(vocabulary)) for words in held for word in words]
    text = np.repeat(np.arange(len(held)), [len(words) for words in held])
    return Words(_mixed(np.array(flat, np.uint64)), text.astype(np.int64), len(held))


def _mixed(numbers: Hashes) -> Hashes:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    mixed = (numbers + np.uint64(1)) * _FACTOR
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
