"""The HTTP door to the proof: heads and keys for everybody, statements for the wallet's owner."""

from typing import Annotated
from uuid import UUID

from litestar import Response, get
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from services.ledger.inbound import fields
from services.ledger.proof.book_proofs import BookProofs, ConsistencyProof
from services.ledger.proof.heads import JwkSet, SignedHead
from services.runtime.errors import ForbiddenError
from services.runtime.http_auth import PUBLIC, Caller
from services.runtime.jwt import Principal

SEQUENCE_MAX = 2**53 - 1
"""Keeps numbers within what the database's integers and JSON hold."""

FILE_HEADERS = {"Content-Disposition": 'attachment; filename="statement.json"'}
"""Browsers keep the file as it is: each byte of it counts."""

Currency = Annotated[str, QueryParameter(description="An asset code, such as EUR.")]
Sequence = Annotated[int, QueryParameter(ge=0, le=SEQUENCE_MAX, description="A row's number in the account.")]
TreeSize = Annotated[int, QueryParameter(ge=0, le=SEQUENCE_MAX, description="How many records the tree has.")]


def proof_routes(proofs: BookProofs) -> list[BaseRouteHandler]:
    """Make the routes."""

    @get("/api/v1/ledger/head", operation_id="GetSignedHead", tags=["proof"], opt=PUBLIC)
    async def get_head() -> SignedHead:
        """Read where the book stood, signed; bytes are base64."""
        return await proofs.head()

    @get("/api/v1/ledger/keys", operation_id="ListSigningKeys", tags=["proof"], opt=PUBLIC)
    async def list_keys() -> JwkSet:
        """Read the public keys of heads and statements as a JWK set, in the order in which they came into use."""
        return JwkSet(await proofs.keys())

    @get("/api/v1/ledger/consistency", operation_id="GetConsistencyProof", tags=["proof"], opt=PUBLIC)
    async def get_consistency(old_tree_size: TreeSize, tree_size: TreeSize = 0) -> ConsistencyProof:
        """Prove that the tree of one head is the beginning of the newest one, or of one of another size."""
        return await proofs.consistency(old_tree_size, tree_size)

    @get("/api/v1/wallet/statement/proof", operation_id="GetStatementProof", tags=["proof"])
    async def get_statement_proof(
        principal: Caller, currency: Currency, from_account_sequence: Sequence = 1, to_account_sequence: Sequence = 0
    ) -> Response[bytes]:
        """Read a statement of the caller's wallet as a file that can be checked offline."""
        document = await proofs.statements.make(
            _own_wallet(principal),
            fields.currency_of(currency),
            from_account_sequence=from_account_sequence,
            to_account_sequence=to_account_sequence,
        )
        return Response(document, media_type="application/json", headers=FILE_HEADERS)

    return [get_head, list_keys, get_consistency, get_statement_proof]


def _own_wallet(principal: Principal) -> UUID:
    """Tell the wallet of a user; services have none."""
    if principal.is_service:
        raise ForbiddenError("Only users have wallets.", reason="user_token_required")
    return fields.id_of(principal.subject, "sub")
