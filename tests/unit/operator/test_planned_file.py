"""What `plan -f FILE` makes of a file: its resources, or one sentence about what is wrong with it."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tradeflow_operator.errors import RefusedError
from tradeflow_operator.planning import read_documents, resources_among

KINDS = {"EventTopic", "EventSchema"}


def written(folder: Path, text: str) -> Path:
    file = folder / "resources.yaml"
    file.write_text(dedent(text))
    return file


def test_the_resources_of_a_file_and_of_the_lists_in_it_are_found(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        kind: EventTopic
        metadata: {name: orders, namespace: shop}
        ---
        # nothing
        ---
        kind: List
        items:
          - {kind: EventSchema, metadata: {name: orders}}
          - {kind: Deployment, metadata: {name: orders}}
          - and a word
        """,
    )

    found = resources_among(read_documents(file), KINDS, "default")

    places = [(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]) for body in found]
    assert places == [("EventTopic", "shop", "orders"), ("EventSchema", "default", "orders")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: [", "FileUnreadable"),
        ("", "NothingToPlan"),
        ("[a, b]", "NothingToPlan"),
        ("kind: EventTopics\nmetadata: {name: orders}", "NothingToPlan"),
        ("kind: [EventTopic]", "NothingToPlan"),
        ("kind: List", "NothingToPlan"),
        ("kind: List\nitems: 5", "NothingToPlan"),
        ("kind: EventTopic", "NameMissing"),
        ("kind: EventTopic\nmetadata: orders", "NameMissing"),
        ("kind: EventTopic\nmetadata: {name: 5}", "NameMissing"),
    ],
)
def test_a_file_that_cannot_be_planned_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        resources_among(read_documents(written(tmp_path, text)), KINDS, "default")

    assert refused.value.reason == reason


def test_a_file_that_is_not_there_is_told_in_one_line() -> None:
    command = [sys.executable, "-m", "tradeflow_operator", "plan", "-f", "/nowhere/resources.yaml"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 1
    assert ended.stderr.startswith("FileUnreadable: /nowhere/resources.yaml can't be read")
    assert len(ended.stderr.splitlines()) == 1
