"""Contamination: how far the prompts that policies are judged on stand in their training data.

A prompt overlaps where it stands there itself: whole, as a stretch of eight words or more inside
one text, or as a near-duplicate of a prompt that was trained on (by word 3-grams, found exactly by
`rlhf.data.splits`, where MinHash would only estimate). A milder sign is told beside it: the share
of its words that lie in stretches of eight which the training data holds somewhere. Touvron et al.
(2023, A.6) call a sample dirty from four fifths on; prompts made from templates share that much
without being the same prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlhf.data.records import Prompt
from rlhf.data.splits import near_duplicates_of
from rlhf.data.verbatim import Corpus, words_of

STRETCH_WORDS = 8
MOSTLY = 0.8
NEAR = 0.85  # the Jaccard similarity at which the prompts stage keeps prompts on one side


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found, by prompt id: the share of its words in stretches that training text holds
    (`covered`), the sources that hold it `whole`, and which training prompt it is `near`.
    """

    covered: Mapping[str, float]
    whole: Mapping[str, str]
    near: Mapping[str, str]

    @property
    def overlapping(self) -> list[str]:
        """Ids of the prompts that stand in the training data themselves."""
        return sorted({*self.whole, *self.near})

    @property
    def mostly_shared(self) -> list[str]:
        """Ids of those of whose words four fifths or more lie in shared stretches, the most covered
        first.
        """
        found = [one for one, share in self.covered.items() if share >= MOSTLY]
        return sorted(found, key=lambda one: (-self.covered[one], one))


def overlap(
    evaluated: Sequence[Prompt],
    trained: Sequence[Prompt],
    texts: Mapping[str, Sequence[str]],
    *,
    near: float = NEAR,
) -> Overlap:
    """Of the `evaluated` prompts beside the `trained` ones and the other `texts` of the training,
    by where they stood. The last turn of a prompt is compared word for word, all turns by 3-grams.
    """
    asked = [one.text for one in evaluated]
    long = [len(words_of(text)) >= STRETCH_WORDS for text in asked]
    covered = dict.fromkeys((one.id for one in evaluated), 0.0)
    whole: dict[str, str] = {}
    for name, body in {"prompts": [one.text for one in trained], **texts}.items():
        corpus = Corpus.of(body)
        shares, stands = corpus.covered(asked, STRETCH_WORDS), corpus.holds(asked)
        for place, one in enumerate(evaluated):
            covered[one.id] = max(covered[one.id], shares[place])
            if long[place] and stands[place]:
                whole.setdefault(one.id, name)
    return Overlap(covered, whole, near_duplicates_of(evaluated, trained, near))
