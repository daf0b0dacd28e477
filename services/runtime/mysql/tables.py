"""CREATE, ALTER and DROP."""

from collections.abc import Callable, Sequence

from services.runtime.mysql.refusals import refusal
from services.runtime.mysql.server import Server
from services.runtime.mysql.statement import Statement, template_of
from services.runtime.mysql.tokens import Kind, Token, closing_bracket, position_of, split_by_commas, words

_UUID_BYTES = 16

_NO_COLUMN = {"PRIMARY", "UNIQUE", "CHECK", "CONSTRAINT", "FOREIGN"}
"""First words of what stands between columns and is none."""

_PLAIN_TYPES = {
    "BIGINT": "BIGINT",
    "INTEGER": "INTEGER",
    "SMALLINT": "SMALLINT",
    "BOOLEAN": "BOOLEAN",
    "UUID": "BINARY(16)",
    "TEXT": "MEDIUMTEXT",
    "BLOB": "MEDIUMBLOB",
    "BYTEA": "MEDIUMBLOB",
    "REAL": "DOUBLE",
    "DATE": "DATE",
    "JSON": "JSON",
    "TIMESTAMPTZ": "DATETIME(6)",
    "SERIAL": "INTEGER AUTO_INCREMENT",
    "BIGSERIAL": "BIGINT AUTO_INCREMENT",
}
"""Types without a length. DATETIME, because TIMESTAMP ends in 2038; texts and bytes up to 16 MiB."""

_TYPES_WITH_LENGTH = {"VARCHAR", "BINARY", "VARBINARY", "NUMERIC"}

_NO_PLAIN_DEFAULT = {"MEDIUMTEXT", "MEDIUMBLOB", "JSON"}
"""Types whose default must be an expression, in brackets."""


def translate_definition(tokens: Sequence[Token], sql: str, server: Server) -> Statement:
    """Translate CREATE TABLE, CREATE INDEX, ALTER TABLE, DROP TABLE and DROP INDEX … ON.

    Raises:
        UntranslatableError: It has no equal.
    """
    what = tuple(token.word for token in tokens[:2])
    if any(token.kind in {Kind.PLACEHOLDER, Kind.IN} for token in tokens):
        raise refusal("a placeholder", "definitions take no arguments", sql)
    translations: dict[tuple[str, ...], Callable[[], list[Token]]] = {
        ("CREATE", "TABLE"): lambda: _create_table(tokens, sql, server),
        ("CREATE", "INDEX"): lambda: _create_index(tokens, sql),
        ("CREATE", "UNIQUE"): lambda: _create_index(tokens, sql),
        ("ALTER", "TABLE"): lambda: _alter_table(tokens, sql),
        ("DROP", "TABLE"): lambda: list(tokens),
        ("DROP", "INDEX"): lambda: _drop_index(tokens, sql),
    }
    if what not in translations:
        raise refusal(" ".join(what), "tables and indexes are all there is", sql)
    return Statement(sql=" ".join(sql.split()), verb=what[0], template=template_of(translations[what]()))


def _create_table(tokens: Sequence[Token], sql: str, server: Server) -> list[Token]:
    opening = next((index for index, token in enumerate(tokens) if token.text == "("), -1)
    if opening < 0 or closing_bracket(tokens, opening) != len(tokens) - 1:
        raise refusal("CREATE TABLE", "a list of columns in brackets, and nothing after it", sql)
    out = list(tokens[: opening + 1])
    for index, part in enumerate(split_by_commas(tokens[opening + 1 : -1])):
        out += [*(words(",") if index else ()), *(part if part[0].word in _NO_COLUMN else _column(part, sql))]
    return [*out, tokens[-1], *words(f"ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {server.collation}")]


def _column(part: Sequence[Token], sql: str) -> list[Token]:
    """Write a column: its name, its type, and what follows."""
    if len(part) == 1:
        raise refusal(part[0].text, "a column needs a type", sql)
    if position_of(part, "REFERENCES") >= 0:
        raise refusal("REFERENCES", "there are no foreign keys", sql)
    type_, rest = _type(part[1:], sql)
    return [part[0], *words(type_), *_with_default(rest, type_, sql)]


def _type(tokens: Sequence[Token], sql: str) -> tuple[str, Sequence[Token]]:
    word = tokens[0].word
    if word in _PLAIN_TYPES:
        return _PLAIN_TYPES[word], tokens[1:]
    if word == "DOUBLE" and len(tokens) > 1 and tokens[1].word == "PRECISION":
        return "DOUBLE", tokens[2:]
    if word in _TYPES_WITH_LENGTH and len(tokens) > 1 and tokens[1].text == "(":
        closing = closing_bracket(tokens, 1)
        length = "".join(token.text for token in tokens[2:closing])
        if word == "BINARY" and length == str(_UUID_BYTES):
            # A result tells types, not declarations: 16 bytes of BINARY are a UUID, of VARBINARY are bytes.
            word = "VARBINARY"
        return f"{'DECIMAL' if word == 'NUMERIC' else word}({length})", tokens[closing + 1 :]
    raise refusal(
        tokens[0].text, "types are those of services/runtime/database/port.py; instants are TIMESTAMPTZ or BIGINT", sql
    )


def _with_default(rest: Sequence[Token], type_: str, sql: str) -> list[Token]:
    at = position_of(rest, "DEFAULT")
    if at < 0:
        return list(rest)
    if at + 1 == len(rest):
        raise refusal("DEFAULT", "a value follows", sql)
    after = at + 2
    if after < len(rest) and rest[after].text == "(":
        after = closing_bracket(rest, after) + 1
    value = list(rest[at + 1 : after])
    return [*rest[:at], *_default(value, type_, sql), *rest[after:]]


def _default(value: Sequence[Token], type_: str, sql: str) -> list[Token]:
    word = value[0].word
    if word in {"GEN_RANDOM_UUID", "UUID_GENERATE_V4", "UUIDV7"}:
        # Who inserts gives the identifier; Piccolo does so too.
        return []
    if word == "CURRENT_TIMESTAMP":
        return words("DEFAULT CURRENT_TIMESTAMP(6)")
    if word == "CURRENT_DATE":
        return words("DEFAULT (CURRENT_DATE)")
    if len(value) != 1:
        raise refusal(f"DEFAULT {value[0].text}(…)", "defaults are constants", sql)
    if type_ in _NO_PLAIN_DEFAULT and word != "NULL":
        return [*words("DEFAULT"), *words("("), *value, *words(")")]
    return [*words("DEFAULT"), *value]


def _create_index(tokens: Sequence[Token], sql: str) -> list[Token]:
    if position_of(tokens, "WHERE") >= 0:
        raise refusal("CREATE INDEX … WHERE", "indexes hold all rows", sql)
    out: list[Token] = []
    skipped = 0
    for index, token in enumerate(tokens):
        follows = [other.word for other in tokens[index : index + 3]]
        if follows == ["IF", "NOT", "EXISTS"]:
            # A name that is taken comes out as `AlreadyInPlaceError`, which migrations and Piccolo's engine know.
            skipped = 3
        elif token.word == "USING":
            skipped = 2
        if skipped:
            skipped -= 1
        else:
            out.append(token)
    return out


def _alter_table(tokens: Sequence[Token], sql: str) -> list[Token]:
    out = list(tokens[:3])
    for index, action in enumerate(split_by_commas(tokens[3:])):
        out += [*(words(",") if index else ()), *_action(action, sql)]
    return out


def _action(action: Sequence[Token], sql: str) -> list[Token]:
    verb = tuple(token.word for token in action[:2])
    if verb == ("ADD", "COLUMN") and action[2].word != "IF":
        return [*action[:2], *_column(action[2:], sql)]
    if verb in {("DROP", "COLUMN"), ("RENAME", "COLUMN"), ("RENAME", "TO"), ("ADD", "CONSTRAINT"), ("ADD", "UNIQUE")}:
        return list(action)
    raise refusal(f"ALTER TABLE … {' '.join(verb)}", "columns are added, dropped and renamed", sql)


def _drop_index(tokens: Sequence[Token], sql: str) -> list[Token]:
    if position_of(tokens, "ON") < 0 or position_of(tokens, "IF") >= 0:
        raise refusal("DROP INDEX", "name its table: DROP INDEX name ON table", sql)
    return list(tokens)
