"""argon2id in threads: a hash takes tens of milliseconds of a core, so few run at once, none on the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.runtime.errors import UnavailableError

MEMORY_KIBIBYTES = 19_456
"""19 MiB a hash. Source: OWASP Password Storage Cheat Sheet, argon2id with t=2, p=1."""

PASSES = 2
"""See MEMORY_KIBIBYTES."""

LANES = 1
"""See MEMORY_KIBIBYTES."""

WAITING_MAX = 64
"""Callers that may wait for a thread; more would wait for seconds, so they are told to come back."""

Result = TypeVar("Result")


class Argon2Passwords:
    """Fits `Passwords`."""

    def __init__(self, *, memory_kibibytes: int = MEMORY_KIBIBYTES, passes: int = PASSES, threads: int = 2) -> None:
        """Prepare a bounded pool; the parameters can only be raised by settings, tests lower them."""
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kibibytes, parallelism=LANES)
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._callers = 0
        self._callers_max = threads + WAITING_MAX
        # Compared with when nobody has the address, so that the answer takes as long.
        self._hash_of_nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Hash a new password.

        Raises:
            UnavailableError: Too many are being hashed.
        """
        return await self._in_thread(partial(self._hasher.hash, password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Check a password; None does the same work and says no.

        Raises:
            UnavailableError: Too many are being hashed.
        """
        found = await self._in_thread(partial(self._verify, password_hash or self._hash_of_nobody, password))
        return found and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """End the threads; hashes under way end first."""
        self._threads.shutdown()

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._callers >= self._callers_max:
            raise UnavailableError("Too many people sign in at this moment.", reason="too_many_sign_ins")
        self._callers += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._callers -= 1
