"""Names that the same file always gets, so that doing it again is doing nothing."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode

from services.money import Money

SKU_CHARACTERS_MAX = 64
"""The public API's limit."""

EMAIL_DOMAIN = "replay.example"
"""`.example` is reserved: no mail can ever reach a real person (RFC 2606)."""

_PLAIN_SKU = re.compile(r"[A-Za-z0-9._-]")
_PLAIN_LOCAL_PART = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*")
_LOCAL_PART_CHARACTERS_MAX = 40
_RUN_ID_CHARACTERS = 24


def run_id_of(content: bytes, *meaning: str) -> str:
    """Name a run after what the file holds and how it is read: its currency, columns and the like.

    The same bytes read in another way are other orders, so they must not meet the first ones' keys.
    """
    digest = hashlib.sha256(hashlib.sha256(content).digest())
    for word in meaning:
        digest.update(len(word.encode()).to_bytes(4) + word.encode())
    return digest.hexdigest()[:_RUN_ID_CHARACTERS]


def idempotency_key(run_id: str, effect: str, *parts: str) -> str:
    """Name one effect of a run; `parts` say which, and no two lists of parts give the same key."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part.encode()).to_bytes(4) + part.encode())
    return f"replay:{run_id}:{effect}:{digest.hexdigest()[:32]}"


def sku_of(stock_code: str, price: Money) -> str:
    """Name a stock code at its price: `85123A@255:GBP`.

    Characters outside the alphabet of skus become `+` and two hexadecimal digits for each byte; a code that is too long
    then is replaced by `+H` and its hash. Different codes or prices never share a sku.
    """
    tail = f"@{price.amount_minor}:{price.currency}"
    escaped = "".join(char if _PLAIN_SKU.match(char) else _escaped(char) for char in stock_code)
    room = SKU_CHARACTERS_MAX - len(tail)
    if len(escaped) > room:
        digest = hashlib.sha256(stock_code.encode()).hexdigest()[:32]
        escaped = f"+H{digest}"
    return escaped + tail


def email_of(customer: str) -> str:
    """Give a customer an address; different customers have different ones, whatever their letters' case."""
    plain = _PLAIN_LOCAL_PART.fullmatch(customer) and len(customer) <= _LOCAL_PART_CHARACTERS_MAX
    local_part = customer if plain else "x-" + hashlib.sha256(customer.encode()).hexdigest()[:32]
    return f"customer-{local_part}@{EMAIL_DOMAIN}"


def password_of(secret: bytes, email: str) -> str:
    """Derive a user's password, so that a later run can sign in without a list of passwords anywhere."""
    return urlsafe_b64encode(hmac.digest(secret, email.encode(), "sha256")).decode().rstrip("=")


def _escaped(char: str) -> str:
    return "".join(f"+{byte:02X}" for byte in char.encode())
