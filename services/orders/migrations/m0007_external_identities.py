"""Persons whom other issuers vouch for, and which users they are."""

PHASE = "pre"

STATEMENTS = (
    # `made_user` tells whether the user was made for this person: the issuer decides the roles then. Insert-only.
    """
    CREATE TABLE external_identities (
        issuer VARBINARY(255) NOT NULL,
        subject VARBINARY(255) NOT NULL,
        user_id UUID NOT NULL,
        made_user BOOLEAN NOT NULL,
        first_seen_at BIGINT NOT NULL,
        PRIMARY KEY (issuer, subject)
    )
    """,
    "CREATE INDEX external_identities_by_user ON external_identities (user_id)",
)
