"""The gateway's doors: REST, the proxy, the WebSocket, server-sent events, and the consumer of wallet events."""
