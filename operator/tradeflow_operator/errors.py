"""What a reconcile can meet. The reason of an error becomes the reason of the condition.

OperatorError
├── RefusedError       trying again changes nothing: a person has to act
├── UnavailableError   try again; the resource did nothing wrong
└── NotLeaderError     another process leads, or may lead soon: stop, and write nothing
"""


class OperatorError(Exception):
    """Something that the status can tell."""

    def __init__(self, message: str, *, reason: str) -> None:
        """Say what happened and what to do.

        Args:
            message: A sentence for people, without secrets.
            reason: A stable word in CamelCase, as conditions have it.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason


class RefusedError(OperatorError):
    """It stays as it is until a person changes something."""


class UnavailableError(OperatorError):
    """Something outside doesn't answer, or isn't ready yet."""

    def __init__(self, message: str, *, reason: str, retry_after_seconds: float | None = None) -> None:
        """Say when to come back, if that is known better than by backing off."""
        super().__init__(message, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class NotLeaderError(OperatorError):
    """The lease is over, or too short for a write."""

    def __init__(self) -> None:
        """Say it."""
        super().__init__("this process doesn't hold the lease", reason="NotLeader")
