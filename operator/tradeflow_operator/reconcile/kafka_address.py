"""Where a service finds Kafka, as one URL: what the services' TRADEFLOW_…_BROKER_URL takes. Pure.

The two sides know each other by this text alone; services/runtime/broker/README.md lists its options.
"""

from urllib.parse import quote, urlencode

import msgspec

AUTHORITY_KEY = "ca.crt"
"""The Secret's entry with who signed the brokers' certificates; none where those that every machine trusts did."""

AUTHORITY_FILE = f"/etc/tradeflow/broker/{AUTHORITY_KEY}"
"""Where the services' charts mount that entry."""


class KafkaAddress(msgspec.Struct, frozen=True, kw_only=True):
    """What a KafkaConnection says of a cluster, without who signs in there."""

    bootstrap_servers: list[str]
    tls: bool = False
    authority: str | None = None
    """In PEM."""

    def url(self, *, user: str, password: str, topic_prefix: str) -> str:
        """Write the URL by which a user comes there, by SCRAM-SHA-512, which services take where none is named."""
        options = {
            "tls": "true" if self.tls else "",
            "ca_file": AUTHORITY_FILE if self.authority else "",
            "topic_prefix": topic_prefix,
        }
        query = urlencode({name: value for name, value in options.items() if value}, safe="/")
        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"kafka://{credentials}@{','.join(self.bootstrap_servers)}{'?' if query else ''}{query}"
