"""Which relay publishes a stream, and up to where it is published: one row for each stream.

The lease keeps two relays from publishing at once as long as clocks and pauses behave; the fencing token, which changes
with every new holder, keeps the cursor right when they don't.
"""

from datetime import datetime, timedelta

from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.database.port import Database
from services.runtime.ids import new_id
from services.runtime.others_lease import OthersLease

# Reads who publishes, and up to where it is published. Locks nothing.
_READ = """
    SELECT cursor_sequence, lease_holder, lease_expires_at, fencing_token FROM outbox_relays WHERE stream = $1
"""

# The same, and locks the stream's row against other relays.
_LOCK = f"{_READ} FOR UPDATE"

# Begins a stream with nothing published and nobody publishing.
_BEGIN = """
    INSERT INTO outbox_relays (stream, cursor_sequence, lease_holder, lease_expires_at, fencing_token)
    VALUES ($1, 0, $2, 0, 0)
    ON CONFLICT (stream) DO NOTHING
"""

# Takes or extends the lease; the row is locked.
_TAKE = "UPDATE outbox_relays SET lease_holder = $1, lease_expires_at = $2, fencing_token = $3 WHERE stream = $4"

# Moves the cursor and extends the lease, unless another relay took over.
_ADVANCE = """
    UPDATE outbox_relays SET cursor_sequence = $1, lease_expires_at = $2
    WHERE stream = $3 AND lease_holder = $4 AND fencing_token = $5
"""

# Lets go of the lease, so that another relay need not wait for its end, and says up to where it is published.
_RELEASE = """
    UPDATE outbox_relays SET lease_expires_at = 0, cursor_sequence = $1
    WHERE stream = $2 AND lease_holder = $3 AND fencing_token = $4
"""


class RelayLease:
    """One relay's view of its stream's row."""

    def __init__(
        self, database: Database, stream: str, clock: Clock, *, lease_seconds: float, cursor_every_seconds: float
    ) -> None:
        """Hold nothing yet; the cursor is written once in so many seconds at most."""
        self._database = database
        self._stream = stream.encode()
        self._clock = clock
        self._span = timedelta(seconds=lease_seconds)
        self._cursor_every = timedelta(seconds=cursor_every_seconds)
        self._cursor_written_at: datetime | None = None
        self._cursor_is_written = True
        self._holder = new_id().bytes
        self._fencing_token: int | None = None
        self._expires_at: datetime | None = None
        self._cursor_sequence: int | None = None
        self._others_lease = OthersLease()

    @property
    def is_held(self) -> bool:
        """Tell whether it was taken and, as far as this relay knows, by nobody after it; it may be over."""
        return self._expires_at is not None

    @property
    def is_fresh(self) -> bool:
        """Tell whether it is held with half of it left, so that a batch that begins now usually ends before it does."""
        return self._expires_at is not None and self._clock.now() + self._span / 2 < self._expires_at

    async def cursor_sequence(self) -> int:
        """Tell the number of the last event that was published, as far as this relay knows."""
        if self._cursor_sequence is None:
            await self.is_anothers()
        return self._cursor_sequence or 0

    async def take(self) -> bool:
        """Take the lease or extend it; False when another relay holds it."""
        if await self.is_anothers():
            self._expires_at = None
            return False
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_LOCK, self._stream)
            if not rows:
                await connection.execute(_BEGIN, self._stream, bytes(16))
                rows = await connection.fetch(_LOCK, self._stream)
            cursor_sequence, holder, expires_at_micros, fencing_token = rows[0]
            now = self._clock.now()
            mine = holder == self._holder
            if not mine and self._others_lease.lasts(rows[0], from_micros(expires_at_micros), now):
                self._expires_at = None
                return False
            # Its own lease goes on, even past its end, when nobody took it meanwhile; any other is a new one.
            token = fencing_token if mine else fencing_token + 1
            await connection.execute(_TAKE, self._holder, to_micros(now + self._span), token, self._stream)
        self._fencing_token, self._expires_at = token, now + self._span
        if not mine or self._cursor_is_written:
            self._cursor_sequence, self._cursor_is_written = cursor_sequence, True
        return True

    async def is_anothers(self) -> bool:
        """Tell whether another relay publishes, without a lock: one that stands by writes nothing, and follows."""
        async with self._database.snapshot() as connection:
            rows = await connection.fetch(_READ, self._stream)
        if not rows:
            return False
        cursor_sequence, holder, expires_at_micros, _ = rows[0]
        if holder != self._holder or self._cursor_is_written:
            self._cursor_sequence, self._cursor_is_written = cursor_sequence, True
        return bool(holder != self._holder) and self._others_lease.lasts(
            rows[0], from_micros(expires_at_micros), self._clock.now()
        )

    async def advance(self, sequence: int) -> bool:
        """Move the cursor, and write it if it is time; False when another relay has taken over."""
        self._cursor_sequence, self._cursor_is_written = sequence, False
        return await self.write_cursor()

    async def write_cursor(self) -> bool:
        """Write the cursor and extend the lease, if that is left to do and it is time; False when another took over."""
        if self._cursor_is_written:
            return True
        sequence, now, written_at = self._cursor_sequence, self._clock.now(), self._cursor_written_at
        if written_at is not None and written_at <= now < written_at + self._cursor_every:
            return True
        expires_at = now + self._span
        async with self._database.transaction() as connection:
            moved = await connection.execute(
                _ADVANCE, sequence, to_micros(expires_at), self._stream, self._holder, self._fencing_token
            )
        self._cursor_is_written = True
        if moved:
            self._expires_at, self._cursor_written_at = expires_at, now
        else:
            self._expires_at = self._cursor_sequence = None
        return bool(moved)

    async def release(self) -> None:
        """Let another relay take over at once, where this one stopped."""
        held, self._expires_at = self.is_held, None
        if held:
            async with self._database.transaction() as connection:
                await connection.execute(
                    _RELEASE, self._cursor_sequence, self._stream, self._holder, self._fencing_token
                )
            self._cursor_is_written = True
