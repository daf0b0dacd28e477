"""What is remembered outlives a crash; what a crash cut short is forgotten."""

from pathlib import Path
from uuid import uuid4

from services.embedded.replay.memory import Memory, load_secret

KEY = "replay:run:order:1"


def test_orders_and_customers_are_remembered(tmp_path: Path) -> None:
    order_id = uuid4()
    with Memory(tmp_path / "new" / "run.jsonl") as memory:
        memory.order_placed(KEY, order_id)
        memory.customer_registered("customer-1@replay.example")

    with Memory(tmp_path / "new" / "run.jsonl") as again:
        assert again.orders == {KEY: order_id}
        assert again.customers == {"customer-1@replay.example"}


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path, first, second = tmp_path / "run.jsonl", uuid4(), uuid4()
    with Memory(path) as memory:
        memory.order_placed("first", first)
        memory.order_placed("cut", uuid4())
    path.write_bytes(path.read_bytes()[:-10])

    with Memory(path) as memory:
        memory.order_placed("second", second)

    with Memory(path) as again:
        assert again.orders == {"first": first, "second": second}


def test_garbage_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_bytes(b'\xff\xfe{}\n{"type":"order"}\n[]')

    with Memory(tmp_path / "run.jsonl") as memory:
        assert (memory.orders, memory.customers) == ({}, set())


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "replay" / "secret"

    secret = load_secret(path)

    assert load_secret(path) == secret
    assert len(secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret"]
    assert load_secret(tmp_path / "other") != secret
