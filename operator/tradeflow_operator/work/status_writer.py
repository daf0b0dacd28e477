"""Writes to the resource itself: its status if it changed, its finalizer, and Events of transitions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.clients.kubernetes import (
    FIELD_MANAGER,
    ApiConflictError,
    KubernetesClient,
    object_path,
    resource_path,
)
from tradeflow_operator.conditions import transitions
from tradeflow_operator.errors import OperatorError
from tradeflow_operator.kinds import Kind
from tradeflow_operator.log import without_secrets, without_secrets_within
from tradeflow_operator.reconcile.status import patch_of
from tradeflow_operator.resources import FINALIZER, Resource, text_of

logger = structlog.get_logger(__name__)

_BAD = frozenset({("Ready", "False"), ("Stalled", "True"), ("Drifted", "True")})
"""What becomes a warning."""

_CONFLICTS_MAX = 3
"""So often in a row a resource may be changed by others between a look and a write of its status."""

_NO_NAMESPACE = "default"
"""Where Kubernetes keeps the Events of what is in no namespace."""


class StatusWriter:
    """Compares before it writes: what is there already isn't written again."""

    def __init__(self, kubernetes: KubernetesClient) -> None:
        """Write by this client."""
        self._kubernetes = kubernetes

    async def write_status(
        self, kind: Kind[Any, Any], resource: Resource[Any], status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Make the status so; None when it was so, or the resource is gone, else the resource as it is now."""
        status = without_secrets_within(status)
        patch = patch_of(resource.status, status)
        if not patch:
            return None
        written = await self.patch_status(kind, resource, patch)
        if written is not None:
            before = resource.status.get("conditions") or ()
            for condition in transitions(before, status["conditions"]):
                await self.post_event(
                    kind,
                    resource,
                    warning=(condition["type"], condition["status"]) in _BAD,
                    reason=_event_reason(condition),
                    message=condition["message"] or f"{condition['type']} is {condition['status']}",
                )
        return written

    async def patch_status(
        self, kind: Kind[Any, Any], resource: Resource[Any], patch: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Change fields of the status; None when the resource is gone, else the resource as it is now.

        A namesake that was made meanwhile must not be told of another's life. The API server compares no uid where a
        status is written, but it does compare the version; so one that was changed is read again, and told if it is it.
        """
        path = resource_path(kind.plural, resource.namespace, resource.name, subresource="status")
        version = resource.version
        for _ in range(_CONFLICTS_MAX):
            try:
                return await self._kubernetes.patch(path, {"metadata": {"resourceVersion": version}, "status": patch})
            except ApiConflictError:
                there = await self._kubernetes.read(resource_path(kind.plural, resource.namespace, resource.name))
                if there is None or there["metadata"]["uid"] != resource.uid:
                    return None
                version = there["metadata"]["resourceVersion"]
        raise ApiConflictError(f"{resource.key} is changed all the time.")

    async def set_finalizer(
        self, kind: Kind[Any, Any], resource: Resource[Any], body: Mapping[str, Any], *, wanted: bool
    ) -> Mapping[str, Any] | None:
        """Add or take away our finalizer; None when the resource is gone, else the resource as it is now."""
        finalizers = [name for name in resource.finalizers if name != FINALIZER] + [FINALIZER] * wanted
        patch = {
            "metadata": {
                "uid": resource.uid,
                # A list is replaced as a whole: only if nobody changed it since.
                "resourceVersion": body["metadata"]["resourceVersion"],
                "finalizers": finalizers or None,
            }
        }
        return await self._kubernetes.patch(resource_path(kind.plural, resource.namespace, resource.name), patch)

    async def post_event(
        self, kind: Kind[Any, Any], resource: Resource[Any], *, warning: bool, reason: str, message: str
    ) -> None:
        """Tell people by an Event; one that can't be written is only logged, since the status says the same."""
        about = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind.name,
            "namespace": resource.namespace,
            "name": resource.name,
            "uid": resource.uid,
        }
        await self._post(resource, _event(about, resource.namespace, warning=warning, reason=reason, message=message))

    async def post_farewell(self, kind: Kind[Any, Any], resource: Resource[Any], *, reason: str, message: str) -> None:
        """Tell people of what is left undone for a resource that goes.

        A namespace that goes takes no Event any more: then it is told of the namespace, among the Events of what has
        none; and in the log, since an operator that serves some namespaces may not write there.
        """
        if not await self._kubernetes.is_terminating(resource.namespace):
            await self.post_event(kind, resource, warning=True, reason=reason, message=message)
            return
        logger.warning("let_go", resource=str(resource.key), event_reason=reason, problem=message)
        about = {"apiVersion": "v1", "kind": "Namespace", "name": resource.namespace}
        message = f"{resource.key}: {message}"
        await self._post(resource, _event(about, _NO_NAMESPACE, warning=True, reason=reason, message=message))

    async def _post(self, resource: Resource[Any], event: Mapping[str, Any]) -> None:
        try:
            await self._kubernetes.create(object_path("api/v1", "events", event["metadata"]["namespace"]), event)
        except OperatorError as error:
            logger.warning(
                "event_not_posted", resource=str(resource.key), event_reason=event["reason"], problem=error.message
            )


def _event(about: Mapping[str, Any], namespace: str, *, warning: bool, reason: str, message: str) -> dict[str, Any]:
    now = text_of(datetime.now(UTC))
    return {
        "metadata": {"generateName": f"{about['name'][:200]}.", "namespace": namespace},
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": without_secrets(message),
        "involvedObject": dict(about),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _event_reason(condition: Mapping[str, Any]) -> str:
    """Name an Event: the reason, or for what names no reason of its own, the condition."""
    if condition["type"] == "Ready":
        return str(condition["reason"])
    return f"{condition['type']}" if condition["status"] == "True" else f"No{condition['type']}"
