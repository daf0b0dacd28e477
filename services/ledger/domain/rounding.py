"""How fees are rounded: always down, and cumulatively, so that any split ends as the whole would.

A fee is taken of the sum of all captures so far, less what was taken already; so the pennies that rounding leaves in
one part are caught up in a later one. Refunds give the fee back in the same way.
"""

BASIS_POINTS_WHOLE = 10_000
"""One whole in basis points."""


def fee_of(gross_minor: int, basis_points: int) -> int:
    """Compute the fee of a cumulative gross amount, rounded down."""
    return gross_minor * basis_points // BASIS_POINTS_WHOLE


def next_fee(*, captured_minor: int, gross_minor: int, basis_points: int, fee_taken_minor: int) -> int:
    """Compute the fee of one more capture.

    Args:
        captured_minor: What the seller got of this hold before, gross, at the same rate.
        gross_minor: What the seller gets now.
        basis_points: The rate.
        fee_taken_minor: The fees taken before. It must be what this rule gave: then the fee is between 0 and gross.
    """
    return fee_of(captured_minor + gross_minor, basis_points) - fee_taken_minor


def fee_returned_of(refunded_minor: int, *, gross_minor: int, fee_minor: int) -> int:
    """Compute how much of a leg's fee goes back in all, once `refunded_minor` of its gross went back; rounded down."""
    return refunded_minor * fee_minor // gross_minor
