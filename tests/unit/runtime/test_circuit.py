"""A circuit breaker: who fails again and again is left alone for a while."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from services.runtime.circuit import Circuit, CircuitMetrics, Verdict
from services.runtime.errors import RefusedError, UnavailableError
from tests.support.waiting import eventually

LONG_SECONDS = 3_600.0
SHORT_SECONDS = 0.05


def judge(outcome: object) -> Verdict:
    if isinstance(outcome, asyncio.CancelledError):
        return Verdict.UNKNOWN
    return Verdict.FAILED if isinstance(outcome, UnavailableError) else Verdict.ANSWERED


async def answer() -> str:
    return "hello"


async def fail() -> str:
    raise UnavailableError("Away.", reason="away")


async def refuse() -> str:
    raise RefusedError("No.", reason="insufficient_funds")


async def reason_of(circuit: Circuit, call: Callable[[], Awaitable[str]]) -> str:
    """Say what became of a call: its answer, or the reason of what it raised."""
    try:
        return await circuit.run(call, judge)
    except (UnavailableError, RefusedError) as error:
        return error.reason


async def reasons(circuit: Circuit, *calls: Callable[[], Awaitable[str]]) -> list[str]:
    return [await reason_of(circuit, call) for call in calls]


def shown(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"target": "bank", **labels})


async def test_failures_in_a_row_open_it_and_then_nobody_is_let_through() -> None:
    circuit = Circuit("bank", failures_max=2, open_seconds=LONG_SECONDS)

    assert await reasons(circuit, fail, fail, answer) == ["away", "away", "bank_unavailable"]


async def test_an_answer_between_failures_keeps_it_closed() -> None:
    circuit = Circuit("bank", failures_max=2, open_seconds=LONG_SECONDS)

    assert await reasons(circuit, fail, answer, fail, answer) == ["away", "hello", "away", "hello"]


async def test_refusals_are_answers() -> None:
    circuit = Circuit("bank", failures_max=2, open_seconds=LONG_SECONDS)

    assert await reasons(circuit, *[refuse] * 5, answer) == ["insufficient_funds"] * 5 + ["hello"]


async def test_what_failed_although_it_was_answered_counts() -> None:
    circuit = Circuit("bank", failures_max=2, open_seconds=LONG_SECONDS)

    circuit.note_failure()
    circuit.note_failure()

    assert await reasons(circuit, answer) == ["bank_unavailable"]


async def test_who_is_held_back_is_told_when_to_come_back() -> None:
    circuit = Circuit("bank", failures_max=1, open_seconds=LONG_SECONDS)
    await reason_of(circuit, fail)

    with pytest.raises(UnavailableError) as held_back:
        circuit.check()

    assert LONG_SECONDS - 60 < held_back.value.retry_after_seconds <= LONG_SECONDS


async def test_after_a_while_one_call_tries_and_the_others_wait_for_what_it_finds() -> None:
    circuit = Circuit("bank", failures_max=1, open_seconds=SHORT_SECONDS)
    may_answer = asyncio.Event()

    async def answer_later() -> str:
        await may_answer.wait()
        return "hello"

    await reason_of(circuit, fail)
    await eventually(lambda: circuit.state == "half-opened")
    probe = asyncio.create_task(circuit.run(answer_later, judge))
    await asyncio.sleep(0)

    assert await reason_of(circuit, answer) == "bank_unavailable"
    may_answer.set()
    assert await probe == "hello"
    assert circuit.state == "closed"
    assert await reasons(circuit, answer, answer) == ["hello", "hello"]


async def test_a_probe_that_fails_opens_it_again() -> None:
    circuit = Circuit("bank", failures_max=3, open_seconds=0.2)
    await reasons(circuit, fail, fail, fail)
    await eventually(lambda: circuit.state == "half-opened")

    assert await reasons(circuit, fail, answer) == ["away", "bank_unavailable"]


async def test_a_probe_whose_caller_left_says_nothing_and_makes_room_for_the_next() -> None:
    circuit = Circuit("bank", failures_max=1, open_seconds=SHORT_SECONDS)
    await reason_of(circuit, fail)
    await eventually(lambda: circuit.state == "half-opened")
    probe = asyncio.create_task(circuit.run(asyncio.Event().wait, judge))
    await asyncio.sleep(0)

    probe.cancel()
    await asyncio.wait({probe})

    assert circuit.state == "half-opened"
    assert await reason_of(circuit, answer) == "hello"


async def test_what_began_before_the_last_change_says_nothing_of_now() -> None:
    circuit = Circuit("bank", failures_max=1, open_seconds=SHORT_SECONDS)
    may_fail = asyncio.Event()

    async def fail_later() -> str:
        await may_fail.wait()
        return await fail()

    late = asyncio.create_task(reason_of(circuit, fail_later))
    await asyncio.sleep(0)
    await reason_of(circuit, fail)
    await eventually(lambda: circuit.state == "half-opened")
    await reason_of(circuit, answer)
    may_fail.set()

    assert await late == "away"
    assert circuit.state == "closed"


async def test_its_state_its_changes_and_what_it_refused_are_shown_and_changes_logged() -> None:
    registry = CollectorRegistry()
    circuit = Circuit("bank", failures_max=1, open_seconds=SHORT_SECONDS, metrics=CircuitMetrics(registry))

    with capture_logs() as logs:
        states = [shown(registry, "tradeflow_circuit_state")]
        await reason_of(circuit, fail)
        states.append(shown(registry, "tradeflow_circuit_state"))
        await reason_of(circuit, answer)
        await eventually(lambda: shown(registry, "tradeflow_circuit_state") == 1)
        await reason_of(circuit, answer)
        states.append(shown(registry, "tradeflow_circuit_state"))

    assert states == [0, 2, 0]
    counted = [
        shown(registry, "tradeflow_circuit_transitions_total", state=state)
        for state in ("opened", "half-opened", "closed")
    ]
    assert counted == [1, 1, 1]
    assert shown(registry, "tradeflow_circuit_refused_total") == 1
    assert [(log["event"], log["log_level"], log["state"]) for log in logs] == [
        ("circuit_changed", "warning", "opened"),
        ("circuit_changed", "info", "half-opened"),
        ("circuit_changed", "info", "closed"),
    ]
