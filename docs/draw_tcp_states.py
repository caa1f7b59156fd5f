"""Draws TCP's states in docs/tcp.md from the table in pytools/stack/tcp/state.py. Run it when the table changes.

python docs/draw_tcp_states.py          writes docs/tcp.md
"""

from pathlib import Path

from pytools.stack.tcp.state import TRANSITIONS

PAGE = Path(__file__).with_name("tcp.md")
BEGIN, END = "<!-- states: begin -->\n", "<!-- states: end -->\n"


def diagram() -> str:
    """A Mermaid state diagram; moves with the same ends share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (old, event), new in TRANSITIONS.items():
        arrows.setdefault((old, new), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2"]
    for (old, new), events in arrows.items():
        lines.append(f"    {name(old)} --> {name(new)}: {' / '.join(events)}")
    return "\n".join((*lines, "```", ""))


def name(state: str) -> str:
    """Mermaid takes no hyphens."""
    return state.replace("-", "_")


def refreshed(text: str) -> str:
    """The page with the diagram of today."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + diagram() + END + after


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text()))
