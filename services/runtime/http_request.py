"""How a request's body is read: strictly.

Litestar converts bodies leniently ("1050" and 1050.0 pass for 1050), which money must not be. Here JSON is decoded by
the type that the handler declares, in one pass and by the letter; struct types say `forbid_unknown_fields=True`.
"""

from functools import lru_cache
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler
from litestar.params import BodyKwarg

from services.runtime.errors import InvalidArgumentError
from services.runtime.http_errors import UnsupportedMediaTypeError
from services.runtime.jwt import Principal

BODY_PARAMETER = "data"
"""The name of the handler's parameter that Litestar fills with the body."""


class StrictRequest(Request[Principal | None, str | None, State]):
    """A request whose JSON body is decoded by the letter."""

    async def json(self) -> Any:
        """Decode the body as the type of the handler's `data` parameter.

        Raises:
            InvalidArgumentError: It isn't JSON (malformed_json), or not of that type (validation_failed).
        """
        body = await self.body()
        parameter = self.route_handler.parsed_fn_signature.parameters.get(BODY_PARAMETER)
        return decode_strictly(body, Any if parameter is None else parameter.raw)

    async def body(self) -> bytes:
        """Read the body.

        Raises:
            InvalidArgumentError: The client left in the middle of it; nobody will read the answer.
        """
        try:
            return await super().body()
        except InternalServerException as error:
            raise InvalidArgumentError("The request ended in the middle.", reason="request_incomplete") from error


def decode_strictly(body: bytes, type_: Any) -> Any:
    """Decode JSON as a type.

    Raises:
        InvalidArgumentError: It isn't JSON (malformed_json), or not of that type (validation_failed, with the field).
    """
    try:
        return _decoder(type_).decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.removesuffix("`").lstrip(".")
        raise InvalidArgumentError(
            f"{field}: {message}" if field else message,
            reason="validation_failed",
            details={"field": field} if field else {},
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgumentError("The body isn't valid JSON.", reason="malformed_json") from error


@lru_cache(maxsize=512)
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


# A plain function would be run in a thread, for each request.
async def require_declared_content_type(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard that refuses a body of another kind than the handler reads.

    Raises:
        UnsupportedMediaTypeError: As its name says.
    """
    parameter = handler.parsed_fn_signature.parameters.get(BODY_PARAMETER)
    if parameter is None or not _has_body(connection):
        return
    kwarg = parameter.kwarg_definition
    declared = kwarg.media_type if isinstance(kwarg, BodyKwarg) else RequestEncodingType.JSON
    wanted = declared.value if isinstance(declared, RequestEncodingType) else declared
    sent = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = wanted == RequestEncodingType.JSON.value and sent.startswith("application/") and sent.endswith("+json")
    if sent != wanted and not is_json:
        raise UnsupportedMediaTypeError(f"The body must be {wanted}.", details={"content_type": wanted})


def _has_body(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    headers = connection.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
