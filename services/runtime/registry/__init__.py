"""Events in the wire format of schema registries, so that programs of others can read them.

A value says by a number which schema it follows (`wire_format`). Producers look the number up (`codec`) and never
register: that is the operator's job, or a person's with `tradeflow schemas` (`registration`). Consumers need no
registry: a Protobuf message never begins with the format's first byte, so both forms are told apart by themselves, and
services, topics and the registry can be brought in any order.
"""
