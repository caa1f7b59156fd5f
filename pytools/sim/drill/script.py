"""Reads packetdrill's script language. A construct that is not known is an error that names line and column."""

import re
from typing import Any, Final, NoReturn

from pytools.errors import UsageError
from pytools.sim.drill.syntax import (
    ANY,
    Apply,
    Call,
    Code,
    Command,
    Event,
    IcmpStep,
    PacketStep,
    Place,
    Script,
    Symbol,
    TcpStep,
    When,
)
from pytools.units import SECOND, Ns

_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER: Final = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_INTEGER: Final = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)")
_FLOAT: Final = re.compile(r"-?\d*\.\d+")
_FACTOR: Final = re.compile(r"[ \t]*\*[ \t]*(0[xX][0-9a-fA-F]+|\d+)")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OPTION: Final = re.compile(
    r"(?:--([A-Za-z0-9_]+)|(-D)\s*)(?:=?((?<=[=\s])(?:[A-Za-z0-9_]+=)?(?:\"[^\"]*\"|`[^`]*`|[^\s/]\S*)))?"
)
_FLAGS: Final = re.compile(r"-(?=\s)|(?:[FSRPUEWAC]+(?:\.[0-7]?|[0-7]\.)?|[0-7]?\.(?!\d{2})[0-7]?)(?=\s)")
_PORTS: Final = re.compile(r"(\d+)\s*>\s*(\d+)\s*:?")
_RANGE: Final = re.compile(r"(\d+)(?:\s*[~-]\s*(\d+))?")
_ECN: Final = ("noecn", "ect0", "ect1", "ect01", "ce")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"'}


class ScriptError(UsageError):
    """The script can't be read; the message begins with file:line:column."""


class Reader:
    """A recursive descent over the text."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._at = 0
        self._name = name
        self._line_starts = [0] + [m.end() for m in re.finditer("\n", text)]

    # Places and words.

    def _place(self, at: int | None = None) -> Place:
        at = self._at if at is None else at
        low, high = 0, len(self._line_starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._line_starts[middle] <= at else (low, middle)
        return Place(low + 1, at - self._line_starts[low] + 1)

    def _fail(self, what: str, at: int | None = None) -> NoReturn:
        raise ScriptError(f"{self._name}:{self._place(at)}: {what}")

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _peek(self, word: str) -> bool:
        self._skip()
        return self._text.startswith(word, self._at)

    def _take(self, word: str) -> bool:
        if not self._peek(word):
            return False
        self._at += len(word)
        return True

    def _expect(self, word: str) -> None:
        if not self._take(word):
            found = self._text[self._at : self._at + 12].split("\n")[0]
            self._fail(f"expected {word!r}, found {found!r}" if found else f"expected {word!r}, the script ends")

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _word(self, what: str) -> str:
        match = self._match(_WORD)
        if match is None:
            self._fail(f"expected {what}")
        return match.group()

    def _integer(self, what: str) -> int:
        match = self._match(_INTEGER)
        if match is None:
            self._fail(f"expected {what}")
        return _int(match.group())

    # The script.

    def script(self) -> Script:
        """The whole of it."""
        script = Script(self._name)
        while (match := self._match(_OPTION)) is not None:
            self._option_line(script, match)
        last = When("+")
        while True:
            self._skip()
            if self._at >= len(self._text):
                return script
            start = self._at
            last = self._when()
            action = self._action()
            text = " ".join(self._text[start : self._at].split())
            script.events.append(Event(self._place(start), last, action, text))

    def _option_line(self, script: Script, match: re.Match[str]) -> None:
        name, text = match[1], match[3] or ""
        if match[2] or name == "define":
            word, _, value = text.partition("=")
            script.defines[word] = value
        else:
            script.options[name] = text.strip('"')

    def _when(self) -> When:
        """+.1 | 0.1 | * | 1~2 | +1~+2 | 0...0.2; without a time, right after the last event."""
        if self._take("*"):
            return When("*")
        kind = "+" if self._take("+") else "="
        match = self._match(_NUMBER)
        if match is None:
            if kind == "+":
                self._fail("expected a time")
            return When("+")
        number = match.group()
        if number.endswith(".") and self._text.startswith("..", self._at):
            self._at -= 1
            number = number[:-1]
        when = When(kind, _ns(number))
        if self._take("~"):
            self._take("+")
            when.latest = _ns(self._time())
        elif self._text.startswith("...", self._at):
            self._at += 3
            self._take("+")
            when.until = _ns(self._time())
        return when

    def _time(self) -> str:
        match = self._match(_NUMBER)
        if match is None:
            self._fail("expected a time")
        return match.group()

    def _action(self) -> Any:
        if self._take("<"):
            return self._packet(True)
        if self._take(">"):
            return self._packet(False)
        if self._take("`"):
            return Command(self._until("`"))
        if self._take("%{"):
            place = self._place()
            return Code(self._until("}%"), place)
        return self._call()

    def _until(self, end: str) -> str:
        found = self._text.find(end, self._at)
        if found < 0:
            self._fail(f"{end!r} is missing")
        text = self._text[self._at : found]
        self._at = found + len(end)
        return text

    # Packets.

    def _packet(self, inbound: bool) -> PacketStep:
        packet = PacketStep(inbound)
        self._brackets(packet)
        self._port_pair(packet)
        if self._text.startswith("icmp", self._at):
            packet.icmp = self._icmp()
        elif self._peek("udp"):
            packet.udp_length = self._udp(packet)
        else:
            packet.tcp = self._tcp()
            if self._take("{"):
                packet.mutation = self._until("}").strip()
        return packet

    def _port_pair(self, packet: PacketStep) -> None:
        ports = self._match(_PORTS)
        if ports is not None:
            packet.ports = (int(ports[1]), int(ports[2]))

    def _brackets(self, packet: PacketStep) -> None:
        """[ect0], (tos 0x10), [ttl 64], [ce, ttl 64]."""
        while self._peek("[") or self._peek("("):
            end = "]" if self._take("[") else ")"
            self._take("(")
            while not self._take(end):
                at = self._at
                word = self._word("ECN bits, tos, ttl or flowlabel")
                if word in _ECN:
                    packet.ecn = word
                elif word in ("tos", "class"):
                    packet.tos = self._integer("a number")
                elif word in ("ttl", "hlim"):
                    packet.ttl = self._integer("a number")
                elif word in ("flowlabel", "id"):
                    self._integer("a number")
                else:
                    self._fail(f"unknown IP field {word!r}", at)
                self._take(",")
        self._skip()

    def _tcp(self) -> TcpStep:
        segment = TcpStep()
        flags = self._match(_FLAGS)
        if flags is None:
            at = self._at
            found = self._match(_WORD)
            self._fail(f"unknown packet {found.group()!r}" if found else "expected TCP flags, udp or icmp", at)
        segment.flags = flags.group()
        self._range(segment)
        while True:
            if self._keyword("ack"):
                segment.ack = self._integer("a number")
            elif self._keyword("win"):
                segment.window = self._integer("a window")
            elif self._keyword("urg"):
                segment.urgent = self._integer("a pointer")
            else:
                break
        if self._take("<"):
            self._options(segment)
        return segment

    def _keyword(self, word: str) -> bool:
        return self._match(re.compile(word + r"(?![A-Za-z0-9_(])")) is not None

    def _range(self, segment: TcpStep) -> None:
        segment.seq = self._integer("a sequence number")
        if not self._take(":"):
            segment.length = 0
            return
        end = self._integer("the end of the sequence range")
        self._expect("(")
        segment.length = self._integer("a length")
        self._expect(")")
        if (segment.seq + segment.length) & 0xFFFFFFFF != end & 0xFFFFFFFF:
            self._fail(f"{segment.seq}:{end} is not {segment.length} octets")

    def _options(self, segment: TcpStep) -> None:
        while not self._take(">"):
            if self._take("..."):
                segment.options_any = True
            else:
                segment.options.append(self._option())
            if not self._take(",") and not self._peek(">"):
                self._fail("expected ',' or '>' after a TCP option")

    def _option(self) -> tuple[str, tuple[Any, ...]]:
        at = self._at
        word = self._word("a TCP option")
        if word in ("nop", "eol", "sackOK"):
            return word, ()
        if word == "mss":
            match = self._match(_RANGE)
            if match is None:
                self._fail("expected a size")
            low = int(match[1])
            return word, (low,) if match[2] is None else (low, int(match[2]))
        if word == "wscale":
            return word, (self._integer("a number"),)
        if word == "TS":
            self._expect("val")
            value = self._integer_or_any("TSval")
            self._expect("ecr")
            return word, (value, self._integer_or_any("TSecr"))
        if word == "sack":
            return word, tuple(self._sack_blocks())
        if word == "ECN":
            return word, tuple(self._ecn_counters())
        if word not in ("FO", "FOEXP", "md5"):
            self._fail(f"unknown TCP option {word!r}", at)
        cookie = self._match(re.compile(r"[0-9a-fA-F]+(?![\w])|[A-Za-z_]\w*"))
        return word, (cookie.group() if cookie else "",)

    def _integer_or_any(self, what: str) -> Any:
        return ANY if self._take("...") else self._integer(what)

    def _ecn_counters(self) -> list[tuple[str, int]]:
        """AccECN: e1b 1 ceb 0 e0b 1, in the order of the option."""
        counters = []
        while (match := self._match(re.compile(r"(e0b|e1b|ceb)\s+(\d+)"))) is not None:
            counters.append((match[1], int(match[2])))
        return counters

    def _sack_blocks(self) -> list[tuple[int, int]]:
        blocks = []
        while (match := self._match(re.compile(r"(\d+)\s*:\s*(\d+)"))) is not None:
            blocks.append((int(match[1]), int(match[2])))
        return blocks

    def _udp(self, packet: PacketStep | None = None) -> int:
        self._expect("udp")
        if packet is not None:
            self._port_pair(packet)
        self._expect("(")
        length = self._integer("a length")
        self._expect(")")
        return length

    def _icmp(self) -> IcmpStep:
        word = self._word("icmp")
        if word not in ("icmp", "icmpv6", "icmp6"):
            self._fail(f"unknown packet {word!r}")
        icmp = IcmpStep(self._word("an ICMP type"), "")
        code = self._match(re.compile(r"(?!mtu\b|id\b)[A-Za-z_]\w*(?![\w(.])"))
        icmp.code = code.group() if code is not None else ""
        if self._keyword("mtu"):
            icmp.mtu = self._integer("an MTU")
        if self._keyword("id"):
            icmp.ident = self._integer("an identifier")
        if self._take("["):
            self._quoted(icmp)
            self._expect("]")
        return icmp

    def _quoted(self, icmp: IcmpStep) -> None:
        """What an ICMP error is about: [udp (10)], [raw (10)] or [1:1001(1000)]."""
        if self._peek("udp"):
            icmp.protocol, icmp.quoted_length = "udp", self._udp()
        elif self._take("raw"):
            self._expect("(")
            icmp.protocol, icmp.quoted_length = "raw", self._integer("a length")
            self._expect(")")
        else:
            quoted = TcpStep()
            self._range(quoted)
            icmp.quoted_seq, icmp.quoted_length = quoted.seq, quoted.length

    # Calls and values.

    def _call(self) -> Call:
        at = self._at
        name = self._word("a packet, a call, a command or code")
        if not self._peek("("):
            self._fail(f"unknown construct {name!r}", at)
        arguments = self._arguments()
        self._expect("=")
        result = self._value()
        errno, note = None, ""
        match = self._match(re.compile(r"E[A-Z0-9]+\b|EAGAIN\b"))
        if match is not None:
            errno = match.group()
        self._skip()
        if errno is not None and self._take("("):
            note = self._until(")")
        elif self._peek("(") and not self._peek("(("):
            self._take("(")
            note = self._until(")")
        return Call(name, arguments, result, errno, note)

    def _arguments(self) -> list[Any]:
        self._expect("(")
        values: list[Any] = []
        while not self._take(")"):
            values.append(self._value())
            if not self._take(",") and not self._peek(")"):
                self._fail("expected ',' or ')' in the arguments")
        return values

    def _value(self) -> Any:
        value = self._simple()
        while self._take("|"):
            right = self._simple()
            value = Apply("|", [value, right])
        return value

    def _simple(self) -> Any:
        if self._take("..."):
            return ANY
        if self._take("["):
            return self._list("]")
        if self._take("{"):
            return self._braces()
        if (match := self._match(_STRING)) is not None:
            text = re.sub(r"\\(x[0-9a-fA-F]{2}|.)", _unescape, match[1])
            while (more := self._match(_STRING)) is not None:
                text += re.sub(r"\\(x[0-9a-fA-F]{2}|.)", _unescape, more[1])
            return text
        if (match := self._match(_FLOAT)) is not None:
            return float(match.group())
        if (match := self._match(_INTEGER)) is not None:
            return self._after_integer(_int(match.group()))
        word = self._word("a value")
        if self._peek("("):
            return Apply(word, self._arguments())
        return Symbol(word)

    def _after_integer(self, value: int) -> int:
        """`2*3` is written out in some scripts; a `*` on the next line is a time."""
        while (factor := _FACTOR.match(self._text, self._at)) is not None:
            self._at = factor.end()
            value *= _int(factor[1])
        return value

    def _list(self, end: str) -> list[Any]:
        values: list[Any] = []
        while not self._take(end):
            values.append(self._value())
            if not self._take(",") and not self._peek(end):
                self._fail(f"expected ',' or {end!r}")
        return values

    def _braces(self) -> Any:
        """{a=1, b=...} is a dict, {a, b} a tuple."""
        named: dict[str, Any] = {}
        plain: list[Any] = []
        while not self._take("}"):
            match = self._match(re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\s*(?:\(\s*(?:\d+|\.\.\.)\s*\))?\s*=(?!=)"))
            if match is not None:
                named[match[1]] = self._value()
            else:
                plain.append(self._value())
            if not self._take(",") and not self._peek("}"):
                self._fail("expected ',' or '}'")
        return named if named or not plain else tuple(plain)


def _unescape(match: re.Match[str]) -> str:
    word = match[1]
    return chr(int(word[1:], 16)) if word[0] == "x" and len(word) == 3 else _ESCAPES.get(word, word)


def _int(text: str) -> int:
    """Decimal, also with zeros before it, or 0x hexadecimal."""
    return int(text, 16) if "x" in text or "X" in text else int(text)


def _ns(text: str) -> Ns:
    """Seconds in decimal, without rounding through a float."""
    whole, _, fraction = text.partition(".")
    return int(whole or 0) * SECOND + int((fraction + "000000000")[:9])


def parse(text: str, name: str = "script") -> Script:
    """Read a script; ScriptError names file, line and column."""
    return Reader(text, name).script()
