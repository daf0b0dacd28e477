"""The gateway: the platform's only public door, without a database of its own.

- `keys.py`, `access_tokens.py`: it alone signs; everybody verifies by its JWKS.
- `door.py`, `revocation.py`, `rate_policies.py`: who may come in, and how often.
- `inbound/`: the REST doors, the streaming proxy, the WebSocket and server-sent events, the consumer of wallet events.
- `wallet_feed.py`, `wallet_session.py`: a wallet's events to each connection, none missed and none twice.
- `outbound/`: Redis, the orders service (identities) and the ledger (events that Redis no longer has).

Redis holds only what may be lost. Everything here runs in any number of replicas.
"""
