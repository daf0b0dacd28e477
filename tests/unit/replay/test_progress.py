"""Progress is a bar on a terminal and a few lines elsewhere."""

import io

from rich.console import Console

from services.embedded.replay.progress import LineMeter, showing_progress


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    lines: list[str] = []
    now = 0.0
    meter = LineMeter(lines.append, monotonic=lambda: now)

    meter.begin("orders", 100)
    for step in range(100):
        now = step / 10
        meter.advance()

    assert lines == ["replay: orders: 0 of 100", "replay: orders: 51 of 100", "replay: orders: 100 of 100"]


def test_a_phase_of_nothing_says_so() -> None:
    lines: list[str] = []

    LineMeter(lines.append).begin("products", 0)

    assert lines == ["replay: products: 0 of 0"]


def test_a_terminal_gets_a_bar_and_a_log_gets_lines() -> None:
    terminal, log = io.StringIO(), io.StringIO()

    for stream, is_terminal in ((terminal, True), (log, False)):
        with showing_progress(Console(file=stream, force_terminal=is_terminal, width=100)) as meter:
            meter.begin("orders", 2)
            meter.advance(2)

    assert "2/2" in terminal.getvalue()
    assert log.getvalue() == "replay: orders: 0 of 2\nreplay: orders: 2 of 2\n"
