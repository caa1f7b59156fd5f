"""Bytes and fields: pure functions, no state, no clock."""
