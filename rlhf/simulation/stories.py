"""Story openings, and a preference about stories that a reader can check by eye.

For base models that continue children's stories. The preference: a story in which somebody speaks
and that ends happily and complete, told without repeating itself.
"""

import random
import re
from itertools import product

from rlhf.data.identity import seed_from
from rlhf.data.records import Prompt

HEROES = (
    "a little dog named Max",
    "a small girl named Sue",
    "a brave bird",
    "an old cat",
    "a boy named Tim",
    "a shy rabbit",
    "a big bear",
    "a tiny mouse",
    "a girl named Mia",
    "a young frog",
    "a happy duck",
    "a boy named Ben",
    "a kind fox",
    "a slow turtle",
)
WISHES = (
    "wanted to find a new friend",
    "loved to play in the rain",
    "found a red ball",
    "lost a favorite toy",
    "went to the park",
    "saw a tall tree",
    "heard a strange noise",
    "wanted to fly",
    "found a shiny key",
    "was very hungry",
    "went to the beach",
    "wanted to bake a cake",
    "saw a big boat",
    "could not sleep",
)
FRAMES = (
    "Once upon a time, there was {hero}. One day, {who} {wish}.",
    "There was once {hero} who {wish}.",
    "One sunny day, {hero} {wish}.",
)
NUM_OPENINGS = len(HEROES) * len(WISHES) * len(FRAMES)
GLAD = re.compile(
    r"\b(happy|happily|smiled|laughed|hugged|friends|proud|thanked|fun)\b", re.IGNORECASE
)


def openings(count: int, *, seed: int) -> list[Prompt]:
    """`count` different story openings. Raises ValueError where there are fewer."""
    texts = [
        frame.format(hero=hero, who=_again(hero), wish=wish)
        for frame, hero, wish in product(FRAMES, HEROES, WISHES)
    ]
    if count > len(texts):
        raise ValueError(f"there are {len(texts)} story openings, {count} were asked for")
    return [
        Prompt.of(text, family="story")
        for text in random.Random(seed_from("openings", seed)).sample(texts, count)
    ]


def judge_story(text: str, *, finished: bool) -> float:
    """Points: 1 if somebody speaks, 1 for a glad word (0.5 more for a second), 0.5 for a whole
    last sentence or an end; a sentence said again costs 1, and so does an empty story.
    """
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()]
    glad = len({word.lower() for word in GLAD.findall(text)})
    points = 1.0 * (text.count('"') >= 2) + (0, 1.0, 1.5)[min(glad, 2)]
    points += 0.5 * (finished or text.rstrip().endswith((".", "!", '"')))
    points -= len(sentences) - len(set(sentences))
    return points - 1.0 * (not sentences)


def _again(hero: str) -> str:
    return hero.split("named ")[1] if "named" in hero else "the " + hero.split(" ", 1)[1]
