"""Reports: what each form says, that nothing is averaged away, and that HTML asks nobody."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from evaluation_pictures import save_levels
from rich.console import Console

from corun.errors import ConfigurationError
from corun.evaluation.published import published_for, published_scores
from corun.evaluation.report import MetricFacts, Report, Score, SetScore
from corun.evaluation.report_files import load_report, write_report
from corun.evaluation.report_html import html_report
from corun.evaluation.report_text import latex, markdown, rich_table, scores_csv, table_csv
from corun.evaluation.resampling import Interval

FADE = MetricFacts("fade", "1", "lower", 3, "haze density")
BRIGHTNESS = MetricFacts("brightness", "1", "neither", 3)
MAP = MetricFacts("map-voc", "1", "higher", 3)
VALUES = {
    "hazy input": (2.0, 4.0, 6.0),
    "a|b & <c>": (1.0, 2.0, None),
    "best_one": (0.5, 1.0, 1.5),
}


@pytest.fixture
def report(tmp_path: Path) -> Report:
    scores, pictures = [], {}
    for method, values in VALUES.items():
        for photo, value in zip(("p0", "p1", "p2"), values, strict=True):
            problem = "" if value is not None else "p2.png: FADE is nan"
            scores.append(Score("rtts", method, photo, "fade", value, problem))
            scores.append(Score("rtts", method, photo, "brightness", 0.5))
            path = save_levels(tmp_path / f"{photo}.png", np.full((8, 10, 3), 99, np.uint8))
            pictures.setdefault("rtts", {}).setdefault(method, {})[photo] = str(path)
    return Report(
        methods=tuple(VALUES),
        datasets={"rtts": ("p0", "p1", "p2")},
        metrics=(FADE, BRIGHTNESS, MAP),
        scores=tuple(scores),
        set_scores=(
            SetScore("rtts", "hazy input", "map-voc", 0.4, Interval(0.3, 0.5), 3, {"car": 0.4}),
            SetScore("rtts", "best_one", "map-voc", math.nan, Interval(math.nan, math.nan), 0),
        ),
        problems=("a|b & <c>, rtts/p2: p2.png: FADE is nan",),
        notes=("resized",),
        pictures=pictures,
        provenance={"command": "corun evaluate", "versions": {"torch": "2"}},
    )


def test_table(report: Report) -> None:
    table = report.table("rtts")
    cell = table["a|b & <c>"]["fade"]
    assert cell.value == 1.5
    assert (cell.scored, cell.failed, cell.place) == (2, 1, 2)
    assert table["best_one"]["fade"].place == 1
    assert table["hazy input"]["fade"].place == 0
    assert {table[m]["brightness"].place for m in VALUES} == {0}
    assert (table["hazy input"]["map-voc"].value, table["hazy input"]["map-voc"].place) == (0.4, 1)


def test_equal_values_share_a_place() -> None:
    scores = tuple(Score("d", m, "p", "fade", v) for m, v in (("a", 1.0), ("b", 1.0), ("c", 2.0)))
    report = Report(("a", "b", "c"), {"d": ("p",)}, (FADE,), scores)
    assert [report.table("d")[m]["fade"].place for m in "abc"] == [1, 1, 2]


def test_comparisons_are_of_the_photos_both_have(report: Report) -> None:
    comparison = report.comparisons("rtts", "fade")["hazy input", "a|b & <c>"]
    assert comparison.photos == 2
    assert comparison.difference == 1.5
    assert comparison.p_value == 1.0  # ½ before Holm's three comparisons


def test_csv(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(scores_csv(report))))
    assert len(rows) == 18
    failed = [row for row in rows if row["problem"]]
    assert [(row["photo"], row["value"]) for row in failed] == [("p2", "")]
    table = list(csv.DictReader(io.StringIO(table_csv(report))))
    assert next(r for r in table if r["method"] == "best_one")["mean"] == "1.0"


def test_markdown(report: Report) -> None:
    text = markdown(report, published=True)
    assert "| best_one | **1.000** [" in text
    assert r"| a\|b & <c> | *1.500* [" in text
    assert "(1 failed)" in text
    assert "Published, not measured here:" in text
    assert "| CORUN+Colabator | 0.824 | – | 0.57 |" in text
    assert "NeurIPS 2024" in text
    assert "- a|b & <c>, rtts/p2: p2.png: FADE is nan" in text
    assert "- versions torch: 2" in text
    assert "Published" not in markdown(report)


def test_latex(report: Report) -> None:
    text = latex(report)
    assert r"best\_one & \textbf{1.000}" in text
    assert r"a|b \& <c> & \underline{1.500}" in text
    assert text.count(r"\begin{tabular}") == 1


def test_terminal(report: Report) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rich_table(report, "rtts"))
    text = console.export_text()
    assert "1.500 (1 failed)" in text
    assert "fade ↓" in text


def test_labels_are_no_markup() -> None:
    scores = (Score("[/x]", "[bold]m", "p", "[/m]", 1.0),)
    report = Report(("[bold]m",), {"[/x]": ("p",)}, (MetricFacts("[/m]", "1", "lower"),), scores)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rich_table(report, "[/x]"))
    text = console.export_text()
    assert "[/x] (1 photos)" in text
    assert "[/m] ↓" in text
    assert "[bold]m" in text


class Links(HTMLParser):
    """Collects every address a page would load, and checks that its elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_self_contained_and_escaped(report: Report) -> None:
    text = html_report(report, published=True)
    page = Links()
    page.feed(text)
    assert page.open == []
    assert len(page.addresses) == 9
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", text.replace("https://", "https://", 1))
    assert "a|b &amp; &lt;c&gt;" in text
    assert "<c>" not in text
    assert 'data-value="" title="p2.png: FADE is nan"' in text


def test_files_and_back(report: Report, tmp_path: Path) -> None:
    files = write_report(report, tmp_path / "out")
    assert [path.name for path in files] == [
        "report.json",
        "report.md",
        "report.tex",
        "report.html",
        "table.csv",
        "scores.csv",
    ]
    again = load_report(tmp_path / "out")
    assert again.scores == report.scores
    assert again.to_json() == report.to_json()
    content = json.loads(files[0].read_text())
    assert content["significance"][0]["p_value"] == 1.0
    with pytest.raises(ConfigurationError, match="no report there"):
        load_report(tmp_path / "none")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="no report of corun evaluate"):
        load_report(tmp_path)


def test_published_numbers_name_their_source() -> None:
    scores = published_scores()
    assert all(score.source and score.setting for score in scores)
    assert published_for(["mine", "rtts"], ["fade"])["CORUN+Colabator"]["fade"].value == 0.824
    assert published_for(["fattal"], ["nima"])["CORUN+Colabator"]["nima"].value == 5.39
    assert len(published_for(["fattal-34", "folder"], ["fade"])) == 12
