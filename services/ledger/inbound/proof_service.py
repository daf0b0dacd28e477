"""The gRPC door to the proof: proof_service.proto."""
# ruff: noqa: N802 - the contract names the methods

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.ledger.inbound import fields
from services.ledger.inbound.authorisation import Caller, caller_of, check_may_read_wallet
from services.ledger.inbound.grpc_door import CALL_SECONDS_MAX, Context
from services.ledger.outbound.wallet_messages import timestamp_message
from services.ledger.proof.book_proofs import BookProofs
from services.ledger.proof.heads import PublicJwk, SignedHead
from services.runtime.errors import UnavailableError
from services.runtime.grpc_auth import principal_of, user_of
from services.runtime.jwt import TokenVerifier
from tradeflow.ledger.v1 import proof_service_pb2 as messages_pb2
from tradeflow.ledger.v1.proof_service_pb2_grpc import ProofServiceServicer

SERVICE_NAME: str = messages_pb2.DESCRIPTOR.services_by_name["ProofService"].full_name
"""For health and reflection."""


class ProofGrpcService(ProofServiceServicer):
    """Answers the calls of proof_service.proto."""

    def __init__(self, proofs: BookProofs, verifier: TokenVerifier) -> None:
        """Give out proofs to whom the verifier knows."""
        self._proofs = proofs
        self._verifier = verifier

    async def GetSignedHead(
        self, _request: messages_pb2.GetSignedHeadRequest, context: Context
    ) -> messages_pb2.GetSignedHeadResponse:
        """Tell the newest signed head."""
        async with self._called(context):
            return messages_pb2.GetSignedHeadResponse(head=_head_message(await self._proofs.head()))

    async def ListSigningKeys(
        self, _request: messages_pb2.ListSigningKeysRequest, context: Context
    ) -> messages_pb2.ListSigningKeysResponse:
        """Tell all public keys."""
        async with self._called(context):
            return messages_pb2.ListSigningKeysResponse(keys=map(_key_message, await self._proofs.keys()))

    async def GetStatementProof(
        self, request: messages_pb2.GetStatementProofRequest, context: Context
    ) -> messages_pb2.GetStatementProofResponse:
        """Make a statement that proves itself."""
        async with self._called(context) as caller:
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            check_may_read_wallet(caller, wallet_id)
            document = await self._proofs.statements.make(
                wallet_id,
                fields.currency_of(request.currency),
                from_account_sequence=request.from_account_sequence or 1,
                to_account_sequence=fields.sequence_of(request.to_account_sequence, "to_account_sequence"),
            )
        return messages_pb2.GetStatementProofResponse(document=document)

    async def GetConsistencyProof(
        self, request: messages_pb2.GetConsistencyProofRequest, context: Context
    ) -> messages_pb2.GetConsistencyProofResponse:
        """Prove that one tree is the beginning of another."""
        async with self._called(context):
            proof = await self._proofs.consistency(request.old_tree_size, request.tree_size)
        return messages_pb2.GetConsistencyProofResponse(
            old_tree_size=proof.old_tree_size, tree_size=proof.tree_size, root=proof.root, path=proof.path
        )

    @asynccontextmanager
    async def _called(self, context: Context) -> AsyncIterator[Caller]:
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                service = await principal_of(context, self._verifier)
                yield caller_of(service, await user_of(context, self._verifier))
        except TimeoutError as error:
            raise UnavailableError("The call took too long; ask again.", reason="timed_out") from error


def _head_message(head: SignedHead) -> messages_pb2.SignedHead:
    return messages_pb2.SignedHead(
        book_id=head.book_id,
        tree_size=head.tree_size,
        root=head.root,
        last_hash=head.last_hash,
        signed_at=timestamp_message(head.signed_at),
        key_id=head.key_id,
        signature=head.signature,
    )


def _key_message(key: PublicJwk) -> messages_pb2.SigningKey:
    return messages_pb2.SigningKey(
        key_id=key.kid,
        public_key=key.public_bytes,
        introduced_at=timestamp_message(key.introduced_at),
        endorsed_by=key.endorsed_by or "",
        endorsement=key.endorsement or b"",
    )
