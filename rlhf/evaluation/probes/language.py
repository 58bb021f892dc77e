"""Which language a prompt is in: a guess by its letters, and by the commonest words of some
languages that share the Latin ones. Good for slices, not for sorting a person's text.
"""

import re
from collections import Counter

SCRIPTS = {
    "Chinese": r"[\u4e00-\u9fff]",
    "Japanese": r"[\u3040-\u30ff]",
    "Korean": r"[\uac00-\ud7af]",
    "Arabic script": r"[\u0600-\u06ff]",
    "Cyrillic script": r"[\u0400-\u04ff]",
    "Greek": r"[\u0370-\u03ff]",
    "Hebrew": r"[\u0590-\u05ff]",
    "Devanagari script": r"[\u0900-\u097f]",
    "Thai": r"[\u0e00-\u0e7f]",
}
LATIN = {
    "English": "the and is to of a in that it for you with my what how do i can are this me please",
    "Spanish": "el la los las de que y en un una por con para es no se me mi como qué cómo",
    "French": "le la les des et est une un que qui dans pour pas je vous mon ma comment ce du",
    "German": "der die das und ist ein eine nicht ich zu mit wie auf für den mein von was es sie",
    "Portuguese": "o os as de que e em um uma para com não é se me meu minha como do da no na",
    "Italian": "il lo la gli le di che e in un una per con non è mi mio come sono del della",
    "Dutch": "de het een en is van ik te dat niet op met voor mijn hoe wat zijn er aan je",
}
COMMON = {name: frozenset(words.split()) for name, words in LATIN.items()}
UNKNOWN = "other or unknown"
SHARE = 0.2  # of the letters, or of the words: less is a quotation, or chance


def language_of(text: str) -> str:
    """The language or script of most of a text; `other or unknown` where nothing speaks for any.

    Japanese is known by its kana, since it shares its other characters with Chinese.
    """
    letters = len(re.findall(r"[^\W\d_]", text)) or 1
    counts = {name: len(re.findall(pattern, text)) for name, pattern in SCRIPTS.items()}
    if counts["Japanese"] >= SHARE * letters / 2:
        return "Japanese"
    script = max(counts, key=lambda name: counts[name])
    if counts[script] >= SHARE * letters:
        return script
    words = re.findall(r"[^\W\d_]+", text.casefold())
    found = Counter({name: sum(word in held for word in words) for name, held in COMMON.items()})
    (best, hits), (_, next_hits) = found.most_common(2)
    return best if hits > next_hits and hits >= SHARE * len(words) else UNKNOWN
