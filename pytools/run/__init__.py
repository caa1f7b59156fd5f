"""The only event loop, its two clocks, and signals."""
