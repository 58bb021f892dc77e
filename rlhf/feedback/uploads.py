"""Items as people write them in a file: JSON Lines, believed only after a look at every field."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rlhf.data.identity import Json
from rlhf.data.records import Message, Prompt, Response
from rlhf.feedback.items import Item

Groups = tuple[tuple[str, ...], ...]


class Lines:
    """The objects of a JSON Lines text; knows at which line it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._number = 0

    def __iter__(self) -> Iterator[Json]:
        for number, line in enumerate(self._text.split("\n"), 1):
            self._number = number
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise ValueError(f"not JSON ({error})") from error
            if not isinstance(row, dict):
                raise TypeError("not an object")
            yield row
        self._number = 0

    @contextmanager
    def named(self) -> Iterator[None]:
        """Says of a refusal at which line it came."""
        try:
            yield
        except (ValueError, TypeError) as error:
            at = f"line {self._number}: " if self._number else ""
            raise ValueError(f"{at}{error}. Nothing was added") from error


def item_of(row: Json, most: int) -> Item:
    """The item of a line with at most `most` responses: `prompt` (a text, or messages), `responses`
    (texts, or objects with `text`, `model`, `finished`), and where wanted `wanted`, `priority`, and
    `expected`: tie groups of the numbers of the responses, from 1, best first, which makes the item
    a gold one. Raises ValueError.
    """
    _only(row, {"prompt", "responses", "wanted", "priority", "expected"})
    prompt = _prompt(row.get("prompt"))
    given = row.get("responses")
    if not isinstance(given, list):
        raise ValueError("responses: a list of texts or objects is needed")
    if len(given) > most:
        raise ValueError(f"responses: at most {most} can be shown, got {len(given)}")
    responses = tuple(_response(prompt.id, one) for one in given)
    wanted, priority = row.get("wanted", 0), row.get("priority", 0.0)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted <= 100:
        raise ValueError(f"wanted: a number of labelers up to 100 is needed, got {wanted!r}")
    expected = None
    if row.get("expected") is not None:
        expected = _by_number(row["expected"], [one.id for one in responses])
    return Item(prompt, responses, wanted, checked_priority(priority), expected)


def prompt_and_response(row: Json) -> tuple[str, str]:
    """The prompt's id and the text of a line that gives one more response to a known prompt."""
    _only(row, {"prompt", "prompt_id", "response"})
    prompt_id = row.get("prompt_id")
    if prompt_id is None:
        prompt_id = _prompt(row.get("prompt")).id
    return _text(prompt_id, "prompt_id"), _text(row.get("response"), "response")


def checked_priority(given: object) -> float:
    """A number that orders items; ValueError for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= 1e9:
        raise ValueError(f"priority: a number is needed, got {given!r}")
    return float(given)


def _only(row: Json, known: set[str]) -> None:
    unknown = sorted(set(row) - known)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known here; there are {', '.join(sorted(known))}")


def _prompt(given: object) -> Prompt:
    if isinstance(given, str):
        return Prompt.of(_text(given, "prompt"))
    if not isinstance(given, list) or not all(isinstance(turn, dict) for turn in given):
        raise ValueError("prompt: a text or a list of messages is needed")
    turns = tuple(Message.from_json(turn) for turn in given)
    for turn in turns:
        _text(turn.content, "prompt")
    return Prompt.of(turns)


def _response(prompt_id: str, given: object) -> Response:
    if isinstance(given, str):
        return Response.of(prompt_id, _text(given, "responses"))
    if not isinstance(given, dict):
        raise ValueError("responses: each is a text or an object with a text")
    _only(given, {"text", "model", "finished"})
    model, finished = given.get("model", ""), given.get("finished", True)
    if not isinstance(model, str) or not isinstance(finished, bool):
        raise ValueError("responses: model is a text and finished is true or false")
    return Response.of(
        prompt_id, _text(given.get("text"), "responses"), model=model, finished=finished
    )


def _text(given: object, what: str) -> str:
    """A text that every database can keep."""
    if not isinstance(given, str):
        raise ValueError(f"{what}: a text is needed, got {type(given).__name__}")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what}: broken Unicode at character {error.start + 1}") from error
    if "\0" in given:
        raise ValueError(f"{what}: a NUL character at {given.index(chr(0)) + 1}")
    return given


def _by_number(given: object, ids: Sequence[str]) -> Groups:
    if not isinstance(given, list) or not all(isinstance(group, list) for group in given):
        raise ValueError("expected: groups of numbers of responses are needed, such as [[2], [1]]")
    numbers = [number for group in given for number in group]
    if any(isinstance(one, bool) or not isinstance(one, int) for one in numbers) or sorted(
        numbers
    ) != list(range(1, len(ids) + 1)):
        raise ValueError(f"expected: each of 1 to {len(ids)} must stand there once, got {numbers}")
    return tuple(tuple(ids[number - 1] for number in group) for group in given if group)
