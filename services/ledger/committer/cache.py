"""The cache: what the committer knows of a book without asking, as the newest plan leaves it.

It is right while the book stands at the head that it was planned to, which every flight compares under the lock. On any
doubt all of it is dropped. It knows what isn't there, too: of a name that it read and did not find.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from services.ledger.commands.command import Command
from services.ledger.commands.housekeeping import PruneAnswers
from services.ledger.commands.reverse_record import ReverseRecord
from services.ledger.commands.state import BookState
from services.ledger.domain.journal import Head
from services.ledger.outbound.book_head import current_head
from services.ledger.outbound.book_reading import (
    BookRows,
    LoadedBook,
    book_at,
    lock_and_read_rows,
    read_rows,
    rows_named_further,
)
from services.ledger.outbound.named_rows import NamedRows, rows_named_by, rows_named_by_holds
from services.runtime.database.port import Connection

NAMES_MAX = 200_000
"""The most wallets, holds and other names of each kind that are kept: a few hundred bytes each, some 200 MB in all."""

KEYS_MAX = 100_000
"""The most idempotency keys that are kept, some 60 MB: callers repeat within seconds, and at full speed this is ten of
them. Older ones are found by their index."""

BATCHES_KEPT = 8
"""What the newest batches named is never forgotten: a batch under way may have changed it, and the database would tell
what was before. Three batches are open at most, and each may count as two here."""

_KINDS = ("holds", "holds_with_legs", "wallets", "codes")
"""The kinds of names in `NamedRows` whose rows are kept. Keys are kept too, but a missing key says nothing."""

_UNDER_THE_LOCK = (ReverseRecord, PruneAnswers)
"""Commands whose rows are never kept."""


class BookCache:
    """One book, as far as it is known. `head` is where it stands, or None while nothing is known."""

    def __init__(self, book_id: int, *, names_max: int = NAMES_MAX, keys_max: int = KEYS_MAX) -> None:
        """Know nothing."""
        self._book_id = book_id
        self._names_max = names_max
        self._keys_max = keys_max
        self._batch = 0
        self.drop()

    def drop(self) -> None:
        """Forget everything."""
        self.head: Head | None = None
        self._book: LoadedBook | None = None
        # For each kind the known names, with the number of the batch that last named them.
        self._known: dict[str, dict[Any, int]] = {kind: {} for kind in _KINDS}

    @property
    def state(self) -> BookState:
        """What plans are decided on, and change."""
        return self._loaded().state

    @property
    def tails(self) -> dict[int, bytes]:
        """The hash of each account's newest posting, by account id."""
        return self._loaded().tails

    def require_head(self) -> Head:
        """Tell where the book stands, when that is known."""
        if self.head is None:
            raise LookupError("nothing is known of the book")
        return self.head

    def allows_planning(self, commands: Iterable[Command]) -> bool:
        """Tell whether these commands can be decided on cached rows at all."""
        return not any(isinstance(command, _UNDER_THE_LOCK) for command in commands)

    def missing(self, commands: Sequence[Command]) -> tuple[NamedRows, Collection[UUID]]:
        """List what the commands name and the cache doesn't know, as far as that can be told; keys aside.

        Apart from it, the holds that they mean to make and that it doesn't know: these are new but for a mistake.
        """
        named = rows_named_by(commands)
        unknown = self._unknown(named)
        new_holds = unknown.holds.keys() & named.reserved.keys()
        for hold_id in new_holds:
            del unknown.holds[hold_id]
        if unknown:
            return unknown, new_holds
        further = self._unknown(rows_named_by_holds(commands, self.state.holds))
        if not further:
            self._note_named(commands, named, BookRows(holds=self.state.holds))
        return further, new_holds

    async def lock_and_fill(self, connection: Connection, commands: Sequence[Command], *, trusted: bool) -> bool:
        """Lock the book and read what the commands name, their keys in both places, in one or two round trips.

        Returns whether a key was found that the cache didn't know.

        Args:
            connection: A transaction in which nothing was read yet.
            commands: What will be planned next.
            trusted: Whether what is known is used, if the book still stands there; else all is read again.
        """
        if not trusted:
            self.drop()
        named = rows_named_by(commands)
        unknown = self._unknown(named)
        unknown.keys = {scope: None for scope in named.keys if self._book is None or scope not in self.state.keys}
        head, rows = await lock_and_read_rows(connection, self._book_id, unknown, read_keys=True)
        if self.head is not None and self.head != head:
            self.drop()
            unknown = named
            rows = await read_rows(connection, self._book_id, named, read_keys=True)
        if self._book is None:
            self.head, self._book = head, book_at(head)
        await self._take_in(connection, commands, unknown, rows)
        return bool(rows.keys)

    async def fill_from_snapshot(
        self, connection: Connection, commands: Sequence[Command], unknown: NamedRows, heads: Collection[Head]
    ) -> bool:
        """Read what the commands name and the cache doesn't know; False when the book stands at none of the heads."""
        if await current_head(connection, self._book_id) not in heads:
            return False
        rows = await read_rows(connection, self._book_id, unknown, read_keys=False)
        await self._take_in(connection, commands, unknown, rows)
        return True

    async def _take_in(
        self, connection: Connection, commands: Sequence[Command], unknown: NamedRows, rows: BookRows
    ) -> None:
        book = self._loaded()
        # Entries are read for each batch anew.
        book.state.entries.clear()
        book.take_in(unknown, rows)
        found = BookRows(holds=book.state.holds, entries=rows.entries, touched=rows.touched)
        further = self._unknown(rows_named_further(commands, found))
        if further:
            book.take_in(further, await read_rows(connection, self._book_id, further, read_keys=False))
        self._note_named(commands, rows_named_by(commands), found)

    def _note_named(self, commands: Sequence[Command], named: NamedRows, found: BookRows) -> None:
        self._batch += 1
        for names in (named, rows_named_further(commands, found)):
            for kind in _KINDS:
                self._known[kind].update(dict.fromkeys(getattr(names, kind), self._batch))

    def trim(self) -> None:
        """Forget the longest unused where it is too much; never what a batch under way may have changed."""
        if self._book is None:
            return
        keys = self._book.state.keys
        if len(keys) > self._keys_max:
            for scope in list(islice(keys, len(keys) - self._keys_max * 7 // 8)):
                del keys[scope]
        forgetters = (("holds", self._forget_holds), ("wallets", self._forget_wallets), ("codes", self._forget_codes))
        for kind, forget in forgetters:
            if len(self._known[kind]) > self._names_max:
                forget(self._longest_unused(kind))

    def _unknown(self, named: NamedRows) -> NamedRows:
        unknown = NamedRows(entries=named.entries)
        for kind in _KINDS:
            known = self._known[kind]
            names = getattr(named, kind)
            if not names.keys() <= known.keys():
                setattr(unknown, kind, {name: None for name in names if name not in known})
        return unknown

    def _loaded(self) -> LoadedBook:
        if self._book is None:
            raise LookupError("nothing is known of the book")
        return self._book

    def _longest_unused(self, kind: str) -> set[Any]:
        """Choose a quarter of the names: each choice looks at all of them, so it is made seldom."""
        known = self._known[kind]
        cut = min(sorted(known.values())[len(known) // 4], self._batch - BATCHES_KEPT)
        return {name for name, batch in known.items() if batch <= cut}

    def _forget_holds(self, names: set[Any]) -> None:
        for hold_id in names:
            self.state.holds.pop(hold_id, None)
            self.state.capture_legs.pop(hold_id, None)
            self._known["holds"].pop(hold_id, None)
            self._known["holds_with_legs"].pop(hold_id, None)

    def _forget_wallets(self, names: set[Any]) -> None:
        self._forget_codes({code for code, account in self.state.accounts.items() if account.wallet_id in names})
        for wallet_id in names:
            self.state.wallets.pop(wallet_id, None)
            self._known["wallets"].pop(wallet_id, None)

    def _forget_codes(self, names: set[Any]) -> None:
        for code in names:
            account = self.state.accounts.pop(code, None)
            if account is not None:
                self.tails.pop(account.account_id, None)
            self._known["codes"].pop(code, None)
