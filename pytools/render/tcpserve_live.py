"""A live table of connections on a terminal.

rich is imported when a table is wanted, never before. What is shown are addresses, numbers and our own words, in
`Text` cells, which know no markup.
"""

from collections.abc import Callable
from typing import Any, Final

from pytools.probe.tcpserve import Client, TcpServer
from pytools.render.escape import escape
from pytools.render.tcpserve_text import format_end, summary_lines
from pytools.units import MS, SECOND, Ns

_SPARE_LINES: Final = 5
"""Of the screen: title, head, the lines below the table."""
TITLES: Final = ("client", "port", "state", "in", "out", "unsent", "cwnd", "rtt", "again", "age")


class ServeLive:
    """Draws the table when it is told to."""

    def __init__(self, server: TcpServer, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._server = server
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def start(self) -> None:
        """Take the screen; lines printed meanwhile by `say` go above the table."""
        # Drawn once unseen, so that all of rich is loaded: later we may not be allowed to read its files any more.
        with self._console.capture():
            self._console.print(self.table(0))
        self._live.start()

    def stop(self) -> None:
        """Give the screen back."""
        self._live.stop()

    def say(self, line: str) -> None:
        """A line above the table."""
        from rich.text import Text

        self._console.print(Text(escape(line)))

    def draw(self, now: Ns) -> None:
        """Show the connections as they are now, as many as fit."""
        self._live.update(self.table(now), refresh=True)

    def table(self, now: Ns) -> Any:
        """The rich table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in TITLES:
            table.add_column(title, justify="left" if title in ("client", "state") else "right", no_wrap=True)
        clients = self._server.clients
        room = max(self._console.height - _SPARE_LINES, 1)
        for client in clients[:room]:
            table.add_row(*[Text(escape(cell)) for cell in cells(client, now)])
        notes = summary_lines(self._server)
        if len(clients) > room:
            notes.insert(0, f"and {len(clients) - room} more")
        table.caption = Text("\n".join(notes), "dim")
        return table


def cells(client: Client, now: Ns) -> list[str]:
    """One row."""
    connection = client.connection
    tx = connection.tx
    return [
        format_end(client.peer),
        str(connection.key[1]),
        str(connection.state),
        str(client.bytes_in),
        str(client.bytes_out),
        str(tx.sender.unsent),
        str(tx.cc.cwnd),
        f"{tx.rtt.srtt_ns / MS:.2f} ms" if tx.rtt.srtt_ns else "-",
        str(tx.total_retransmitted),
        f"{(now - client.opened_at) / SECOND:.0f} s",
    ]


class LiveStream:
    """Takes the lines of `ServeText` and puts them above the table."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say

    def write(self, text: str) -> int:
        """Whole lines."""
        self._say(text.rstrip("\n"))
        return len(text)

    def flush(self) -> None:
        """Nothing is held."""
