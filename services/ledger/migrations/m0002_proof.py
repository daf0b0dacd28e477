"""The tables of the proof: written by the notary after commits, never in a commit's way.

All of it but the private keys' signatures can be computed anew from the journal. Nothing is ever changed or deleted.
"""

PHASE = "pre"

STATEMENTS = (
    # Roots of full trees of 256, 65,536, … records: node `node_index` of level L stands over the records with the
    # sequences node_index * 2^L + 1 to (node_index + 1) * 2^L. Only levels 8, 16, 24, …: leaves come from `records`.
    """
    CREATE TABLE tree_nodes (
        book_id INTEGER NOT NULL,
        level INTEGER NOT NULL,
        node_index BIGINT NOT NULL,
        hash BINARY(32) NOT NULL,
        PRIMARY KEY (book_id, level, node_index)
    )
    """,
    # Public keys, in the order in which they came into use, each signed by one before it; the first is the root of
    # trust. `key_id` is the RFC 7638 thumbprint.
    """
    CREATE TABLE signing_keys (
        book_id INTEGER NOT NULL,
        key_id VARBINARY(64) NOT NULL,
        public_key BINARY(32) NOT NULL,
        introduced_at BIGINT NOT NULL,
        endorsed_by VARBINARY(64),
        endorsement VARBINARY(64),
        PRIMARY KEY (book_id, key_id)
    )
    """,
    # Where the book stood, signed: the root over its first `tree_size` records and the hash of the last of them.
    """
    CREATE TABLE signed_heads (
        book_id INTEGER NOT NULL,
        tree_size BIGINT NOT NULL,
        root BINARY(32) NOT NULL,
        last_hash BINARY(32) NOT NULL,
        signed_at BIGINT NOT NULL,
        key_id VARBINARY(64) NOT NULL,
        signature VARBINARY(64) NOT NULL,
        PRIMARY KEY (book_id, tree_size)
    )
    """,
)
