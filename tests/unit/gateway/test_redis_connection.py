import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from services.gateway.outbound.redis_connection import failing_as_redis_does


async def test_a_connection_that_closed_while_a_command_was_written_is_redis_away() -> None:
    async def write() -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    with pytest.raises(RedisConnectionError):
        await failing_as_redis_does(write)


async def test_another_error_of_ours_stays_one() -> None:
    async def write() -> None:
        raise RuntimeError("a loop is running already")

    with pytest.raises(RuntimeError, match="running already"):
        await failing_as_redis_does(write)
