"""The plumbing that every service stands on. It knows no business noun and imports no service."""
