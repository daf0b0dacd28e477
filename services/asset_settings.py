"""The setting by which an installation names assets of its own; every service that speaks of money has it."""

from typing import Annotated

from pydantic import AfterValidator

from services.money import check_assets

AssetExponents = Annotated[dict[str, int], AfterValidator(check_assets)]
"""Asset codes and how many decimal places each has, such as {"PTS": 0}; as JSON in the environment."""
