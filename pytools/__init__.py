"""pytools: a packet toolkit that carries its own TCP/IP stack."""

__version__ = "0.1.0"
