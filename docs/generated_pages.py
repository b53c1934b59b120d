"""Pages of the site that are made from the code each time it is built, and never by hand.

MkDocs loads this file as a hook; see `mkdocs.yml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

CHECKOUT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


def command_line() -> str:
    """Every command with its arguments and options, from typer."""
    from corun.apps.cli import app

    lines = [
        "# Command line",
        "",
        "`corun COMMAND --help` prints the same. Every command returns these exit statuses:",
        "",
        *_table(
            ("status", "meaning"),
            [
                ("0", "everything was done"),
                ("1", "something given could not be used, or a picture failed"),
                ("2", "wrong usage"),
                ("130", "interrupted"),
            ],
        ),
    ]
    for path, command in _commands(typer.main.get_command(app), "corun"):
        paragraphs = (command.help or "").strip().replace("\b\n", "").split("\n\n")
        help_text = "\n\n".join(
            f"    {text}" if text.startswith("corun ") else text for text in paragraphs
        )
        arguments = "".join(
            f" {one.metavar or one.name.upper()}"
            for one in command.params
            if one.param_type_name == "argument"
        )
        rows = [_parameter(one) for one in command.params if one.name != "help"]
        lines += ["", f"## `{path}`", "", help_text, ""]
        lines += ["```text", f"{path} [OPTIONS]{arguments}", "```", ""]
        lines += _table(("parameter", "meaning", "default"), rows)
    return "\n".join(lines) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, child in inner.items():
        if not child.hidden:
            yield from _commands(child, f"{path} {name}")


def _parameter(one: Any) -> tuple[str, str, str]:
    value = one.metavar or one.name.upper()
    if one.param_type_name == "argument":
        names, flag = f"`{value}`", False
    else:
        flag = one.is_flag
        names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
        names += "" if flag else f" {value}"
    default = one.default
    given = isinstance(default, str | int | float | Path) and not flag and str(default) != ""
    return names, one.help or "", f"`{default}`" if given else "required" if one.required else ""


def metrics() -> str:
    """The table of metrics, from the code's own."""
    from corun.metrics.table import METRICS

    rows = [
        (
            f"`{one.name}`",
            one.title,
            one.kind,
            {"neither": "neither way"}.get(one.better, one.better),
            one.score_range,
            one.source,
            "; ".join(f"`{file.key}`: {file.what}" for file in one.files)
            or ("the package pyiqa, which downloads its weights" if one.downloads else ""),
        )
        for one in METRICS.values()
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            "`corun evaluate --list-metrics` prints them. `pyiqa:NAME` is any metric of the",
            "package pyiqa, if you installed it. Files are given as `--weights KEY=FILE`.",
            "A *guard* is no score of quality. It shows that a picture was not merely darkened,",
            "over-saturated or clipped. See [Judging without truth](../explanation/judging.md).",
            "",
            *_table(("name", "title", "kind", "better", "range", "source", "needs"), rows),
            "",
            "With boxes and a `--detector`, average precision is computed too, in three forms:",
            "`map-voc07` (11 points, IoU 0.5), `map-voc` (all points, IoU 0.5) and `map-coco`",
            "(101 points, IoU 0.50 to 0.95).",
            "",
        ]
    )


def data_sets() -> str:
    """The catalogue of data sets, from the code's own."""
    from corun.data.datasets.catalogue import DATASETS

    def layout(card: Any) -> str:
        parts = [
            ("photos", card.layout.images),
            ("clear", card.layout.references),
            ("boxes", card.layout.annotations),
            ("depth", card.layout.depths),
        ]
        return "; ".join(
            f"{what}: " + " or ".join(f"`{folder or '.'}`" for folder in folders)
            for what, folders in parts
            if folders
        )

    rows = [
        (
            f"`{card.name}`",
            card.title + (f" ({card.note})" if card.note else ""),
            "" if card.count is None else str(card.count),
            layout(card),
            f"<{card.where}>" if card.where.startswith("http") else card.where,
        )
        for card in DATASETS.values()
    ]
    return "\n".join(
        [
            "# Data sets",
            "",
            "`corun data list` lists these sets. None of them comes with corun, and each has terms",
            "of its own. `corun data check NAME DIR` compares a folder with what is published:",
            "[Compare methods](../howto/evaluate.md#check-a-data-set).",
            "",
            *_table(("name", "what", "photos", "folders below DIR", "where"), rows),
            "",
            "The hazy photos of `sots-indoor` show the middle of larger clear ones. The clear ones",
            "are cut around their centre before anything is compared. In every other set, photo",
            "and reference must have one size.",
            "",
            "```python",
            "from corun.data.datasets.catalogue import open_dataset",
            "",
            'for photo in open_dataset("sots-outdoor", "SOTS/outdoor").photos:',
            "    print(photo.name, photo.image, photo.reference)",
            "```",
            "",
        ]
    )


def file_formats() -> str:
    """Picture formats from the code's table; the other files in words."""
    from corun.pictures.formats import FORMAT_OF_SUFFIX, MODES, RAW_SUFFIXES, SUFFIX_OF_FORMAT

    rows = [
        (
            name,
            ", ".join(f"`{s}`" for s, known in sorted(FORMAT_OF_SUFFIX.items()) if known == name),
            ", ".join(f"`{mode}`" for mode in MODES[name]),
            "`pip install 'corun-dehaze[heif]'`" if name == "HEIF" else "",
        )
        for name in SUFFIX_OF_FORMAT
    ]
    table = "\n".join(_table(("format", "suffixes", "Pillow modes written", "needs"), rows))
    text = (CHECKOUT / "docs" / "reference" / "file-formats.in").read_text(encoding="utf-8")
    raw = ", ".join(f"`{suffix}`" for suffix in sorted(RAW_SUFFIXES))
    return text.replace("{pictures}", table).replace("{raw}", raw)


def changelog() -> str:
    """CHANGELOG.md of the repository, its links as seen from the page."""
    return (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](../")


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    return [
        f"| {' | '.join(titles)} |",
        "|" + "---|" * len(titles),
        *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows),
    ]


def _cell(text: str) -> str:
    return " ".join(text.replace("\\|", "|").replace("|", "\\|").split())


PAGES: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "metrics": metrics,
    "data-sets": data_sets,
    "file-formats": file_formats,
    "changelog": changelog,
}
