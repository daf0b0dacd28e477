"""kopf's part: it watches and gives us each event; deciding, retrying and writing are ours."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.kinds import Kinds
from tradeflow_operator.work.backoff import backoff_seconds
from tradeflow_operator.work.intake import Intake

INACTIVE_SECONDS_MAX = 70.0
"""After so long without an event or a bookmark, kopf opens the watch anew: bookmarks come each minute."""

REQUEST_SECONDS_MAX = 30.0
"""How long a listing may take."""

RECONNECT_LONGEST_SECONDS = 10.0
"""The longest wait between attempts to reach the API server."""

CHUNK = 500
"""Resources in one answer of a listing: what comes at once has to fit into memory."""

SIGNED_IN = timedelta(minutes=10)
"""How long kopf keeps a token: those of service accounts live an hour, and are replaced after 48 minutes."""


def watching(kinds: Kinds, intake: Intake, configuration: Configuration) -> kopf.OperatorRegistry:
    """Register what kopf is to watch, and how it signs in."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def sign_in(**_: Any) -> kopf.ConnectionInfo:
        return await connection_of(configuration)

    for kind in kinds:

        @kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=f"note-{kind.plural}")
        async def note(event: Mapping[str, Any], name_of_kind: str = kind.name, **_: Any) -> None:
            intake.note(name_of_kind, event["type"], event["object"])

    return registry


def watch_settings(namespaces: tuple[str, ...]) -> kopf.OperatorSettings:
    """Leave to kopf only the watching: no Events, no peering, no annotations of its own."""
    settings = kopf.OperatorSettings()
    # kopf stops to watch a namespace that goes once it seems empty, which it may before our finalizers are gone. Named
    # ones are watched whether they are there or not.
    settings.scanning.disabled = bool(namespaces)
    settings.posting.enabled = False
    settings.watching.inactivity_timeout = INACTIVE_SECONDS_MAX
    settings.watching.chunk_size = CHUNK
    settings.queueing.idle_timeout = 0.5
    settings.networking.request_timeout = REQUEST_SECONDS_MAX
    settings.networking.error_backoffs = _Patience()
    return settings


class _Patience:
    """Waits between attempts to reach the API server, without end: the watches outlive any outage."""

    def __iter__(self) -> Iterator[float]:
        for attempt in itertools.count(1):
            yield backoff_seconds(attempt, longest_seconds=RECONNECT_LONGEST_SECONDS)


async def connection_of(configuration: Configuration) -> kopf.ConnectionInfo:
    """Sign in as our own client does; a token is read anew now and then, since Kubernetes replaces it."""
    header = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, token = str(header or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert or None,
        insecure=not configuration.verify_ssl,
        scheme=(scheme or "Bearer").capitalize() if token else None,
        token=token or None,
        certificate_path=configuration.cert_file or None,
        private_key_path=configuration.key_file or None,
        expiration=datetime.now(UTC) + SIGNED_IN if token else None,
    )
