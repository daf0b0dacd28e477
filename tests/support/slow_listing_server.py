"""An API server of one kind that takes its time between the chunks of a listing; kopf itself watches it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.parts.home import HOST
from tests.support.fake_kubernetes import FakeCluster
from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.clients.kubernetes import AlreadyExistsError, ApiConflictError

CHUNK_SECONDS = 0.5
"""How long the next chunk takes: in that time whoever doesn't wait for it has acted."""

_VERBS = ["get", "list", "watch", "patch"]


class SlowListingServer:
    """Serves a cluster in memory over HTTP; a chunk of a listing holds one resource."""

    def __init__(self, plural: str, kind: str) -> None:
        self.cluster = FakeCluster()
        self._plural = plural
        self._discovery: Mapping[str, Any] = {
            "/version": {},
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": [_group(GROUP, VERSION), _group("apiextensions.k8s.io", "v1")]},
            "/api/v1": _resources("namespaces", "Namespace", namespaced=False),
            "/apis/apiextensions.k8s.io/v1": _resources(
                "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
            ),
            f"/apis/{GROUP}/{VERSION}": _resources(plural, kind, namespaced=True),
        }

    @asynccontextmanager
    async def serving(self, folder: Path) -> AsyncIterator[Path]:
        """Serve; yields a kubeconfig."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            kubeconfig = folder / "kubeconfig.yaml"
            kubeconfig.write_text(yaml.safe_dump(_kubeconfig(runner.addresses[0][1])))
            yield kubeconfig
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path, request.query
        if path in self._discovery:
            return web.json_response(self._discovery[path])
        if query.get("watch") == "true":
            return await _silent_watch(request)
        if path == f"/apis/{GROUP}/{VERSION}/{self._plural}":
            return await self._chunk(int(query.get("continue") or 0))
        body = await request.json() if request.can_read_body else None
        try:
            answer = self.cluster.request(request.method, path, body, query)
        except (AlreadyExistsError, ApiConflictError):
            return web.json_response({"reason": "Conflict"}, status=409)
        return web.json_response(answer) if answer is not None else web.json_response({}, status=404)

    async def _chunk(self, number: int) -> web.Response:
        if number:
            await asyncio.sleep(CHUNK_SECONDS)
        there = [body for path, body in sorted(self.cluster.objects.items()) if f"/{self._plural}/" in path]
        metadata = {"resourceVersion": "1", "continue": str(number + 1) if number + 1 < len(there) else ""}
        return web.json_response({"items": there[number : number + 1], "metadata": metadata})


async def _silent_watch(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.Event().wait()
    return response


def _group(name: str, version: str) -> dict[str, Any]:
    versions = {"version": version, "groupVersion": f"{name}/{version}"}
    return {"name": name, "versions": [versions], "preferredVersion": versions}


def _resources(plural: str, kind: str, *, namespaced: bool) -> dict[str, Sequence[Mapping[str, Any]]]:
    named = {"name": plural, "singularName": kind.lower(), "kind": kind}
    return {"resources": [{**named, "namespaced": namespaced, "verbs": _VERBS}]}


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://{HOST}:{port}"}}],
        "users": [{"name": "test", "user": {}}],
    }
