"""Event logs behind one port.

`port` is what services code against; `opening` picks the adapter by the scheme of a URL; `sqlite` is the embedded
adapter: a log in a file that several processes share.
"""
