"""The ledger's doors: gRPC for services, HTTP for users, the topic of orders' facts."""
