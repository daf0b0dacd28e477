"""UPDATE of one row by its key, taken apart so that it can carry many."""

from collections.abc import Sequence
from itertools import pairwise

from services.runtime.mysql.statement import UpdateOfRow
from services.runtime.mysql.tokens import Kind, Token, position_of, split_by_commas


def update_of_row(tokens: Sequence[Token]) -> UpdateOfRow | None:
    """Take `UPDATE table SET a = $1, … WHERE k = $2 AND …` apart; None for an UPDATE of any other shape."""
    set_at, where_at = position_of(tokens, "SET"), position_of(tokens, "WHERE")
    if set_at != 2 or where_at < 0 or not tokens[1].name:  # noqa: PLR2004 - the verb and a table stand before it
        return None
    sets = [_assignment(part) for part in split_by_commas(tokens[set_at + 1 : where_at])]
    condition = tokens[where_at + 1 :]
    ands = [-1, *(index for index, token in enumerate(condition) if token.word == "AND"), len(condition)]
    keys = [_assignment(condition[begin + 1 : end]) for begin, end in pairwise(ands)]
    if None in sets or None in keys:
        return None
    return UpdateOfRow(
        table=tokens[1].text,
        sets=tuple(each for each in sets if each is not None),
        keys=tuple(each for each in keys if each is not None),
    )


def _assignment(tokens: Sequence[Token]) -> tuple[str, int] | None:
    """Read `column = $n` as the column and the argument."""
    if len(tokens) != 3 or not tokens[0].name or tokens[1].text != "=" or tokens[2].kind is not Kind.PLACEHOLDER:  # noqa: PLR2004 - a column, a sign and a value
        return None
    return tokens[0].text, int(tokens[2].text[1:]) - 1
