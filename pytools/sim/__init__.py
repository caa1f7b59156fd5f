"""A network in memory: virtual clock, lossy wires, hosts that run the same stack."""
