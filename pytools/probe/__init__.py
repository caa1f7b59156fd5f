"""Active engines: each owns a `Stack` by composition and is itself an `Engine`."""
