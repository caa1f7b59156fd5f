"""ping's lines, to the byte those of iputils 20250605, and what we add to them when asked.

    text = PingText(sys.stdout, sys.stderr, targets, options, names, epoch_ns)
    text.header()
    driver.run(...)            # with text.on_event as its callback
    text.summary(summaries)

Everything that comes from the network (names, payload octets) is made safe before it is written.
"""

import errno as errnos
from collections import deque
from collections.abc import Callable, Sequence
from os import strerror
from struct import pack, unpack
from typing import Any, Protocol

from pytools.engine import EngineEvent
from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.render.escape import escape
from pytools.render.icmp_words import error_words
from pytools.render.ping_options import option_addresses, option_lines
from pytools.render.style import Style
from pytools.units import MS, SECOND, Ns
from pytools.wire.addr import format_ip, is_link_local


class Writer(Protocol):
    """What lines go to."""

    def write(self, text: str, /) -> Any:
        """Take text."""

    def flush(self) -> None:
        """Pass on what was taken."""


class Names(Protocol):
    """Reverse names, looked up elsewhere."""

    def name(self, address: bytes) -> str | None:
        """The name of an address, "" if it has none, None if the answer is still to come."""


class NoNames:
    """Numeric output."""

    def name(self, address: bytes) -> str | None:
        """Always none."""
        return ""


class ShownTarget:
    """What a line says of a target: `name` as in the header, the zone of its addresses, who the probes come from."""

    __slots__ = ("address", "flow_label", "from_text", "name", "option_octets", "size", "zone")

    def __init__(
        self,
        name: str,
        address: bytes,
        size: int = 56,
        *,
        zone: str = "",
        from_text: str = "",
        option_octets: int = 0,
        flow_label: int = 0,
    ) -> None:
        self.name = name
        self.address = address
        self.size = size
        self.zone = zone
        self.from_text = from_text
        """"10.0.0.1 eth0", with -I or -B only."""
        self.option_octets = option_octets
        self.flow_label = flow_label


class TextOptions:
    """Which lines, and how."""

    __slots__ = (
        "audible",
        "flood",
        "lost",
        "precise",
        "print_tos",
        "program",
        "quiet",
        "stamp",
        "style",
        "verbose",
        "width",
    )

    def __init__(self, **settings: Any) -> None:
        self.quiet = False
        self.flood = False
        self.verbose = False
        self.audible = False
        self.precise = False
        """-3: three decimals whatever the time."""
        self.print_tos = False
        self.lost = False
        """A line for each lost probe."""
        self.stamp = ""
        """unix, iso or relative: what to start a line with."""
        self.style = Style()
        self.width = 0
        """Columns of the terminal, 0 for a pipe: how many dots a flood may show."""
        self.program = "ping"
        """What starts a line on stderr."""
        for name, value in settings.items():
            setattr(self, name, value)


class PingText:
    """Turns ping events into lines, in order; a line whose names are not known yet holds those behind it back."""

    def __init__(
        self,
        out: Writer,
        err: Writer,
        targets: Sequence[ShownTarget],
        options: TextOptions,
        names: Names | None = None,
        epoch_ns: Ns = 0,
    ) -> None:
        self._out = out
        self._err = err
        self._targets = targets
        self._options = options
        self._names: Names = names or NoNames()
        self._epoch_ns = epoch_ns
        self._held: deque[EngineEvent] = deque()
        self._routes: dict[int, bytes] = {}
        """The recorded route of each target's last reply."""
        self._dots = 0
        self._several = len(targets) > 1
        self._first_at: Ns | None = None
        self._lines: dict[type, Callable[[Any], str]] = {
            events.Replied: self._reply,
            events.ErrorReported: self._error,
            events.NoAnswerYet: self._no_answer_yet,
            events.Lost: self._lost,
            events.TargetDone: self._done,
        }

    # --- before and after ---------------------------------------------------------------------------------------------

    def header(self) -> None:
        """The line that names the target."""
        self._out.write(header_line(self._targets) + "\n")
        self._out.flush()

    def interim(self, summary: Summary, to: Writer | None = None) -> None:
        """SIGQUIT: one line on stderr."""
        stream = to or self._err
        stream.write(f"\r{interim_line(summary)}\n")
        stream.flush()

    def note(self, message: str) -> None:
        """A warning, on stderr."""
        self._err.write(f"{self._options.program}: {message}\n")
        self._err.flush()

    # --- events -------------------------------------------------------------------------------------------------------

    def on_event(self, event: EngineEvent) -> None:
        """Print what an event deserves, now or when its names are known."""
        if self._held or not self._names_known(event):
            self._held.append(event)
        else:
            self._print(event)

    def release(self, *, force: bool = False) -> None:
        """Print the lines held back whose names have come; all of them with `force`."""
        while self._held and (force or self._names_known(self._held[0])):
            self._print(self._held.popleft())

    @property
    def holding(self) -> bool:
        """Whether a line waits for a name."""
        return bool(self._held)

    def _names_known(self, event: EngineEvent) -> bool:
        if type(event) is events.Replied:
            addresses = (event.src, *option_addresses(event.options)) if event.options else (event.src,)
        elif type(event) is events.ErrorReported:
            addresses = (event.src, event.gateway) if event.gateway else (event.src,)
        else:
            return True
        known = [self._names.name(address) is not None for address in addresses]  # asks for all of them at once
        return all(known)

    def _print(self, event: EngineEvent) -> None:
        if type(event) is events.SendRefused:
            self._refused(event)
        elif type(event) is events.ClockWarning:
            self.note(f"Warning: time of day goes back ({-event.by_ns // 1000}us), taking countermeasures")
        elif self._options.flood and type(event) is not events.NoAnswerYet:
            self._flood(event)
        elif (line := self._lines.get(type(event))) is not None and (text := line(event)):
            self._out.write(f"{self._stamp(event.now)}{text}\n")
            self._out.flush()

    def _stamp(self, now: Ns) -> str:
        form = self._options.stamp
        if not form:
            return ""
        if self._first_at is None:
            self._first_at = now
        return f"[{format_stamp(form, self._epoch_ns, now, self._first_at)}] "

    # --- lines --------------------------------------------------------------------------------------------------------

    def _reply(self, reply: events.Replied) -> str:
        options = self._options
        if options.quiet:
            return ""
        ident = f" ident={reply.ident}" if options.verbose else ""
        start = (
            f"{reply.length} bytes from {self._address(reply.target, reply.src)}: icmp_seq={reply.seq & 0xFFFF}{ident}"
        )
        start += f" ttl={reply.ttl}"
        if options.print_tos:
            start += f" tos=0x{reply.tos:02x}"
        if reply.flags & events.TRUNCATED:
            return f"{start} (truncated)"
        time = ""
        if reply.rtt_ns is not None and reply.size >= TIMEVAL_OCTETS:
            time = options.style.dim(f" time={format_rtt(reply.rtt_ns // 1000, precise=options.precise)} ms")
        bell = "\a" if options.audible else ""
        return f"{start}{time}{self._oddities(reply)}{_wrong_data(reply)}{bell}{self._ip_options(reply)}"

    def _oddities(self, reply: events.Replied) -> str:
        flags = reply.flags
        words = ""
        if flags & events.DUPLICATE and (not flags & events.MULTICAST or self._options.verbose):
            words += " (DUP!)"
        if flags & events.BAD_CHECKSUM:
            words += " (BAD CHECKSUM!)"
        if flags & events.DIFFERENT_ADDRESS:
            words += " (DIFFERENT ADDRESS!)"
        return self._options.style.yellow(words)

    def _ip_options(self, reply: events.Replied) -> str:
        if not reply.options:
            return ""
        before = self._routes.get(reply.target, b"")
        text, self._routes[reply.target] = option_lines(
            reply.options, before, lambda address: self._address(reply.target, address)
        )
        return text

    def _error(self, error: events.ErrorReported) -> str:
        if self._options.quiet:
            return ""
        gateway = self._address(error.target, error.gateway) if error.gateway else "0.0.0.0"
        words = error_words(error.family, error.type, error.code, error.info, gateway)
        colon = "" if error.is_failure else ":"
        aside = f" (for {self._name(error.target)})" if self._several else ""
        line = f"From {self._address(error.target, error.src)}{colon} icmp_seq={error.seq & 0xFFFF} {words}{aside}"
        line = self._options.style.red(line)
        if self._options.verbose and not error.is_failure and error.quoted:
            line += "\n" + quoted_header(error.quoted)
        return line

    def _no_answer_yet(self, event: events.NoAnswerYet) -> str:
        of = f" from {self._name(event.target)}" if self._several else ""
        return f"no answer yet{of} for icmp_seq={event.seq % 65536}"

    def _lost(self, event: events.Lost) -> str:
        if self._options.quiet or not self._options.lost:
            return ""
        of = f" from {self._name(event.target)}" if self._several else ""
        within = f"{event.waited_ns / MS:g} ms"
        return self._options.style.red(f"no reply{of} for icmp_seq={event.seq & 0xFFFF} within {within}")

    def _done(self, event: events.TargetDone) -> str:
        name = self._name(event.target)
        if not event.alive:
            return self._options.style.red(f"{name} is unreachable")
        time = f" ({format_rtt(event.rtt_ns // 1000)} ms)" if event.rtt_ns is not None else ""
        return f"{name} is alive{time}"

    def _refused(self, event: events.SendRefused) -> None:
        if self._options.quiet:
            return
        if self._options.flood:
            self._dots_out("E")
        elif event.errno == errnos.EMSGSIZE:
            mtu = f"mtu={event.mtu}" if event.family == 4 else f"mtu: {event.mtu}"
            self.note(f"local error: message too long, {mtu}")
        else:
            self.note(f"sendmsg: {strerror(event.errno)}")

    def _flood(self, event: EngineEvent) -> None:
        if self._options.quiet:
            return
        if type(event) is events.ProbeSent:
            self._dots += 1
            if not self._options.width or self._dots < self._options.width:
                self._dots_out(".")
        elif type(event) is events.Replied:
            self._dots -= 1
            bell = "\a" if self._options.audible else ""
            self._dots_out("\bC" if event.flags & events.BAD_CHECKSUM else f"\b \b{bell}")
        elif type(event) is events.ErrorReported and event.is_failure:
            self._dots -= 1
            self._dots_out("\bE")

    def _dots_out(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    # --- names --------------------------------------------------------------------------------------------------------

    def _name(self, target: int) -> str:
        return escape(self._targets[target].name)

    def _address(self, target: int, address: bytes) -> str:
        zone = self._targets[target].zone if is_link_local(address) else ""
        numeric = format_ip(address) + (f"%{zone}" if zone else "")
        name = escape(self._names.name(address) or "")
        return f"{name} ({numeric})" if name and name != numeric else numeric


TIMEVAL_OCTETS = 16
"""A payload of this size carries the time, and only then ping shows times."""


def header_line(targets: Sequence[ShownTarget]) -> str:
    """`PING name (address) 56(84) bytes of data.`; with several targets, how many they are."""
    first = targets[0]
    if len(targets) > 1:
        return f"PING {len(targets)} targets, {first.size} data bytes"
    zone = f"%{first.zone}" if first.zone and "%" in first.name else ""
    line = f"PING {escape(first.name)} ({format_ip(first.address)}{zone}) "
    if first.flow_label:
        line += f", flow 0x{first.flow_label:05x}, "
    if first.from_text:
        line += f"from {first.from_text}: "
    if len(first.address) == 16:
        return f"{line}{first.size} data bytes"
    return f"{line}{first.size}({first.size + 8 + first.option_octets + 20}) bytes of data."


def summary_lines(summary: Summary) -> list[str]:
    """The statistics: a title, the counts, and a line of times that may be empty."""
    counts = f"{summary.sent} packets transmitted, {summary.received} received"
    if summary.duplicates:
        counts += f", +{summary.duplicates} duplicates"
    if summary.corrupted:
        counts += f", +{summary.corrupted} corrupted"
    if summary.errors:
        counts += f", +{summary.errors} errors"
    if summary.sent:
        counts += f", {format_percent(summary.loss_percent)}% packet loss"
        counts += f", time {(summary.elapsed_ns + MS // 2) // MS}ms"
    return [f"--- {escape(summary.name)} ping statistics ---", counts, times_line(summary)]


def times_line(summary: Summary) -> str:
    """`rtt min/avg/max/mdev = ... ms, pipe 3, ipg/ewma ... ms`, as far as there is something to say."""
    parts = []
    rtt = summary.rtt
    if summary.received and summary.timed:
        figures = "/".join([ms(value) for value in (rtt.min_us, rtt.avg_us, rtt.max_us, rtt.mdev_us)])
        parts.append(f"rtt min/avg/max/mdev = {figures} ms")
    if summary.pipe > 1:
        parts.append(f"pipe {summary.pipe}")
    if summary.ipg_us is not None:
        parts.append(f"ipg/ewma {ms(summary.ipg_us)}/{ms(rtt.ewma_us)} ms")
    return ", ".join(parts)


def interim_line(summary: Summary) -> str:
    """`2/2 packets, 0% loss, min/avg/ewma/max = 0.057/0.067/0.059/0.078 ms`."""
    loss = (summary.sent - summary.received) * 100 // summary.sent if summary.sent else 0
    line = f"{summary.received}/{summary.sent} packets, {loss}% loss"
    if summary.received and summary.timed:
        rtt = summary.rtt
        figures = "/".join([ms(value) for value in (rtt.min_us, rtt.avg_us, rtt.ewma_us, rtt.max_us)])
        line += f", min/avg/ewma/max = {figures} ms"
    return line


def format_rtt(us: int, *, precise: bool = False) -> str:
    """Milliseconds with as many decimals as ping shows: three below 1 ms, then two, one, none."""
    if precise or us < 1000:
        return ms(us)
    if us >= 100_000 - 50:
        return str((us + 500) // 1000)
    if us >= 10_000 - 5:
        return f"{(us + 50) // 1000}.{(us + 50) % 1000 // 100}"
    return f"{(us + 5) // 1000}.{(us + 5) % 1000 // 10:02d}"


def ms(us: int) -> str:
    """Microseconds as milliseconds with three decimals."""
    return f"{us // 1000}.{us % 1000:03d}"


def format_percent(percent: float) -> str:
    """A percentage as C's %g prints it after a trip through single precision."""
    single = unpack("f", pack("f", percent))[0]
    return f"{single:g}"


def format_stamp(form: str, epoch_ns: Ns, now: Ns, first_at: Ns) -> str:
    """An instant as `unix` (seconds since 1970), `iso` (UTC) or `relative` (seconds since the first line)."""
    if form == "relative":
        since = now - first_at
        return f"{since // SECOND}.{since % SECOND // 1000:06d}"
    wall = epoch_ns + now
    if form == "unix":
        return f"{wall // SECOND}.{wall % SECOND // 1000:06d}"
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(wall // SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall % SECOND // 1000:06d}Z"


def _wrong_data(reply: events.Replied) -> str:
    """The first octet that is not what was sent, and a dump of all from the 16th."""
    if reply.wrong_at < 0:
        return ""
    at = reply.wrong_at
    lines = [f"\nwrong data byte #{at} should be 0x{reply.expected:x} but was 0x{reply.payload[at]:x}"]
    for start in range(TIMEVAL_OCTETS, reply.size, 32):
        row = "".join([f"{octet:x} " for octet in reply.payload[start : min(start + 32, reply.size)]])
        lines.append(f"\n#{start}\t{row}")
    return "".join(lines)


def quoted_header(packet: bytes) -> str:
    """The IPv4 header inside a redirect or source quench (-v)."""
    if len(packet) < 20:
        return ""
    _first, tos, length, ident, fragment, ttl, protocol, check = unpack("!BBHHHBBH", packet[:12])
    src, dst = format_ip(packet[12:16]), format_ip(packet[16:20])
    return (
        "Vr HL TOS  Len   ID Flg  off TTL Pro  cks      Src      Dst Data\n"
        f" {packet[0] >> 4:x}  {packet[0] & 15:x}  {tos:02x} {length:04x} {ident:04x}"
        f"   {fragment >> 13:x} {fragment & 0x1FFF:04x}"
        f"  {ttl:02x}  {protocol:02x} {check:04x} {src}  {dst} "
    )
