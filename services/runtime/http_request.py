"""How a request's body is read: strictly.

Litestar converts bodies leniently ("1050" and 1050.0 pass for 1050), which money must not be. Here JSON is decoded by
the type that the handler declares, in one pass and by the letter; struct types say `forbid_unknown_fields=True`. A body
of another kind than the handler reads is refused unread.
"""

from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from litestar import Request
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


class DeclaredBody(msgspec.Struct, frozen=True):
    """What a handler says of the body it reads."""

    media_type: str
    decoder: msgspec.json.Decoder[Any]


class StrictRequest(Request[Principal | None, str | None, State]):
    """A request whose body is of the kind that its handler reads, and JSON decoded by the letter."""

    async def json(self) -> Any:
        """Decode the body as the type of the handler's `data` parameter.

        Raises:
            InvalidArgumentError: It isn't JSON (malformed_json), or not of that type (validation_failed).
        """
        declared = declared_body(self.route_handler)
        return decode_strictly(await self.body(), _ANYTHING if declared is None else declared.decoder)

    async def body(self) -> bytes:
        """Read the body.

        Raises:
            UnsupportedMediaTypeError: It is of another kind than the handler reads.
            InvalidArgumentError: The client left in the middle of it; nobody will read the answer.
        """
        declared = declared_body(self.route_handler)
        if declared is not None and self._has_body():
            self._require_media_type(declared.media_type)
        try:
            return await super().body()
        except InternalServerException as error:
            raise InvalidArgumentError("The request ended in the middle.", reason="request_incomplete") from error

    def _has_body(self) -> bool:
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    def _require_media_type(self, wanted: str) -> None:
        sent = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = wanted == _JSON and sent.startswith("application/") and sent.endswith("+json")
        if sent != wanted and not is_json:
            raise UnsupportedMediaTypeError(f"The body must be {wanted}.", details={"content_type": wanted})


def declared_body(handler: BaseRouteHandler) -> DeclaredBody | None:
    """Tell what a handler reads; None where it reads no body."""
    try:
        return _declared_bodies[handler]
    except KeyError:
        body = _declared_bodies[handler] = _declared_body(handler)
        return body


def decode_strictly(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Decode JSON.

    Raises:
        InvalidArgumentError: It isn't JSON (malformed_json), or not of that type (validation_failed, with the field).
    """
    try:
        return decoder.decode(body)
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


_JSON = RequestEncodingType.JSON.value

_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

_declared_bodies: WeakKeyDictionary[BaseRouteHandler, DeclaredBody | None] = WeakKeyDictionary()


def _declared_body(handler: BaseRouteHandler) -> DeclaredBody | None:
    parameter = handler.parsed_fn_signature.parameters.get(BODY_PARAMETER)
    if parameter is None:
        return None
    kwarg = parameter.kwarg_definition
    media_type = kwarg.media_type if isinstance(kwarg, BodyKwarg) else RequestEncodingType.JSON
    text = media_type.value if isinstance(media_type, RequestEncodingType) else str(media_type)
    return DeclaredBody(media_type=text, decoder=msgspec.json.Decoder(parameter.raw))
