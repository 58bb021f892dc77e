"""Asking an OpenAI-compatible endpoint one question: time-outs, retries with growing waits, no
surprises.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rlhf.data.identity import Json

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
LONGEST_WAIT_SECONDS = 60.0
SHOWN = 200


class UnusableReplyError(Exception):
    """No usable reply after all tries; the message names the reason in a few words."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask (`url` is what stands before `/chat/completions`), which model, and how patient
    to be. The key is read from the environment variable `key_variable`, and stands nowhere else.
    """

    url: str
    model: str
    key_variable: str | None = None
    temperature: float = 0.0
    max_tokens: int = 1024
    timeout_seconds: float = 60.0
    retries: int = 4
    first_wait_seconds: float = 1.0

    def complete(self, text: str, sleep: Callable[[float], None] = time.sleep) -> str:
        """The reply to one message.

        Raises UnusableReplyError where none came, and ValueError where none will: the key is
        missing or refused, there is no such model or address.
        """
        request = self._request(text)
        reason = ""
        for tried in range(self.retries + 1):
            if tried:
                sleep(min(LONGEST_WAIT_SECONDS, self.first_wait_seconds * 2 ** (tried - 1)))
            try:
                with urlopen(request, timeout=self.timeout_seconds) as reply:
                    return _content(reply.read())
            except HTTPError as error:
                if error.code not in PASSING:
                    raise ValueError(self._refused(error)) from error
                reason = f"HTTP {error.code}"
                if tried < self.retries:
                    sleep(_asked_to_wait(error.headers.get("Retry-After")))
            except TimeoutError:
                reason = f"no reply within {self.timeout_seconds:g} s"
            except URLError as error:
                timed_out = isinstance(error.reason, TimeoutError)
                reason = (
                    f"no reply within {self.timeout_seconds:g} s"
                    if timed_out
                    else f"no connection ({error.reason})"
                )
            except (HTTPException, ConnectionError) as error:
                reason = f"the connection broke ({type(error).__name__})"
        raise UnusableReplyError(reason)

    def _request(self, text: str) -> Request:
        asked: Json = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        headers = {"Content-Type": "application/json"}
        if self.key_variable is not None:
            headers["Authorization"] = f"Bearer {self.key()}"
        place = f"{self.url.rstrip('/')}/chat/completions"
        return Request(place, json.dumps(asked).encode(), headers, method="POST")

    def key(self) -> str:
        """The key; ValueError where the variable is not set."""
        key = os.environ.get(self.key_variable or "", "")
        if not key:
            raise ValueError(
                f"the judge at {self.url} wants a key: set the environment variable "
                f"{self.key_variable}"
            )
        return key

    def _refused(self, error: HTTPError) -> str:
        said = " ".join(error.read().decode(errors="replace").split())[:SHOWN]
        if self.key_variable is not None:
            said = said.replace(self.key(), "[key]")
        return (
            f"the judge at {self.url} refuses (HTTP {error.code}: {said}): check "
            "evaluate.endpoint's url and model, and the key"
        )


def _asked_to_wait(header: str | None) -> float:
    """The seconds of a Retry-After header, within reason; 0 where it gives none (or a date)."""
    try:
        return min(LONGEST_WAIT_SECONDS, max(0.0, float(header or 0)))
    except ValueError:
        return 0.0


def _content(body: bytes) -> str:
    try:
        found = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UnusableReplyError("a reply in no known form") from error
    return found if isinstance(found, str) else ""
