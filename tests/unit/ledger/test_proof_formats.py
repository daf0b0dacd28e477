"""What is signed and written never changes its bytes: these were worked out once and are pinned."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from services.ledger.proof.head_file import decode_head_file, decode_key_file, encode_head_file
from services.ledger.proof.heads import (
    JwkSet,
    PublicJwk,
    SignatureError,
    SignedHead,
    TrustedKeys,
    endorse,
    head_message,
    public_jwk,
    sign_head,
    thumbprint,
)
from services.ledger.proof.key_folder import SigningKey
from services.ledger.proof.statement_document import (
    Assertion,
    OwnPosting,
    StatementAccount,
    StatementDocument,
    StatementLine,
    assertion_message,
    encode_statement,
)
from services.runtime.errors import InvalidArgumentError

AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
ID = UUID("018f0000-0000-7000-8000-000000000001")


def a_key(number: int) -> SigningKey:
    """Make a key that is the same every time."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    name = thumbprint(private.public_key().public_bytes_raw())
    return SigningKey(key_id=name, private=private, is_active=True, made_at_seconds=number)


FIRST, SECOND, THIRD = a_key(1), a_key(2), a_key(3)


def a_head(signer: SigningKey = FIRST) -> SignedHead:
    return sign_head(signer, book_id=1, tree_size=7, root=b"\x01" * 32, last_hash=b"\x02" * 32, signed_at=AT)


def first_jwk() -> PublicJwk:
    return public_jwk(FIRST.public_bytes, introduced_at=AT)


def a_statement() -> StatementDocument:
    posting = OwnPosting(
        account_sequence=1, amount_minor=-5, balance_minor=-5, salt=b"\x03" * 16, previous_hash=bytes(32)
    )
    line = StatementLine(
        sequence=3,
        kind="capture",
        recorded_at=AT,
        effective_at=AT,
        order_id=ID,
        legs=[posting, b"\x04" * 32],
        details_hash=b"\x05" * 32,
        previous_hash=b"\x06" * 32,
        path=[b"\x07" * 32],
    )
    assertion = Assertion(
        tree_size=7,
        root=b"\x01" * 32,
        last_account_sequence=1,
        balance_minor=-5,
        last_posting_hash=b"\x08" * 32,
        asserted_at=AT,
        key_id=FIRST.key_id,
        signature=b"\x09" * 64,
    )
    return StatementDocument(
        format="tradeflow-statement/1",
        book_id=1,
        account=StatementAccount(account_id=2, wallet_id=ID, currency="EUR"),
        from_account_sequence=1,
        to_account_sequence=1,
        lines=[line],
        head=a_head(),
        assertion=assertion,
        keys=[first_jwk()],
    )


def test_a_key_has_the_name_that_rfc_8037_gives_it() -> None:
    # RFC 8037, appendix A.1 to A.3.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()

    jwk = public_jwk(public, introduced_at=AT)

    assert jwk.x == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert jwk.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_head_has_its_golden_bytes() -> None:
    message = head_message(book_id=1, tree_size=7, root=b"\x01" * 32, last_hash=b"\x02" * 32, signed_at=AT)

    assert message == (
        b"\0\0\0\x17tradeflow:signed-head:1"
        + bytes.fromhex("00000008 0000000000000001 00000008 0000000000000007")
        + b"\0\0\0\x20"
        + b"\x01" * 32
        + b"\0\0\0\x20"
        + b"\x02" * 32
        + bytes.fromhex("00000008 00064bf535af1001")
    )
    assert sha256(a_head().signature).hexdigest() == "170372bd67f4480035f03d1c3de1bbe08c0bb636ae6a0049ac074a2f73b1027b"


def test_an_endorsement_has_its_golden_bytes() -> None:
    endorsed = endorse(FIRST, SECOND.public_bytes, AT)

    assert endorsed.endorsement is not None
    assert (
        sha256(endorsed.endorsement).hexdigest() == "604a8a0b0e97b8ad7f1324dab21738905d2aff2c2e9d747965c94194e45d8ecb"
    )


def test_a_statement_has_its_golden_bytes() -> None:
    assert (
        sha256(encode_statement(a_statement())).hexdigest()
        == "e742d05313fc36fcfd971106a6783f357c908b4879cc7982ebf3ba71de0c837a"
    )
    assert (
        sha256(assertion_message(a_statement())).hexdigest()
        == "5bc5199c6d0119ee9bf2328d9a1abd7ffd73b9568b0edaa10324a517e8bb90a2"
    )


def test_an_assertion_covers_all_of_the_file_but_its_own_signature() -> None:
    document = a_statement()

    resigned = replace(document, assertion=replace(document.assertion, signature=b""))
    changed = replace(document, to_account_sequence=2)

    assert assertion_message(resigned) == assertion_message(document)
    assert assertion_message(changed) != assertion_message(document)


def test_a_head_is_good_only_as_it_was_signed() -> None:
    trusted = TrustedKeys.of([first_jwk()])
    head = a_head()

    trusted.check_head(head)
    for changed in (
        replace(head, book_id=2),
        replace(head, tree_size=8),
        replace(head, root=b"\x09" * 32),
        replace(head, last_hash=b"\x09" * 32),
        replace(head, signed_at=AT.replace(microsecond=2)),
        replace(head, signature=head.signature[:-1] + b"\0"),
        replace(head, signature=b""),
        a_head(SECOND),
    ):
        with pytest.raises(SignatureError):
            trusted.check_head(changed)


def test_trust_follows_endorsements_and_nothing_else() -> None:
    first, second = first_jwk(), endorse(FIRST, SECOND.public_bytes, AT)
    third = endorse(SECOND, THIRD.public_bytes, AT)

    TrustedKeys.of([first, second, third], anchors=[first]).check_head(a_head(THIRD))
    for keys in (
        [first, third],
        [first, replace(second, endorsement=third.endorsement)],
        [first, replace(second, introduced_at=AT.replace(microsecond=2))],
        [first, public_jwk(SECOND.public_bytes, introduced_at=AT)],
        [first, replace(second, kid=third.kid)],
        [replace(first, kid="another")],
        [replace(first, x="!")],
    ):
        with pytest.raises(SignatureError):
            TrustedKeys.of(keys, anchors=[first])


def test_files_of_heads_and_keys_are_read_back() -> None:
    written = encode_head_file(a_head(), [first_jwk()])

    read = decode_head_file(written)

    assert (read.head, read.keys) == (a_head(), [first_jwk()])
    assert decode_head_file(msgspec.json.encode(a_head())).head == a_head()
    assert decode_key_file(written) == decode_key_file(msgspec.json.encode(JwkSet([first_jwk()]))) == [first_jwk()]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"head": 1}', b'{"keys": []}', b'{"keys": 1}'])
def test_what_is_no_head_and_no_key_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        decode_head_file(content)
    with pytest.raises(InvalidArgumentError):
        decode_key_file(content)
