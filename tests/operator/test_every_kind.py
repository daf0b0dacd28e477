"""What holds for each kind, whatever it stands for, on a real API server: shown by the examples that people copy."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.support.helm import CHARTS
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorNamespace
from tests.support.waiting import wait_until
from tradeflow_operator.resources import FORCE_ANNOTATION, PAUSED_ANNOTATION

Start = Callable[..., Operator]

FILES = sorted((CHARTS / "tradeflow-operator" / "examples").glob("*.yaml"))

EXAMPLES = {example["kind"]: example for example in (yaml.safe_load(file.read_text()) for file in FILES)}

CRDS = sorted((CHARTS / "tradeflow-operator" / "templates" / "crds").glob("*.yaml"))

NO_SERVERS = frozenset({"KafkaUnreachable", "RegistryUnreachable", "SecretNotFound"})
"""What is told of an example whose servers aren't there."""

OWN_BUSINESS = frozenset({"events", "leases"})
"""What the operator writes of its own: whom it tells, and who leads."""


def test_rule_6_each_kind_is_left_alone_while_it_is_paused_and_looked_at_when_it_is_forced(
    operator_namespace: OperatorNamespace, start_operator: Start
) -> None:
    namespace = operator_namespace.namespace
    names = {kind: example["metadata"]["name"] for kind, example in EXAMPLES.items()}
    assert len(names) == len(FILES) == len(CRDS)
    for file in FILES:
        namespace.kubectl("apply", "--filename", str(file))
        namespace.kubectl("annotate", "--filename", str(file), f"{PAUSED_ANNOTATION}=true", f"{FORCE_ANNOTATION}=1")

    start_operator()
    for kind, name in names.items():
        operator_namespace.wait_for(kind, name, "True", of_type="Paused")
    assert [event for event in namespace.writes() if is_of_operator(event) and not is_harmless(event)] == []
    assert {kind: handled_force(operator_namespace, kind, name) for kind, name in names.items()} == dict.fromkeys(names)

    for file in FILES:
        namespace.kubectl("annotate", "--overwrite", "--filename", str(file), f"{PAUSED_ANNOTATION}=false")
    for kind, name in names.items():
        wait_until(lambda kind=kind, name=name: was_looked_at(operator_namespace, kind, name), f"{kind} waits")  # type: ignore[misc]
    for kind, name in names.items():
        assert namespace.get(kind, name)["metadata"]["annotations"][FORCE_ANNOTATION] == "1", "it is a person's"


@pytest.mark.parametrize(
    ("kind", "change", "complaint"),
    [
        ("EventAccess", {"principal": "a user"}, "should match"),
        ("EventAccess", {"topics": [{"name": "order-events", "operations": ["Peek"]}]}, "Unsupported value"),
        ("EventSchema", {"schema": None}, "exactly one of schema and schemaFrom"),
        ("EventSchema", {"compatibility": "SIDEWAYS"}, "Unsupported value"),
        ("KafkaConnection", {"bootstrapServers": ["kafka"]}, "should match"),
        ("KafkaConnection", {"registryURL": "https://user:password@registry"}, "should match"),
        ("TradeFlow", {"version": None}, "management Operator needs a version"),
        ("TradeFlow", {"management": "Somehow"}, "Unsupported value"),
    ],
)
def test_rule_3_what_can_never_be_right_is_refused_by_the_api_server(
    operator_namespace: OperatorNamespace, kind: str, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        apply_changed(operator_namespace, kind, change)


@pytest.mark.parametrize(
    ("kind", "change", "complaint"),
    [
        ("EventAccess", {"principal": "another"}, "a user can't be renamed"),
        ("EventAccess", {"secretName": "another"}, "the Secret can't be renamed"),
        ("EventSchema", {"subject": "another"}, "a subject can't be renamed"),
        ("EventSchema", {"type": "AVRO"}, "a subject's type can't be changed"),
        ("TradeFlow", {"releaseName": "another"}, "the release can't be renamed"),
    ],
)
def test_rule_3_what_a_resource_stands_for_cannot_be_changed(
    operator_namespace: OperatorNamespace, kind: str, change: dict[str, Any], complaint: str
) -> None:
    apply_changed(operator_namespace, kind, {})

    with pytest.raises(AssertionError, match=complaint):
        apply_changed(operator_namespace, kind, change)


def apply_changed(operator_namespace: OperatorNamespace, kind: str, change: dict[str, Any]) -> None:
    """Apply an example, changed; None takes a field away."""
    example = EXAMPLES[kind]
    spec = {name: value for name, value in {**example["spec"], **change}.items() if value is not None}
    operator_namespace.apply(kind, example["metadata"]["name"], **spec)


def handled_force(operator_namespace: OperatorNamespace, kind: str, name: str) -> str | None:
    handled: str | None = operator_namespace.status(kind, name).get("lastHandledForce")
    return handled


def was_looked_at(operator_namespace: OperatorNamespace, kind: str, name: str) -> bool:
    """Tell whether it is forced no more, or would be if its servers, which no test has, were there."""
    return (
        handled_force(operator_namespace, kind, name) == "1"
        or operator_namespace.condition(kind, name)[1] in NO_SERVERS
    )


def is_of_operator(event: dict[str, Any]) -> bool:
    return bool(event["userAgent"] == "tradeflow-operator")


def is_harmless(event: dict[str, Any]) -> bool:
    reference = event["objectRef"]
    return reference["resource"] in OWN_BUSINESS or reference.get("subresource") == "status"
