"""A collector of spans that understands Zipkin's JSON v2, and keeps what it is sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Span = dict[str, Any]
"""As Zipkin's API has it: traceId, id, parentId, name, kind, localEndpoint."""


class SpanCollector:
    """Keeps spans, in the order in which they came."""

    def __init__(self) -> None:
        """Begin empty."""
        self.spans: list[Span] = []
        self.url = ""

    def of_trace(self, trace_id: str) -> list[Span]:
        """List a trace's spans."""
        return [span for span in self.spans if span["traceId"] == trace_id]

    def services_of(self, trace_id: str) -> set[str]:
        """List who took part in a trace."""
        return {span["localEndpoint"]["serviceName"] for span in self.of_trace(trace_id)}


@contextmanager
def collecting_spans() -> Iterator[SpanCollector]:
    """Serve a collector on a free port."""
    collector = SpanCollector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.spans += json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    collector.url = f"zipkin+http://127.0.0.1:{server.server_address[1]}/api/v2/spans"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
