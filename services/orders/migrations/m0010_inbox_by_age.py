"""By which the inbox's old events are found, without a walk over all that are younger."""

PHASE = "pre"

STATEMENTS = ("CREATE INDEX inbox_by_age ON inbox (consumer, received_at)",)
