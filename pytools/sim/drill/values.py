"""What the words, sizes and structures in a script's calls mean; the same on our stack and on the kernel."""

import re
from typing import Any, Final

from pytools.errors import UsageError
from pytools.sim.drill.constants import CONSTANTS, PORT
from pytools.sim.drill.syntax import ANY, Anything, Apply, Call, Symbol
from pytools.wire.addr import parse_ip

_NUMBER: Final = re.compile(r"-?(0[xX][0-9a-fA-F]+|\d+)")
MOST: Final = 1 << 28
"""Octets of one call at most: a size with a typing error must not fill the memory."""
_PLAIN: Final = ("htons", "htonl", "ntohs", "ntohl", "inet_addr", "inet6_addr", "inet_pton")


class UnknownError(UsageError):
    """A call, constant or form of argument that isn't known."""


class MismatchError(Exception):
    """A call gave something else than the script says."""


class Values:
    """Reads arguments; `defines` are the script's own words (`--define=NAME=VALUE`)."""

    def __init__(self, defines: dict[str, str]) -> None:
        self._defines = defines

    def value(self, argument: Any) -> Any:
        """An argument as Python's value; UnknownError for a word without meaning."""
        if isinstance(argument, Symbol):
            return self._word(str(argument))
        if isinstance(argument, Apply):
            return self._apply(argument)
        if isinstance(argument, list):
            return [self.value(element) for element in argument]
        return argument

    def _word(self, word: str) -> Any:
        if word in self._defines:
            text = self._defines[word]
            if text[:1] in ('"', "`"):
                return text[1:-1]
            if _NUMBER.fullmatch(text):
                return int(text, 16) if "x" in text.lower() else int(text)
            return self._word(text) if text != word else text
        if word in CONSTANTS:
            return CONSTANTS[word]
        raise UnknownError(f"constant {word} is not known")

    def _apply(self, argument: Apply) -> Any:
        values = [self.value(element) for element in argument.arguments]
        if argument.name == "|" and all(isinstance(value, int) for value in values):
            return int(values[0]) | int(values[1])
        if argument.name in _PLAIN:
            return values[-1] if values else ANY
        raise UnknownError(f"{argument.name}() is not known")

    def number(self, call: Call, index: int) -> int:
        """An argument that must be a number, such as a size."""
        if len(call.arguments) <= index:
            raise UnknownError(f"{call.name}() takes {index + 1} arguments")
        size = self.value(call.arguments[index])
        if not isinstance(size, int):
            raise UnknownError(f"{call.name}(): argument {index + 1} must be a number")
        return size

    def payload(self, call: Call, index: int) -> bytes:
        """The octets that a call writes: its string, or as many zeros as the size after it says."""
        size = min(self.number(call, index + 1), MOST)
        text = call.arguments[index]
        data = text.encode("latin-1", "replace") if type(text) is str else b""
        return (data + bytes(max(0, size - len(data))))[: max(0, size)]

    def vector(self, argument: Any) -> list[int]:
        """The lengths of an iovec."""
        if not isinstance(argument, list):
            raise UnknownError("an iovec is [{..., size}, ...]")
        lengths = []
        for element in argument:
            if isinstance(element, dict):
                element = (ANY, element.get("iov_len", 0))
            if not isinstance(element, tuple) or len(element) != 2:
                raise UnknownError("an iovec is [{..., size}, ...]")
            lengths.append(min(max(0, int(self.value(element[1]))), MOST))
        return lengths

    def message(self, call: Call) -> dict[str, Any]:
        """The msghdr of a sendmsg() or recvmsg()."""
        message = call.arguments[1]
        if not isinstance(message, dict) or "msg_iov" not in message:
            raise UnknownError(f"{call.name}() needs {{msg_iov=...}}")
        return message

    def endpoint(self, argument: Any, otherwise: bytes) -> tuple[bytes, int, int | None]:
        """(address, port, family or None) of a sockaddr; `...` is the usual one."""
        if isinstance(argument, Anything):
            return otherwise, PORT, None
        if not isinstance(argument, dict):
            raise UnknownError("a socket address is {sa_family = ..., sin_port = ..., sin_addr = ...} or ...")
        family = self.value(argument.get("sa_family", argument.get("sin_family", ANY)))
        port = self.value(argument.get("sin_port", argument.get("sin6_port", PORT)))
        where = self.value(argument.get("sin_addr", argument.get("sin6_addr", ANY)))
        address = otherwise
        if isinstance(where, str):
            try:
                address = parse_ip(where)
            except ValueError:
                raise UnknownError(f"{where!r} is not an address") from None
        elif where == 0:
            address = bytes(len(otherwise))
        return address, port if isinstance(port, int) else PORT, family if isinstance(family, int) else None

    def linger(self, value: Any) -> Any:
        """A structure in setsockopt: {onoff=1, linger=0} is a pair; a list counts by its first number."""
        if isinstance(value, list):
            value = value[0] if value else 0
        if isinstance(value, dict):
            fields = [self.value(field) for field in value.values()]
            value = (fields[0], fields[1]) if len(fields) == 2 else fields[0]
        return value
