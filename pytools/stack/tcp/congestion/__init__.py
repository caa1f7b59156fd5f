"""Congestion control: how the window grows and shrinks. `base` is the contract."""
