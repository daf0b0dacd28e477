"""Many questions at a time become one request: 5,000 topics are looked at in some dozens of calls."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

GATHER_SECONDS = 0.01
"""How long the first question waits for others."""


class Gatherer(Generic[Answer]):
    """Gathers questions by name; an answer is a value, or an exception of that question alone."""

    def __init__(
        self, ask: Callable[[Sequence[str]], Awaitable[dict[str, Answer | Exception]]], *, questions_max: int
    ) -> None:
        """Ask by this, so many questions in one request."""
        self._ask = ask
        self._questions_max = questions_max
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_gathering = False

    async def answer(self, name: str) -> Answer:
        """Ask one question."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        if not self._is_gathering:
            self._is_gathering = True
            task = asyncio.create_task(self._gather())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _gather(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        questions, self._waiting, self._is_gathering = self._waiting, {}, False
        names = list(questions)
        size = self._questions_max
        chunks = [names[start : start + size] for start in range(0, len(names), size)]
        await asyncio.gather(*(self._answer_chunk(chunk, questions) for chunk in chunks))

    async def _answer_chunk(self, names: Sequence[str], questions: dict[str, list[asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._ask(names)
        except Exception as error:  # noqa: BLE001 - it goes to all who asked
            answers = dict.fromkeys(names, error)
        for name in names:
            answer = answers[name]
            for future in questions[name]:
                if future.done():
                    continue  # who asked was cut off
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
