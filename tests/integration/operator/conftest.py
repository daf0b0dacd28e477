"""What the operator's tests on a real API server share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.operator_process import OperatorProcess, install_definitions, running_operator


@pytest.fixture
def shop(kubernetes: KubernetesNamespace) -> KubernetesNamespace:
    """A namespace that knows our kinds."""
    install_definitions(kubernetes.server)
    return kubernetes


@pytest.fixture
def run_operator(shop: KubernetesNamespace, tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Start the operator for the test's namespace."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running_operator(shop, tmp_path, **settings))
