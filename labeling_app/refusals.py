"""What is said when a request cannot be used: one sentence, never a trace, nothing echoed."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError

from labeling_app.replies import store_failed
from rlhf.feedback.database import StoreUnavailableError


def add_refusals(app: FastAPI) -> None:
    """Installs the handlers of what may go wrong in any route."""
    app.add_exception_handler(RequestValidationError, _not_as_asked)
    for kind in (UnicodeError, OverflowError, RecursionError, DataError):
        app.add_exception_handler(kind, _cannot_be_saved)
    for fault in (DBAPIError, StoreUnavailableError):
        app.add_exception_handler(fault, store_failed)
    app.add_exception_handler(Exception, _unexpected)


def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    """A fault of ours: the server's log holds the details, the answer holds none."""
    return JSONResponse({"detail": "this was not expected; the server's log says more."}, 500)


def _not_as_asked(_request: Request, error: Exception) -> JSONResponse:
    """Names the first field that does not fit. Names are cut and made printable: a sender may have
    made them up.
    """
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])[:100]
    name = where.encode("ascii", "backslashreplace").decode()
    return JSONResponse({"detail": f"{name}: {first['msg']}."}, 422)


def _cannot_be_saved(_request: Request, _error: Exception) -> JSONResponse:
    """Half a surrogate pair, NUL on PostgreSQL, a number of 30 digits, a thousand brackets."""
    said = "a value in the request cannot be saved: broken characters, or a number out of range."
    return JSONResponse({"detail": said}, 422)
