"""TradeFlow's services, and the way an order goes through them.

    #  what happens                                        where
    1  POST /api/v1/orders: checked, limited, proxied      gateway/inbound/
    2  the order is PENDING, its stock reserved, durable   orders/use_cases/place_order.py
    3  ReserveFunds by gRPC, key = order id                orders/outbound/ledger_client.py
                                                           → ledger/inbound/grpc_service.py
                                                           → ledger/commands/reserve_funds.py, by ledger/committer/
    4  CONFIRMED and OrderConfirmed in one transaction     orders/use_cases/, runtime/outbox.py
    5  the relay publishes to order-events                 runtime/outbox_relay.py
    6  the ledger captures the hold                        ledger/inbound/order_events.py
                                                           → ledger/commands/capture_hold.py
    7  records, postings, balances, outbox: one commit;    ledger/committer/, runtime/outbox.py
       orders reads wallet-events and is SETTLED           orders/inbound/wallet_events.py
    8  each gateway replica reads wallet-events            gateway/inbound/wallet_events.py
    9  the browser sees the new balance                    gateway/inbound/wallet_socket.py

Rooms have the same names in each service: `domain` (values and rules, no IO), the use cases, `inbound` and `outbound`
(named for the technology behind the door), `migrations`, `wiring.py`. `runtime` is plumbing and knows no business noun.
Services never import each other: they meet in the contracts of `proto/`. `embedded` runs all three in one process.

ARCHITECTURE.md has the invariants, what happens when something dies, and the decisions.
"""
