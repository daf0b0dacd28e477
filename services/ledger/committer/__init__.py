"""The one writer of a book: gather → plan → lock, compare, write, commit → answer; see `committer.py`."""
