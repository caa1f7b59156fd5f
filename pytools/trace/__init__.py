"""Trace events and the hub that carries them. Rendering lives in `pytools.render`."""
