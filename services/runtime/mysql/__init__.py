"""MySQL and MariaDB: an adapter of its own, from the outside in.

`database` is the `Database` port, `engine` a Piccolo engine on the same transactions (`transaction`). `dialect` turns
the port's SQL into the server's, on `tokens`, with `inserts` and `tables` for their statements and `refusals` for what
has no equal; `bulk` and `packing` write many rows. `pool` lends sessions, `session` is an open connection that aiomysql
made, `wire` sends packets of statements over it and `results` reads the answers. README.md tells how to use it.
"""
