"""A gRPC channel to another service, with limits and keepalive that fit `grpc_server`."""

import json
from collections.abc import Mapping
from typing import Any

import grpc

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""As the server's."""

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 15_000),  # finds servers that hang or whose machine is gone; one in 10 s is allowed
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # of gRPC's own pings, behind which a keepalive would wait for a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # idle connections are looked after too
    # A server that comes back at its address is found within 5 s. A name that lost all addresses is looked up ever more
    # seldom, every two and a half minutes in the end, which gRPC lets nobody change.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),  # services talk to each other directly
    ("grpc.lb_policy_name", "round_robin"),  # spreads calls over the replicas behind a headless name
)


def open_channel(
    target: str,
    *,
    service_config: Mapping[str, Any] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> grpc.aio.Channel:
    """Open a channel; it connects when first used, and its owner closes it.

    Args:
        target: `host:port`, or any gRPC name such as `dns:///ledger:9090`.
        service_config: Retries, deadlines, balancing.
            Source: https://github.com/grpc/grpc/blob/master/doc/service_config.md
        credentials: TLS, where it is wanted.
    """
    options = list(CHANNEL_OPTIONS)
    if service_config is not None:
        options.append(("grpc.service_config", json.dumps(service_config)))
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)
