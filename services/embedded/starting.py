"""Start a platform, and turn what can stand in its way into a sentence."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from pydantic import ValidationError

from services.embedded.options import Platform, PlatformOptions
from services.embedded.platform import platform
from services.runtime.errors import TradeFlowError


class CannotStartError(Exception):
    """The platform could not start; the message says why and what to do."""


@asynccontextmanager
async def started_platform(options: PlatformOptions) -> AsyncIterator[Platform]:
    """Run a platform during the body.

    Raises:
        CannotStartError: Something that its user can mend: the folder or a port is taken, a setting is wrong.
    """
    async with AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(platform(options))
        except TradeFlowError as error:
            raise CannotStartError(error.message) from error
        except OSError as error:
            raise CannotStartError(
                f"{error}. Choose another --host, other ports (0 = any free one) or another --data folder."
            ) from error
        except ValidationError as error:
            raise CannotStartError(f"a setting in the environment is wrong: {error}") from error
        yield running
