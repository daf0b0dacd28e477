"""What the registry, Zipkin and Prometheus do here that tests of the platform rely on."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.parts.server import Server
from tests.support.waiting import eventually

RULE = """
groups:
  - name: example
    rules:
      - alert: ServerAnswers
        expr: up{job="itself"} == 1
"""


async def test_a_schema_that_was_registered_is_found_by_its_number(registry_url: str) -> None:
    schema = {"schemaType": "AVRO", "schema": '"string"'}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        registered = await http.post(f"{registry_url}/subjects/parts.example-value/versions", json=schema)
        number = registered.raise_for_status().json()["id"]
        found = await http.get(f"{registry_url}/schemas/ids/{number}")

    assert found.json()["schema"] == schema["schema"]


async def test_a_span_that_was_sent_is_found_by_its_trace(zipkin_url: str) -> None:
    span = {"traceId": "9f" * 16, "id": "5e" * 8, "name": "sent", "timestamp": 1, "localEndpoint": {"serviceName": "x"}}
    async with httpx.AsyncClient(base_url=zipkin_url, trust_env=False, timeout=30) as http:
        (await http.post("/api/v2/spans", json=[span])).raise_for_status()

        async def is_there() -> bool:
            found = await http.get(f"/api/v2/trace/{span['traceId']}")
            return found.status_code == httpx.codes.OK and found.json()[0]["name"] == "sent"

        await eventually(is_there, seconds_max=30)


async def test_prometheus_scrapes_what_it_is_told_and_fires_the_alerts_of_a_folder(
    prometheus: Callable[..., Server], zipkin_url: str, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(RULE)
    target = zipkin_url.removeprefix("http://")

    server = prometheus(
        [{"job_name": "itself", "metrics_path": "/prometheus", "static_configs": [{"targets": [target]}]}],
        rules_folder=tmp_path,
    )

    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as http:

        async def fires() -> bool:
            alerts: list[dict[str, Any]] = (await http.get("/api/v1/alerts")).json()["data"]["alerts"]
            return [(alert["labels"]["alertname"], alert["state"]) for alert in alerts] == [("ServerAnswers", "firing")]

        await eventually(fires, seconds_max=60)


def test_promtool_tells_good_rules_from_bad_ones(promtool: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(RULE)
    bad.write_text(RULE.replace("== 1", "== "))

    verdicts = [
        subprocess.run([promtool, "check", "rules", file], check=False, timeout=200, capture_output=True).returncode
        for file in (good, bad)
    ]

    assert verdicts[0] == 0
    assert verdicts[1] != 0
