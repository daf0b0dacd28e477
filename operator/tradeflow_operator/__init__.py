"""TradeFlow's operator: topics, schemas, access, keys, limits and migrations as Kubernetes resources.

kopf watches and calls `handlers.watching`, which only notes what changed (`work.intake`) and feeds a queue. Workers
(`work.worker`) take one resource at a time: a kind (`kinds`) observes the world, its pure plan in `reconcile/` decides,
its effects are carried out through `clients/`, and what came of it is compared with the status before it is written.
"""

GROUP = "tradeflow.dev"
"""The API group of all kinds; annotations and finalizers begin with it."""

VERSION = "v1alpha1"
"""The one version that is served and stored."""
