"""The operator's three servers behind proxies that a test cuts: the API server, a broker and a registry."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.parts.control_plane import ControlPlane
from tests.parts.home import HOST
from tests.parts.server import Server
from tests.support.fault_links import Link, address_of, serving_links

KUBERNETES, KAFKA, REGISTRY = "kubernetes", "kafka", "registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedServers:
    """What the operator is told, and the links by name."""

    kubeconfig: Path
    bootstrap_server: str
    registry_url: str
    links: Mapping[str, Link]


@contextmanager
def linked_servers(
    kubernetes: ControlPlane, private_server: Callable[..., Server], registry_url: str, folder: Path
) -> Iterator[LinkedServers]:
    """Stand before the servers while the body runs; the broker is the test's own, since it has to name its link."""
    nowhere = (HOST, 0)
    with serving_links({KUBERNETES: nowhere, KAFKA: nowhere, REGISTRY: address_of(registry_url)}) as links:
        # Clients go where the broker says that it is, so it names the link.
        broker = private_server("kafka", (f"advertised.listeners=CLIENTS://{HOST}:{links[KAFKA].port}",))
        links[KAFKA].upstream = address_of(broker.start())
        kubeconfig = json.loads(kubernetes.kubeconfig.read_text())
        cluster = kubeconfig["clusters"][0]["cluster"]
        links[KUBERNETES].upstream = address_of(cluster["server"])
        cluster["server"] = links[KUBERNETES].url(cluster["server"])
        file = folder / "linked.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(kubeconfig))
        yield LinkedServers(
            kubeconfig=file,
            bootstrap_server=f"{HOST}:{links[KAFKA].port}",
            registry_url=links[REGISTRY].url(registry_url),
            links=links,
        )
