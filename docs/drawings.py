"""Draws the pictures of the architecture page: `python docs/drawings.py`."""

from __future__ import annotations

from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
FLOORS = (
    ("apps", "the command line and its doors"),
    ("evaluation · study · export", "tables, people, other programs"),
    ("dehazing · training · metrics", "jobs over files, the loop, the scores"),
    ("colabator", "learning from real photos"),
    ("judges", "haze density, image quality"),
    ("networks · losses · data", "what is trained, on what, towards what"),
    ("physics · statistics · pictures", "pure functions, and the door for pixels"),
    ("configuration", "recipes"),
    ("errors · files", "one line for a person, one way to write"),
)
PHOTO = (
    ("apps/dehaze_command", "what was asked"),
    ("dehazing/file_jobs", "which file goes where"),
    ("pictures", "read, upright, as RGB"),
    ("dehazing/dehazer", "reduce or pad"),
    ("dehazing/engines", "stages on cells"),
    ("physics/row_bands", "the last step at full size"),
    ("pictures", "write with metadata"),
)
TRAINING = (
    ("configs/*.yaml", "the recipe"),
    ("training/engine", "steps, checkpoints"),
    ("data", "crops in haze"),
    ("networks/corun", "every stage"),
    ("losses · colabator/adapt", "how wrong it was"),
    ("training/engine", "update, average"),
)
STYLE = (
    "<style>rect{fill:#eef1fb;stroke:#3f51b5}text{font:15px sans-serif;fill:#1a237e}"
    ".small{font-size:12px;fill:#455a64}path{stroke:#3f51b5;fill:none}"
    ".paper{fill:#fff;stroke:none}</style>"
)


def box(left: int, top: int, width: int, height: int, title: str, what: str) -> str:
    """A room with its name and what happens in it."""
    middle = left + width // 2
    return (
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="4"/>'
        f'<text x="{middle}" y="{top + 22}" text-anchor="middle">{escape(title)}</text>'
        f'<text x="{middle}" y="{top + 40}" text-anchor="middle" class="small">'
        f"{escape(what)}</text>"
    )


def arrow(left: int, top: int, across: int, down: int) -> str:
    """An arrow from a point by so many pixels."""
    x, y = left + across, top + down
    head = f"M{x - 5} {y - 5}L{x} {y}L{x - 5} {y + 5}" if across else ""
    head = head or f"M{x - 5} {y - 5}L{x} {y}L{x + 5} {y - 5}"
    return f'<path d="M{left} {top}L{x} {y}{head}"/>'


def drawing(name: str, width: int, height: int, parts: list[str]) -> None:
    """Writes a picture on white paper."""
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{STYLE}'
    paper = f'<rect class="paper" width="{width}" height="{height}"/>'
    text = "\n".join([frame, paper, *parts, "</svg>", ""])
    (IMAGES / f"{name}.svg").write_text(text, encoding="utf-8")


def house() -> None:
    """The floors from top to bottom; a floor uses those below it."""
    parts = ['<path d="M20 70L330 12L640 70Z"/>']
    parts.append('<text x="330" y="55" text-anchor="middle">corun</text>')
    for number, (title, what) in enumerate(FLOORS):
        parts.append(box(40, 76 + 54 * number, 580, 48, title, what))
    bottom = 76 + 54 * len(FLOORS)
    parts.append(arrow(650, 80, 0, bottom - 90))
    parts.append(f'<text x="660" y="{bottom // 2 + 40}" class="small">imports</text>')
    drawing("house", 720, bottom + 8, parts)


def journey(name: str, rooms: tuple[tuple[str, str], ...]) -> None:
    """Rooms in a row, in lines of four."""
    parts = []
    for number, (title, what) in enumerate(rooms):
        line, place = divmod(number, 4)
        left, top = 10 + 215 * place, 10 + 70 * line
        parts.append(box(left, top, 190, 48, title, what))
        if number + 1 < len(rooms) and place < 3:
            parts.append(arrow(left + 190, top + 24, 25, 0))
        elif number + 1 < len(rooms):
            parts.append(f'<path d="M{left + 95} {top + 48}v11H105v11"/>')
    drawing(name, 870, 20 + 70 * ((len(rooms) + 3) // 4), parts)


if __name__ == "__main__":
    house()
    journey("photo-journey", PHOTO)
    journey("training-journey", TRAINING)
