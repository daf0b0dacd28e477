"""All commands, as one type."""

from services.ledger.commands.capture_hold import CaptureFunds
from services.ledger.commands.commit_hold import CommitHold
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.commands.housekeeping import Housekeeping
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.refund_capture import RefundCapture
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.reverse_record import ReverseRecord
from services.ledger.commands.set_limit import SetLimit
from services.ledger.commands.transfer import Transfer
from services.ledger.commands.void_hold import VoidHold
from services.ledger.commands.withdraw import Withdraw

CallersCommand = (
    OpenAccount
    | Deposit
    | Withdraw
    | Transfer
    | SetLimit
    | ReserveFunds
    | CommitHold
    | CaptureFunds
    | VoidHold
    | RefundCapture
    | ReverseRecord
)
"""What callers ask, each under a key."""

Command = CallersCommand | ExpireHold | Housekeeping
"""What the committer takes: also what the ledger tells itself."""


def legs_of(command: Command) -> int:
    """Tell in how many parts a command moves money: most have one or two, some a hundred, and as much work."""
    match command:
        case CaptureFunds():
            return len(command.allocations)
        case Transfer() | RefundCapture():
            return len(command.legs)
        case _:
            return 1
