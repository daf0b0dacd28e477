"""How many of a database's sessions are in use, and how many tasks wait for one."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from services.runtime.database.port import Database, PoolUsage


def watch_database(database: Database, registry: CollectorRegistry) -> None:
    """Register the metrics of one database's pools; they are read when somebody looks."""
    sessions = Gauge(
        "tradeflow_database_sessions",
        "Open sessions: lent to a task, or idle; some write and some only read",
        ("pool", "state"),
        registry=registry,
    )
    most = Gauge("tradeflow_database_sessions_max", "Sessions that may be open at once", ("pool",), registry=registry)
    waiting = Gauge("tradeflow_database_waiting", "Tasks that wait for a session", ("pool",), registry=registry)

    def told(pool: str, read: Callable[[PoolUsage], int]) -> Callable[[], float]:
        return lambda: read(database.usage()[pool])

    for pool in database.usage():
        sessions.labels(pool, "lent").set_function(told(pool, lambda usage: usage.lent))
        sessions.labels(pool, "idle").set_function(told(pool, lambda usage: usage.idle))
        most.labels(pool).set_function(told(pool, lambda usage: usage.sessions_max))
        waiting.labels(pool).set_function(told(pool, lambda usage: usage.waiting))
