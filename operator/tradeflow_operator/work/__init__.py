"""The way of a change: intake → queue → worker → status, while this process leads."""
