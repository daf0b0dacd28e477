"""Measures the operator: `make bench-operator`, or `python -m tests.bench.operator --resources 2000`.

An API server without nodes and a Kafka of one broker run on the same machine, so the figures are lower bounds. Each
topic has one partition. What is measured:

- the life of 100 topics: created, changed and deleted, until the last one is done;
- one change among many resources: from the answer to the patch until the status says so, 200 times;
- the memory of the operator's process, its writes for each change, and its writes after a restart without a change.
"""

import argparse
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil
from kubernetes import client, config

from services.runtime.broker.kafka_url import cluster_of
from tests.parts.control_plane import ControlPlane
from tests.parts.opening import open_server
from tests.support.operator_process import Operator, install_definitions, operators
from tests.support.waiting import wait_until

GROUP, VERSION, PLURAL, NAMESPACE = "tradeflow.dev", "v1alpha1", "eventtopics", "bench"

SECONDS_MAX = 900.0
"""For anything of the large runs."""

PERSONS = 16
"""Threads that create resources."""


class Bench:
    """The cluster as a person's client sees it."""

    def __init__(self, server: ControlPlane, bootstrap_servers: Sequence[str]) -> None:
        """Connect, and make the namespace and the connection."""
        config.load_kube_config(str(server.kubeconfig))
        self._api = client.CustomObjectsApi()
        server.kubectl("create", "namespace", NAMESPACE)
        self._create("kafkaconnections", "KafkaConnection", "kafka", {"bootstrapServers": list(bootstrap_servers)})

    def create_topics(self, names: Sequence[str], **spec: Any) -> None:
        """Create many at once."""
        base = {"connectionRef": {"name": "kafka"}, "partitions": 1, **spec}
        with ThreadPoolExecutor(PERSONS) as pool:
            list(pool.map(lambda name: self._create(PLURAL, "EventTopic", name, _with_name(base, name)), names))

    def patch(self, name: str, retention_ms: int) -> int:
        """Change one; return its new generation."""
        body = {"spec": {"config": {"retention.ms": str(retention_ms)}}}
        changed: Any = self._api.patch_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, name, body)
        return int(changed["metadata"]["generation"])

    def delete(self, names: Sequence[str]) -> None:
        """Delete many at once."""
        with ThreadPoolExecutor(PERSONS) as pool:
            list(
                pool.map(
                    lambda name: self._api.delete_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, name),
                    names,
                )
            )

    def read(self, name: str) -> dict[str, Any]:
        """Read one."""
        found = self._api.get_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, name)
        return cast("dict[str, Any]", found)

    def count_done(self) -> tuple[int, int]:
        """Count the topics, and those that are ready in their newest generation."""
        listing: Any = self._api.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL)
        items = listing["items"]
        return len(items), sum(map(is_done, items))

    def wait_until_all_done(self, count: int) -> None:
        """Wait until so many topics are there, and ready."""
        wait_until(lambda: self.count_done() == (count, count), "not all are done", seconds_max=SECONDS_MAX)

    def _create(self, plural: str, kind: str, name: str, spec: Any) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self._api.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, plural, body)


def is_done(body: dict[str, Any]) -> bool:
    """Tell whether the newest generation is ready."""
    ready = [each for each in body.get("status", {}).get("conditions", ()) if each["type"] == "Ready"]
    said = [(each["status"], each.get("observedGeneration")) for each in ready]
    return said == [("True", body["metadata"]["generation"])]


def measure_lives(bench: Bench, operator: Operator, topics: int) -> None:
    """Measure the creation, change and deletion of topics that are all there at once."""
    names = [f"life-{number:05}" for number in range(topics)]
    began, writes = time.monotonic(), _writes(operator)
    bench.create_topics(names, deletionPolicy="Delete")
    bench.wait_until_all_done(topics)
    created = time.monotonic()
    with ThreadPoolExecutor(PERSONS) as pool:
        list(pool.map(lambda name: bench.patch(name, 100_000), names))
    bench.wait_until_all_done(topics)
    changed = time.monotonic()
    bench.delete(names)
    wait_until(lambda: bench.count_done() == (0, 0), "not all are gone", seconds_max=SECONDS_MAX)
    ended = time.monotonic()
    each = (_writes(operator) - writes) / topics / 3
    _say(
        f"life of {topics} topics: {ended - began:.1f} s (created {created - began:.1f}, changed"
        f" {changed - created:.1f}, deleted {ended - changed:.1f}); {each:.2f} API writes an event"
    )


def measure_many(bench: Bench, operator: Operator, resources: int, changes: int) -> None:
    """Measure single changes among many resources."""
    names = [f"many-{number:05}" for number in range(resources)]
    began, writes = time.monotonic(), _writes(operator)
    bench.create_topics(names)
    bench.wait_until_all_done(resources)
    each = (_writes(operator) - writes) / resources
    _say(f"{resources} topics: ready after {time.monotonic() - began:.0f} s, {each:.2f} API writes each")
    writes, latencies = _writes(operator), list[float]()
    for number, name in enumerate(itertools.islice(itertools.cycle(names), changes)):
        bench.patch(name, 200_000 + number)
        patched = time.monotonic()
        while not is_done(bench.read(name)):
            time.sleep(0.005)
        latencies.append(time.monotonic() - patched)
    latencies.sort()
    _say(
        f"one change among {resources}: p50 {_quantile(latencies, 0.5):.3f} s, p99 {_quantile(latencies, 0.99):.3f} s,"
        f" {(_writes(operator) - writes) / changes:.2f} API writes a change"
    )
    _say(f"memory with {resources}: {psutil.Process(operator.pid).memory_info().rss / 2**20:.0f} MiB")


def measure_restart(operator: Operator, resources: int) -> None:
    """Measure what a restart writes when nothing has changed."""

    def all_seen() -> bool:
        return operator.metric("tradeflow_operator_reconciles_total", kind="EventTopic") >= resources

    began = time.monotonic()
    wait_until(all_seen, "not all are looked at", seconds_max=SECONDS_MAX)
    _say(
        f"restart with {resources}: all looked at after {time.monotonic() - began:.1f} s, {_writes(operator):.0f} API"
        f" writes, {psutil.Process(operator.pid).memory_info().rss / 2**20:.0f} MiB"
    )


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.operator", description=__doc__)
    parser.add_argument("--topics", type=int, default=100, help="whose life is measured")
    parser.add_argument("--resources", type=int, nargs="*", default=[2000, 5000], help="how many are there at once")
    parser.add_argument("--changes", type=int, default=200, help="single changes among them")
    options = parser.parse_args()
    for resources in options.resources:
        with _servers() as (server, servers, folder):
            bench = Bench(server, servers)
            settings = {"namespaces": f'["{NAMESPACE}"]', "lease_namespace": NAMESPACE, "log_level": "WARNING"}
            with operators(server.kubeconfig, folder, forked=False, **settings) as start:
                operator = start(log_level="INFO")
                operator.wait_until_leading()
                if resources == options.resources[0]:
                    measure_lives(bench, operator, options.topics)
                measure_many(bench, operator, resources, options.changes)
                operator.stop()
                measure_restart(start("again", log_level="INFO"), resources)


@contextmanager
def _servers() -> Iterator[tuple[ControlPlane, Sequence[str], Path]]:
    with tempfile.TemporaryDirectory() as folder:
        server = cast("ControlPlane", open_server("kubernetes", Path(folder) / "kubernetes"))
        kafka = open_server("kafka", Path(folder) / "kafka")
        try:
            server.start()
            kafka.start()
            install_definitions(server)
            yield server, str(cluster_of(kafka.url).config["bootstrap.servers"]).split(","), Path(folder)
        finally:
            server.wipe()
            kafka.wipe()


def _with_name(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return {**spec, "allowDataLoss": name} if spec.get("deletionPolicy") == "Delete" else spec


def _writes(operator: Operator) -> float:
    """Count the writes to the API server that aren't the lease's: it is made once, and replaced by PUT."""
    return operator.metric("tradeflow_operator_writes_total", target="kubernetes", verb="patch")


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
