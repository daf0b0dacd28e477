"""All commands, as one type."""

from services.ledger.commands.capture_hold import CaptureFunds
from services.ledger.commands.commit_hold import CommitHold
from services.ledger.commands.deposit import Deposit
from services.ledger.commands.expire_hold import ExpireHold
from services.ledger.commands.open_account import OpenAccount
from services.ledger.commands.refund_capture import RefundCapture
from services.ledger.commands.reserve_funds import ReserveFunds
from services.ledger.commands.void_hold import VoidHold

Command = OpenAccount | Deposit | ReserveFunds | CommitHold | CaptureFunds | VoidHold | RefundCapture | ExpireHold
"""What the committer takes."""
