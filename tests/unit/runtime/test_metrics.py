from services.runtime.metrics import METRICS_MEDIA_TYPE, GrpcMetrics, HttpMetrics, LoopMetrics, new_registry, render


def test_two_services_in_one_process_do_not_mix() -> None:
    ledger, orders = new_registry("ledger"), new_registry("orders")
    for registry in (ledger, orders):
        GrpcMetrics(registry)
        LoopMetrics(registry)

    HttpMetrics(ledger).duration_seconds.labels("GET", "/a", "200").observe(0.1)
    HttpMetrics(orders).duration_seconds.labels("GET", "/b", "200").observe(0.1)

    assert b'route="/a"' in render(ledger)
    assert b'route="/b"' not in render(ledger)
    assert b'route="/b"' in render(orders)


def test_a_service_shows_its_process() -> None:
    text = render(new_registry("ledger")).decode()

    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text
    assert METRICS_MEDIA_TYPE.startswith("text/plain")
