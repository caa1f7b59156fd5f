"""Consumers of trace events and probe events: text, JSON, pcapng, tables."""
