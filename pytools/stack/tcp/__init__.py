"""TCP (RFC 9293). Start at `connection.Connection`, which knows the order; every other file here is a piece of it."""
