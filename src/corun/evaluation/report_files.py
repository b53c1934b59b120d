"""A report on disk, in every form, and in the hands of a terminal."""

from __future__ import annotations

from pathlib import Path

from corun.errors import ConfigurationError, DataError, system_errors_as
from corun.evaluation.report import Report
from corun.evaluation.report_html import html_report
from corun.evaluation.report_json import read_report, report_json
from corun.evaluation.report_text import classes_csv, latex, markdown, scores_csv, table_csv
from corun.files import write_atomically

JSON_NAME = "report.json"
REPORT_NAMES = (
    *(JSON_NAME, "report.md", "report.tex", "report.html"),
    *("table.csv", "scores.csv", "classes.csv"),
)


def write_report(
    report: Report, folder: Path, *, published: bool = False, pictures: int = 24
) -> list[Path]:
    """Writes report.json, report.md, report.tex, report.html, table.csv, scores.csv, classes.csv.

    Args:
        report: what to write.
        folder: where to; older reports in it are replaced.
        published: also the numbers of papers, apart.
        pictures: photos shown per data set in the HTML.

    Returns:
        The files.

    Raises:
        DataError: the folder cannot be written to.
    """
    contents = (
        report_json(report, folder) + "\n",
        markdown(report, published=published),
        latex(report),
        html_report(report, published=published, pictures=pictures),
        table_csv(report),
        scores_csv(report),
        classes_csv(report),
    )
    what, remedy = f"{folder}: the report cannot be written there", "give another --output folder"
    with system_errors_as(DataError, what, remedy):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(REPORT_NAMES, contents, strict=True):
            # paths may hold bytes that are no UTF-8; JSON reads these escapes back
            write_atomically(folder / name, text.encode("utf-8", "backslashreplace"))
    return [folder / name for name in REPORT_NAMES]


def load_report(folder: Path) -> Report:
    """The report of a folder that `corun evaluate` wrote.

    Raises:
        ConfigurationError: there is none.
    """
    path = folder / JSON_NAME if folder.is_dir() else folder
    if not path.is_file():
        raise ConfigurationError(f"{path}: no report there; run corun evaluate first")
    try:
        with system_errors_as(ConfigurationError, f"{path}: cannot be read"):
            return read_report(path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: no report of corun evaluate ({error})") from error
