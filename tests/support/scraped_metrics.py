"""What a service shows at /metrics, as numbers."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


async def scraped(url: str, name: str, **labels: str) -> float:
    """Sum the samples of a metric that have these labels; 0 when there is none."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{url}/metrics")).raise_for_status().text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
