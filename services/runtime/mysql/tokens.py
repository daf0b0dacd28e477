"""SQL cut into tokens, so that nothing inside of a text, an identifier or a comment is ever taken for a word.

The lexical rules are those of the port's dialect and of Piccolo's statements: standard SQL. A backslash is a character
like any other, `"…"` is an identifier, `--` begins a comment whatever follows it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a token is."""

    WORD = "a keyword, a function or an unquoted identifier"
    IDENTIFIER = "a quoted identifier"
    TEXT = "a quoted text"
    BYTES = "a text of hexadecimal digits: X'00ff'"
    NUMBER = "a number"
    PLACEHOLDER = "$1, $2, …"
    IN = "$in"
    PACKED = "a column of a packed row; see packing.py"
    SYMBOL = "an operator, a bracket, a comma"


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it was written; `spaced` tells whether white space or a comment stands before it."""

    kind: Kind
    text: str
    spaced: bool

    @property
    def word(self) -> str:
        """The word in capitals; empty for anything that is no word."""
        return self.text.upper() if self.kind is Kind.WORD else ""

    @property
    def name(self) -> str:
        """The name that an identifier, quoted or not, stands for; empty for anything else."""
        if self.kind is Kind.IDENTIFIER:
            return self.text[1:-1].replace('""', '"')
        return self.text if self.kind is Kind.WORD else ""


_LEXEMES = re.compile(
    r"""
      (?P<BLANK> \s+ | --[^\n]* | /\*.*?\*/ )
    | (?P<BYTES> [xX]'[0-9A-Fa-f]*' )
    | (?P<TEXT> '(?:[^']|'')*' )
    | (?P<IDENTIFIER> "(?:[^"]|"")*" )
    | (?P<PLACEHOLDER> \$[1-9][0-9]* )
    | (?P<IN> \$in\b )
    | (?P<NUMBER> [0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)? | \.[0-9]+(?:[eE][+-]?[0-9]+)? )
    | (?P<WORD> [^\W\d]\w* )
    | (?P<SYMBOL> ->> | <=> | \|\| | :: | -> | <= | >= | <> | != | == | << | >> | @> | <@ | [^'"] )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokenize(sql: str) -> list[Token]:
    """Cut a statement into its tokens; comments and white space are dropped.

    Raises:
        ValueError: A quote isn't closed.
    """
    tokens: list[Token] = []
    position, spaced = 0, False
    while position < len(sql):
        lexeme = _LEXEMES.match(sql, position)
        if lexeme is None or lexeme.lastgroup is None:
            raise ValueError(f"a quote that opens and doesn't close, at character {position + 1}: {sql}")
        position = lexeme.end()
        if lexeme.lastgroup == "BLANK":
            spaced = True
            continue
        tokens.append(Token(Kind[lexeme.lastgroup], lexeme[0], spaced))
        spaced = False
    return tokens


def words(text: str) -> list[Token]:
    """Write tokens that a translation adds; the first is set off from what stands before it."""
    first, *rest = tokenize(text)
    return [Token(first.kind, first.text, spaced=True), *rest]


def position_of(tokens: Sequence[Token], *phrase: str, start: int = 0) -> int:
    """Find words that follow each other, outside of any brackets opened after `start`; -1 where they don't."""
    depth = 0
    for index in range(start, len(tokens)):
        text = tokens[index].text
        if depth == 0 and all(
            index + offset < len(tokens) and tokens[index + offset].word == word for offset, word in enumerate(phrase)
        ):
            return index
        depth += (text == "(") - (text == ")")
    return -1


def closing_bracket(tokens: Sequence[Token], opening: int) -> int:
    """Find the bracket that closes the one at `opening`.

    Raises:
        ValueError: None does.
    """
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index].text == "(") - (tokens[index].text == ")")
        if depth == 0:
            return index
    raise ValueError("a bracket that opens and doesn't close")


def split_by_commas(tokens: Iterable[Token]) -> list[list[Token]]:
    """Split at the commas outside of all brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
