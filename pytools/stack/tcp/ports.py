"""Who has bound which port (socket(7) SO_REUSEADDR, SO_REUSEPORT)."""


class Binding:
    """One socket's claim on `port` at `address` (b"" for any) of `family` (4, 6, or 0 for both)."""

    __slots__ = ("address", "family", "listening", "port", "reuse", "reuse_port")

    def __init__(self, address: bytes, port: int, family: int, reuse: bool, reuse_port: bool = False) -> None:
        self.address = address
        self.port = port
        self.family = family
        self.reuse = reuse
        self.reuse_port = reuse_port
        self.listening = False

    def meets(self, other: "Binding") -> bool:
        """Whether a segment could be for either."""
        if self.family and other.family and self.family != other.family:
            return False
        return not self.address or not other.address or self.address == other.address

    def conflicts(self, other: "Binding") -> bool:
        """Linux' rule: two that both say SO_REUSEADDR go together while neither listens."""
        if not self.meets(other) or (self.reuse_port and other.reuse_port):
            return False
        return not (self.reuse and other.reuse) or self.listening or other.listening


class Ports:
    """All bindings, by port."""

    __slots__ = ("_bound",)

    def __init__(self) -> None:
        self._bound: dict[int, list[Binding]] = {}

    def __contains__(self, port: int) -> bool:
        return port in self._bound

    def conflict(self, binding: Binding) -> bool:
        """Whether another socket's claim stands in the way."""
        return any(other is not binding and binding.conflicts(other) for other in self._bound.get(binding.port, ()))

    def add(self, binding: Binding) -> None:
        """The claim holds until `remove`."""
        self._bound.setdefault(binding.port, []).append(binding)

    def remove(self, binding: Binding) -> None:
        """The socket is closed."""
        claims = self._bound.get(binding.port)
        if claims is not None and binding in claims:
            claims.remove(binding)
            if not claims:
                del self._bound[binding.port]
