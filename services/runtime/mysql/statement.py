"""A translated statement: a template, and where its values come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from services.runtime.mysql.literals import byte_text, escaped, literal
from services.runtime.mysql.tokens import Kind, Token

IN: Final = -1
"""Stands for the values of `$in` among the slots."""


class OnConflict(Enum):
    """What an INSERT does about a row that exists."""

    FAIL = "fail"
    NOTHING = "do nothing"
    UPDATE = "do update"


@dataclass(frozen=True, slots=True)
class Template:
    """SQL as a `%` format, and the arguments that its slots take."""

    text: str
    slots: tuple[int, ...]

    @property
    def has_list(self) -> bool:
        """Tell whether it takes the values of `$in`."""
        return IN in self.slots

    def render(self, arguments: Sequence[object], in_: Sequence[object] = ()) -> str:
        """Write the statement with its values.

        Raises:
            ValueError: There are fewer arguments than the statement names.
        """
        try:
            return self.text % tuple(
                [", ".join(map(literal, in_)) if slot == IN else literal(arguments[slot]) for slot in self.slots]
            )
        except IndexError:
            raise ValueError(f"the statement has ${max(self.slots) + 1} and got {len(arguments)} arguments") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertOfRow:
    """An INSERT of one row of VALUES, taken apart so that it can carry many."""

    head: str
    columns: tuple[str, ...]
    values: tuple[int | str, ...]
    """For each column the argument, or the text of a constant."""
    tail: str
    packed_tail: str
    """The same after `SELECT … FROM (VALUES …)`: a `%` format of the columns' expressions, by their names."""

    def row_template(self) -> Template:
        """Return the template of one bracket of VALUES."""
        items = ["%s" if isinstance(value, int) else value.replace("%", "%%") for value in self.values]
        return Template(f"({','.join(items)})", tuple(value for value in self.values if isinstance(value, int)))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOfRow:
    """An UPDATE of one row by its key: for each column the argument that it is set to, or must be equal to."""

    table: str
    sets: tuple[tuple[str, int], ...]
    keys: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Returning:
    """What an INSERT's RETURNING wants, where it can be told from the arguments: for each row, column → argument.

    None stands for the number that the server gives.
    """

    rows: tuple[dict[str, int | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement in the server's dialect."""

    sql: str
    """As it was written, on one line; for logs and errors."""
    verb: str
    template: Template
    on_conflict: OnConflict = OnConflict.FAIL
    insert: InsertOfRow | None = None
    update: UpdateOfRow | None = None
    returning: Returning | None = None

    @property
    def defines(self) -> bool:
        """Tell whether it makes, changes or drops a table or an index."""
        return self.verb in {"CREATE", "ALTER", "DROP"}

    @property
    def reads(self) -> bool:
        """Tell whether it can't change anything."""
        return self.verb in {"SELECT", "SHOW", "EXPLAIN"}


def template_of(tokens: Sequence[Token]) -> Template:
    """Write tokens as a template."""
    slots: list[int] = []
    parts: list[str] = []
    for token in tokens:
        if token.spaced and parts:
            parts.append(" ")
        if token.kind is Kind.PLACEHOLDER:
            slots.append(int(token.text[1:]) - 1)
            parts.append("%s")
        elif token.kind is Kind.PACKED:
            parts.append(f"%({token.text})s")
        elif token.kind is Kind.IN:
            slots.append(IN)
            parts.append("%s")
        else:
            parts.append(_text_of(token).replace("%", "%%"))
    return Template("".join(parts), tuple(slots))


def text_of(tokens: Sequence[Token]) -> str:
    """Write tokens that hold no placeholder.

    Raises:
        ValueError: They do.
    """
    template = template_of(tokens)
    if template.slots:
        raise ValueError("a placeholder where this server takes none")
    return template.text.replace("%%", "%")


def _text_of(token: Token) -> str:
    if token.kind is Kind.TEXT:
        # In the port's dialect a backslash is a character, in a session's it escapes.
        return f"'{escaped(byte_text(token.text[1:-1].replace(chr(39) * 2, chr(39))))}'"
    return byte_text(token.text)
