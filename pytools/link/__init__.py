"""The only sockets and devices. `link.base.Link` is what the driver sees of each."""
