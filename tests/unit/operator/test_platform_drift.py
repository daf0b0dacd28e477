"""The ports that somebody gave a Service by hand never keep helm from writing its own."""

from typing import Any

import pytest

from tradeflow_operator.reconcile.platform_drift import ports_beside_helms

HTTP, GRPC = {"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "grpc", "port": 9090, "protocol": "TCP"}
MOVED = {"name": "grpc", "port": 1, "protocol": "TCP"}
BY_ANOTHER_PROTOCOL = {"name": "http", "port": 8080, "protocol": "UDP"}


def a_service(*ports: dict[str, Any], helms: tuple[int, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {f'k:{{"port":{port},"protocol":"TCP"}}': {".": {}} for port in helms}
    owned = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:ports": {".": {}, **fields}}}}
    return {"metadata": {"managedFields": [owned]}, "spec": {"ports": list(ports)}}


@pytest.mark.parametrize(
    ("ports", "helms", "left"),
    [
        ((HTTP, GRPC), (8080, 9090), None),
        ((HTTP, MOVED), (8080,), [HTTP]),
        ((HTTP, GRPC, BY_ANOTHER_PROTOCOL), (8080, 9090), [HTTP, GRPC]),
        ((MOVED,), (), [{**MOVED, "name": "set-by-hand-1"}]),
    ],
    ids=["all are helm's", "one was moved", "one was added", "the only one was moved"],
)
def test_what_is_not_helms_goes_or_has_another_name(
    ports: tuple[dict[str, Any], ...], helms: tuple[int, ...], left: list[dict[str, Any]] | None
) -> None:
    assert ports_beside_helms(a_service(*ports, helms=helms)) == left
