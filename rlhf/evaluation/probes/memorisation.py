"""Memorisation: how often answers repeat training text word for word, beside how often SFT does.

Only answers that are long enough to hold such a stretch are counted, on both sides, so that a
policy that writes more is not taken for one that recites. In a world of few sentences every good
answer stands somewhere in the training text; so it is the rise over SFT that is judged.
"""

from rlhf.data.verbatim import Corpus, words_of
from rlhf.evaluation.probes.bench import BASE, Bench
from rlhf.evaluation.probes.finding import Finding, NothingToProbeError
from rlhf.evaluation.probes.means import difference_of

TITLE = "Memorisation of training text"
FEWEST = 10  # answers that are long enough
SHOWN_CHARACTERS = 300


def probe(bench: Bench) -> dict[str, Finding]:
    """Of the answers of `verbatim_words` words or more, the share that has as many in a row with a
    text of the training, and how much larger it is than SFT's.
    """
    texts = [text for held in bench.texts.values() for text in held]
    if not texts or len(bench.answered) < 2:
        raise NothingToProbeError("there is no training text, or no answer, to compare")
    corpus = Corpus.of(texts)
    answers = {name: [one.replies[name].text for one in bench.answered] for name in bench.policies}
    flat = iter(corpus.longest_runs([text for held in answers.values() for text in held]))
    runs = {name: [next(flat) for _ in held] for name, held in answers.items()}
    sizes = {name: [len(words_of(text)) for text in held] for name, held in answers.items()}
    long = {
        name: [float(size >= bench.verbatim_words) for size in held] for name, held in sizes.items()
    }
    flags = {
        name: [float(run >= bench.verbatim_words) for run in held] for name, held in runs.items()
    }
    found: dict[str, Finding] = {}
    for name in bench.policies:
        if sum(long[name]) < FEWEST or sum(long[BASE]) < FEWEST:
            continue  # below it a share says nothing
        longest = max(range(len(runs[name])), key=lambda place, held=runs[name]: held[place])  # type: ignore[misc]
        rise = difference_of((flags[name], long[name]), (flags[BASE], long[BASE]))
        found[name] = Finding(
            {} if name == BASE else {"verbatim_rise": rise},
            {
                "words": bench.verbatim_words,
                "share": round(sum(flags[name]) / sum(long[name]), 4),
                "long_answers": int(sum(long[name])),
                "longest_words": runs[name][longest],
                "shown": answers[name][longest][:SHOWN_CHARACTERS],
                "texts": len(set(texts)),
            },
        )
    if not found.keys() & set(bench.trained):
        raise NothingToProbeError(
            f"SFT and the trained policies wrote fewer than {FEWEST} answers of "
            f"{bench.verbatim_words} words: lower probe.verbatim_words"
        )
    return found
