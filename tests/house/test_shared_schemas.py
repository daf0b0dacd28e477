"""The contracts that a registry keeps for several installations at once."""

import hashlib

from services.embedded.commands.schemas import CONTRACTS
from services.runtime.registry.registration import subjects_of

SHARED = {
    "tradeflow/common/v1/money.proto": "917a4f64593f2422ea7e79e0773b13b338eeb82054021a5e5365a32dd4e9570c",
    "tradeflow/common/v1/wallet.proto": "f8be4f7847beaeb4b4a9bb829fe78786fa21ce9c632fc973c7caa533f217866f",
}
"""SHA-256 of each file that events import, as it is registered."""


def test_a_file_that_events_import_never_changes() -> None:
    """Put what is new into a file of its own, and name it above.

    Its subject has no installation's name, and is referred to by its first version: another content would be another
    version for each release, in the order in which installations came to the registry.
    """
    files = [
        each.file for each in subjects_of(CONTRACTS, outer_name=lambda topic: topic) if each.name == each.file.name
    ]

    assert {file.name: hashlib.sha256(file.serialized).hexdigest() for file in files} == SHARED
