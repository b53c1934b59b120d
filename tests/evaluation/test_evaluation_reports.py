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
from corun.evaluation.published import published_for, published_scores, sources_of
from corun.evaluation.report import MetricFacts, Report, Score, SetComparison, SetScore
from corun.evaluation.report_files import load_report, write_report
from corun.evaluation.report_html import html_report
from corun.evaluation.report_json import report_json
from corun.evaluation.report_text import (
    _latex_escaped,
    classes_csv,
    latex,
    markdown,
    rich_class_tables,
    rich_table,
    scores_csv,
    table_csv,
)
from corun.evaluation.resampling import Comparison, Interval

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
            SetScore(
                "rtts",
                "hazy input",
                "map-voc",
                0.4,
                Interval(0.3, 0.5),
                3,
                {"car": 0.5, "bus": 0.3},
            ),
            SetScore(
                *("rtts", "best_one", "map-voc", math.nan, Interval(math.nan, math.nan), 0),
                missing=("p0", "p1"),
            ),
        ),
        set_comparisons=(
            SetComparison(
                *("rtts", "map-voc", "hazy input", "best_one"),
                Comparison(0.125, Interval(0.1, math.inf), 0.04, 2),
            ),
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
    # a mean over the easier photos is no rival
    assert (cell.scored, cell.failed, cell.place) == (2, 1, 0)
    assert table["best_one"]["fade"].place == 1
    assert table["hazy input"]["fade"].place == 2
    assert (table["best_one"]["map-voc"].scored, table["best_one"]["map-voc"].failed) == (0, 2)
    assert {table[m]["brightness"].place for m in VALUES} == {0}
    assert (table["hazy input"]["map-voc"].value, table["hazy input"]["map-voc"].place) == (0.4, 1)


def test_equal_values_share_a_place() -> None:
    scores = tuple(Score("d", m, "p", "fade", v) for m, v in (("a", 1.0), ("b", 1.0), ("c", 2.0)))
    report = Report(("a", "b", "c"), {"d": ("p",)}, (FADE,), scores)
    assert [report.table("d")[m]["fade"].place for m in "abc"] == [1, 1, 2]


def test_a_photo_that_nobody_could_score_keeps_nobody_from_a_place() -> None:
    values = {"a": (1.0, None), "b": (2.0, None)}
    scores = tuple(
        Score("d", method, photo, "fade", value)
        for method, own in values.items()
        for photo, value in zip("pq", own, strict=True)
    )
    table = Report(("a", "b"), {"d": ("p", "q")}, (FADE,), scores).table("d")
    assert [table[m]["fade"].place for m in "ab"] == [1, 2]


def test_infinite_scores_win_and_are_told_honestly(tmp_path: Path) -> None:
    psnr = MetricFacts("psnr", "1", "higher", 2)
    values = {"truth": (math.inf, math.inf), "half": (math.inf, 30.0), "far": (40.0, 41.0)}
    scores = tuple(
        Score("d", method, photo, "psnr", value)
        for method, own in values.items()
        for photo, value in zip("pq", own, strict=True)
    )
    report = Report(tuple(values), {"d": ("p", "q")}, (psnr,), scores)
    cells = {method: own["psnr"] for method, own in report.table("d").items()}
    assert [cells[method].place for method in values] == [1, 2, 0]
    assert cells["truth"].interval == (math.inf, math.inf)
    assert (cells["half"].infinite, cells["half"].finite_mean) == (1, 30)
    assert cells["half"].interval == (30, math.inf)
    text = markdown(report)
    assert "| truth | **∞** [∞, ∞] |" in text
    assert "| half | *∞* [30.00, ∞] (1 ∞, the others 30.00) |" in text
    assert r"truth & \textbf{$\infty$}" in latex(report)
    assert 'data-value="Infinity">∞' in html_report(report)
    assert "d,half,p,psnr,inf," in scores_csv(report)
    write_report(report, tmp_path)
    assert "Infinity" not in (tmp_path / "report.json").read_text()
    assert load_report(tmp_path).scores == report.scores


def test_pairs_by_average_precision_are_told(report: Report) -> None:
    comparison = report.comparisons("rtts", "map-voc")["hazy input", "best_one"]
    assert (comparison.difference, comparison.p_value, comparison.photos) == (0.125, 0.04, 2)
    line = "| map-voc | hazy input − best_one | 0.125 | [0.100, ∞] | 0.04 | 2 |"
    assert line in markdown(report)


def test_classes_are_in_every_form(report: Report, tmp_path: Path) -> None:
    assert "AP of each class, map-voc ↑:\n\n| method | bus | car |" in markdown(report)
    assert "| hazy input | 0.300 | 0.500 |" in markdown(report)
    assert "hazy input & 0.300 & 0.500" in latex(report)
    assert "<th>bus</th><th>car</th>" in html_report(report)
    assert classes_csv(report).splitlines()[1:] == [
        "rtts,hazy input,map-voc,car,0.5",
        "rtts,hazy input,map-voc,bus,0.3",
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*rich_class_tables(report, "rtts"))
    assert "0.300" in console.export_text()


def test_a_report_may_be_moved(report: Report, tmp_path: Path) -> None:
    inside = save_levels(tmp_path / "o" / "results" / "a.png", np.zeros((4, 4, 3), np.uint8))
    outside = report.pictures["rtts"]["best_one"]["p1"]
    report.pictures["rtts"]["best_one"]["p0"] = str(inside)
    write_report(report, tmp_path / "o")
    content = json.loads((tmp_path / "o" / "report.json").read_text())
    assert content["pictures"]["rtts"]["best_one"]["p0"] == "results/a.png"
    (tmp_path / "o").rename(tmp_path / "moved")
    again = load_report(tmp_path / "moved").pictures["rtts"]["best_one"]
    assert Path(again["p0"]).is_file()
    assert again["p1"] == outside


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
    assert r"| a\|b & <c> | 1.500 [" in text
    assert "| hazy input | *4.000* [" in text
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
    assert r"hazy input & \underline{4.000} {\scriptsize [2.000, 6.000]}" in text
    assert r"a|b \& <c> & 1.500 {\scriptsize [1.000, 2.000]} {\scriptsize (1 failed)}" in text
    assert text.count(r"\begin{tabular}") == 2  # means, and AP of each class
    assert _latex_escaped(r"a\b^c~d_{e}") == (
        r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d\_\{e\}"
    )


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
        "classes.csv",
    ]
    again = load_report(tmp_path / "out")
    assert again.scores == report.scores
    assert report_json(again) == report_json(report)
    content = json.loads(files[0].read_text())
    assert content["schema"] == 2
    assert content["significance"][0]["p_value"] == 1.0
    with pytest.raises(ConfigurationError, match="no report there"):
        load_report(tmp_path / "none")
    for text in ("{}", "[]", '{"schema": 2}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(ConfigurationError, match="no report of corun evaluate"):
            load_report(tmp_path)


def test_published_numbers_name_their_source() -> None:
    scores = published_scores()
    assert all(score.source and score.setting for score in scores)
    assert published_for(["mine", "rtts"], ["fade"])["CORUN+Colabator"]["fade"].value == 0.824
    assert published_for(["fattal"], ["nima"])["CORUN+Colabator"]["nima"].value == 5.39
    for method, fade in (("PRISM (2026)", 0.4705), ("PGL-Net-T (2026)", 0.585)):
        [row] = published_for(["rtts"], ["fade"])[method].values()
        assert row.value == fade
        assert "up to 25 % between papers" in row.setting
    ours = published_for(["rtts"], ["fade", "map-voc"])["CORUN+Colabator"]
    told = sources_of(ours)
    assert told.startswith("fade: Fang et al.")
    assert "; map-voc: Fang et al., NeurIPS 2024, table of detection on RTTS (YOLOv3" in told
    assert not any("measured once" in score.source for score in scores)
    assert len(published_for(["fattal-34", "folder"], ["fade"])) == 12
