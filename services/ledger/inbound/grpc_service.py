"""The ledger's gRPC door as a whole: unary commands, batches and streams of them, and reads."""

from services.ledger.inbound.grpc_commands import UnaryCommands
from services.ledger.inbound.grpc_reads import Reads
from services.ledger.inbound.grpc_stream import StreamedCommands


class LedgerGrpcService(UnaryCommands, StreamedCommands, Reads):
    """Answers the calls of ledger_service.proto."""
