"""Limits from a file that changes while the gateway runs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.gateway.rate_limits_file import FILE_BYTES_MAX, RateLimitsFile
from services.gateway.rate_policies import RatePolicy, RateRules
from services.runtime.errors import UnavailableError

DEFAULT = RateRules(
    policies=(RatePolicy(name="of-settings", route_class="any", per="ip", limit=1, window_seconds=1),),
    failure_mode="closed",
)


def a_limit(**changes: Any) -> dict[str, Any]:
    return {"name": "orders", "per": "user", "limit": 5, "window_seconds": 60, **changes}


def a_document(*limits: dict[str, Any], **more: Any) -> str:
    return json.dumps({"limits": limits or [a_limit()], **more})


class Mounted:
    """A folder as the kubelet mounts a ConfigMap: a link to a folder that is swapped at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = 0
        self.file = folder / "rate-limits.json"
        self.registry = CollectorRegistry()

    def write(self, content: str) -> None:
        self._versions += 1
        version = self._folder / f"..version{self._versions}"
        version.mkdir()
        (version / self.file.name).write_text(content)
        draft = self._folder / "..draft"
        draft.symlink_to(version.name)
        os.replace(draft, self._folder / "..data")  # noqa: PTH105 - the point is that it is atomic
        if not self.file.is_symlink():
            self.file.symlink_to(f"..data/{self.file.name}")

    def open(self) -> RateLimitsFile:
        return RateLimitsFile(self.file, default=DEFAULT, registry=self.registry)

    def shown(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"tradeflow_gateway_rate_limits_{name}", labels)


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path)


def names(limits: RateLimitsFile) -> list[str]:
    return [policy.name for policy in limits.current.policies]


async def test_a_file_replaces_all_limits_of_the_settings(mounted: Mounted) -> None:
    mounted.write(a_document(a_limit(paths=["/api/v1/orders"], roles=["buyer"], dry_run=True), failure_mode="open"))

    limits = mounted.open()

    (policy,) = limits.current.policies
    assert (policy.paths, policy.roles, policy.dry_run) == (("/api/v1/orders",), ("buyer",), True)
    assert limits.current.failure_mode == "open"
    await limits.check()


def test_a_failure_mode_that_the_file_leaves_out_is_the_settings(mounted: Mounted) -> None:
    mounted.write(a_document())

    assert mounted.open().current.failure_mode == "closed"


async def test_without_a_file_the_settings_hold(tmp_path: Path) -> None:
    limits = RateLimitsFile(None, default=DEFAULT, registry=CollectorRegistry())

    assert not limits.reload_if_changed()
    assert limits.current == DEFAULT
    await limits.check()


def test_a_swapped_mount_is_read_again_and_an_unchanged_one_is_not(mounted: Mounted) -> None:
    mounted.write(a_document())
    limits = mounted.open()

    assert not limits.reload_if_changed()
    mounted.write(a_document(a_limit(name="fewer")))
    assert limits.reload_if_changed()
    assert names(limits) == ["fewer"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        (json.dumps({"limits": [], "limit": 3}), "limit: Extra inputs"),
        (a_document(a_limit(limit=0)), "limits.0.limit: Input should be greater than or equal to 1"),
        (a_document(a_limit(windowSeconds=3)), "windowSeconds"),
        (a_document(a_limit(), a_limit()), "same name"),
        (a_document(a_limit(per="ip", roles=["buyer"])), "an address has no roles"),
        (a_document(a_limit(paths=["api"])), "limits.0.paths.0"),
        (a_document(failure_mode="ajar"), "failure_mode"),
        (" " * (FILE_BYTES_MAX + 1), "bytes"),
    ],
)
async def test_a_bad_file_keeps_the_last_good_limits_and_says_what_is_wrong(
    mounted: Mounted, content: str, complaint: str
) -> None:
    mounted.write(a_document())
    limits = mounted.open()

    mounted.write(content)

    assert not limits.reload_if_changed()
    assert names(limits) == ["orders"]
    assert mounted.shown("file_ok") == 0
    assert mounted.shown("reloads_total", outcome="refused") == 1
    with pytest.raises(UnavailableError, match="older limits hold") as raised:
        await limits.check()
    assert complaint in raised.value.message


async def test_a_mended_file_is_taken(mounted: Mounted) -> None:
    mounted.write("{")
    limits = mounted.open()
    assert limits.current == DEFAULT

    mounted.write(a_document())

    assert limits.reload_if_changed()
    assert names(limits) == ["orders"]
    assert mounted.shown("file_ok") == 1
    await limits.check()


async def test_a_file_that_goes_away_keeps_its_limits_and_is_taken_when_it_comes_back(mounted: Mounted) -> None:
    mounted.write(a_document())
    limits = mounted.open()

    mounted.file.unlink()
    assert not limits.reload_if_changed()
    with pytest.raises(UnavailableError):
        await limits.check()
    mounted.file.symlink_to("..data/rate-limits.json")

    assert limits.reload_if_changed()
    await limits.check()
