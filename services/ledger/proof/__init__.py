"""The proof room: what lets others check the book without trusting whoever keeps it.

tree         the Merkle tree over the journal, kept up by the notary
heads, keys  where the book stood, signed; the keys of these signatures
statements   a wallet's postings as a file that proves itself
book files   a whole book as a file, verified on its way in
"""
