"""Virtual labelers: each asks for items and sends rankings through the page's routes, and sends an
answer again, with the same id, until it is acknowledged.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import httpx

from rlhf.data.identity import Json

RETRY_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Submission:
    """An acknowledged answer: when (monotonic seconds), and how long its labeler waited.

    `wait_ms` is from sending the answer to having the item that follows the next one, which comes
    in the same reply: the page shows the next item then, because it was fetched ahead.
    """

    submission_id: str
    at: float
    wait_ms: float


class Crowd:
    """Labelers who hold a token each."""

    def __init__(self, url: str, tokens: Sequence[str]) -> None:
        limits = httpx.Limits(max_connections=len(tokens), max_keepalive_connections=len(tokens))
        self.http = httpx.AsyncClient(base_url=url, limits=limits, timeout=30)
        self.tokens = tokens
        self.fetches_ms: list[float] = []  # of items asked for by themselves

    async def close(self) -> None:
        """Closes the connections."""
        await self.http.aclose()

    async def work(
        self, labelers: int, cadence: tuple[float, float], seconds: float
    ) -> list[Submission]:
        """Lets the first `labelers` work for a time; returns what was acknowledged."""
        until = time.monotonic() + seconds
        done = await asyncio.gather(
            *(self._labeler(token, cadence, until) for token in self.tokens[:labelers])
        )
        return [submission for each in done for submission in each]

    async def save_drafts(self, labelers: int) -> dict[str, Json]:
        """Saves a draft for the open item of some labelers; returns item and draft by token."""
        saved: dict[str, Json] = {}
        for token in self.tokens[-labelers:]:
            item = await self._next(token, None)
            if item is not None:
                draft = {"ranks": {item["responses"][0]["id"]: 1}, "note": str(uuid4())}
                body = {"item_id": item["item_id"], "draft": draft}
                await self._post(token, "draft", body)
                saved[token] = body
        return saved

    async def drafts_kept(self, saved: dict[str, Json]) -> int:
        """How many of the drafts come back with their item."""
        kept = 0
        for token, body in saved.items():
            item = await self._next(token, None)
            kept += item is not None and (item["item_id"], item["draft"]) == (
                body["item_id"],
                body["draft"],
            )
        return kept

    async def _labeler(
        self, token: str, cadence: tuple[float, float], until: float
    ) -> list[Submission]:
        done: list[Submission] = []
        await asyncio.sleep(random.uniform(0, cadence[1]))  # they do not begin at once
        item = await self._next(token, None)
        begun = time.monotonic()
        ahead = None if item is None else await self._next(token, item["item_id"])
        self.fetches_ms.append((time.monotonic() - begun) * 1000)
        while item is not None and time.monotonic() < until:
            await asyncio.sleep(random.uniform(*cadence))
            answer = _ranking(item)
            after = "" if ahead is None else f"&after={ahead['item_id']}"
            begun = time.monotonic()
            reply = await self._post(token, f"submit?ahead=true{after}", answer)
            now = time.monotonic()
            done.append(Submission(answer["submission_id"], now, (now - begun) * 1000))
            item, ahead = (ahead, reply["item"]) if ahead is not None else (reply["item"], None)
        return done

    async def _next(self, token: str, after: int | None) -> Json | None:
        path = "next" if after is None else f"next?after={after}"
        item: Json | None = (await self._post(token, path, {}))["item"]
        return item

    async def _post(self, token: str, path: str, body: Json) -> Json:
        """Sends until it is answered: a server that is down is asked again."""
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            try:
                reply = await self.http.post(f"/api/{path}", json=body, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if reply.status_code >= 500:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if reply.status_code != 200:
                raise RuntimeError(f"{path}: {reply.status_code} {reply.text}")
            said: Json = reply.json()
            return said


def _ranking(item: Json) -> Json:
    ids = [response["id"] for response in item["responses"]]
    ranks = {one: random.randint(1, len(ids)) for one in ids}
    return {
        "submission_id": str(uuid4()),
        "item_id": item["item_id"],
        "answer": {"ranks": ranks},
        "duration_seconds": 1.0,
    }
