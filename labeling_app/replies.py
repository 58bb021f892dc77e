"""Replies of the routes of work: JSON in ASCII, and refusals in one sentence."""

import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError

from rlhf.feedback.answering import AnsweredBeforeError


class AsciiJson(JSONResponse):
    """JSON in ASCII: texts of models may hold half a surrogate pair, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class OneSentence(APIRoute):
    """A route that refuses a body or a parameter that does not fit in one sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_refuse(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                at = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
                return AsciiJson({"detail": f"{at}: {first['msg']}."}, 422)

        return handle_or_refuse


def store_failed(_request: Request, error: Exception) -> JSONResponse:
    """A store that is locked, full or gone: said in one sentence, without the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return JSONResponse({"detail": f"the store cannot be used ({cause})."}, 503)


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what the store refuses into what the page is told."""
    try:
        yield
    except AnsweredBeforeError as error:
        raise HTTPException(409, f"{error}.") from error
    except ValueError as error:
        raise HTTPException(422, f"{error}.") from error
