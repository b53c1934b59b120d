"""The living benchmark: our models and the classical baseline on real photos, one command.

    python benchmarks/quality/run.py

It needs the data folder beside the checkout (../shared) and writes benchmarks/quality/table.md;
`--readme README.md` puts a short form of the first table between its marks `<!-- quality -->`.
Photos are reduced to a long side of 640, results saved as PNG and scored as saved. What is scored
already is kept in the output folder, so a second run costs only what changed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path

from corun.data.synthesize import synthesize_folder
from corun.errors import CorunError
from corun.evaluation.methods import Method, parse_method
from corun.evaluation.plan import DatasetChoice, Plan, parse_dataset
from corun.evaluation.published import published_scores
from corun.evaluation.report import Report
from corun.evaluation.report_files import write_report
from corun.evaluation.runner import evaluate
from corun.metrics.pictures import LONG_SIDE

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from unrest import Unrest, unrest  # noqa: E402

METHODS = ("hazy input=input", "dark channel prior=dcp", "corun-lite")
CLEAN = "clean-val"
"""Synthetic haze of known truth over the clean photos of validation, made by this command."""

HAZE_SEED = 2024

DATASETS = (
    ("fattal-34", "folder", "data/fattal"),
    ("real-val", "folder", "data/real/val"),
    (CLEAN, "pairs", ""),
    ("dawn", "dawn", "data/dawn"),
)
NO_REFERENCE = ("fade", "brisque", "hazdesnet", "brightness", "crushed", "clipped")
FULL_REFERENCE = ("psnr", "ssim", "ciede2000")
COLUMNS = (
    ("fade", "FADE ↓", lambda v: f"{v:.3f}"),
    ("brisque", "BRISQUE ↓", lambda v: f"{v:.2f}"),
    ("hazdesnet", "HazDesNet ↓", lambda v: f"{v:.3f}"),
    ("brightness", "mean brightness", lambda v: f"{v:.3f}"),
    ("crushed", "crushed to black", lambda v: f"{100 * v:.1f} %"),
    ("clipped", "clipped to white", lambda v: f"{100 * v:.1f} %"),
    ("psnr", "PSNR ↑", lambda v: f"{v:.2f} dB"),
    ("ssim", "SSIM ↑", lambda v: f"{v:.3f}"),
    ("ciede2000", "CIEDE2000 ↓", lambda v: f"{v:.2f}"),
    ("map-voc", "mAP, VOC ↑", lambda v: f"{v:.3f}"),
    ("map-coco", "mAP, COCO ↑", lambda v: f"{v:.3f}"),
)
SHORT_COLUMNS = ("fade", "brisque", "brightness", "crushed")
SHORT_ROWS = ("AOD-Net", "GCANet", "LKD-Net-s", "DehazeFormer-T (third-party, indoor)", "SLRNet")
"""What the README shows of the reference rows: old and new, strong and gentle ones."""

MARK = re.compile(r"(<!-- quality -->\n).*?(<!-- /quality -->)", re.DOTALL)


def main() -> int:
    """Runs the benchmark; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=CHECKOUT.parent / "shared")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "runs" / "quality")
    parser.add_argument("--table", type=Path, default=HERE / "table.md")
    parser.add_argument("--readme", type=Path, help="put a short table between its marks")
    parser.add_argument("--method", action="append", help="instead of the usual; repeat for more")
    parser.add_argument("--data", action="append", help="labels; all by default")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=int, help="photos of each set, for a quick look")
    chosen = parser.parse_args()
    if not chosen.shared.is_dir():
        print(f"{chosen.shared}: not there; this benchmark needs its photos", file=sys.stderr)
        return 1
    datasets = []
    for label, name, folder in DATASETS:
        if not chosen.data or label in chosen.data:
            photos = chosen.shared / folder
            if label == CLEAN:
                photos = chosen.output / "synthetic" / CLEAN
                _synthesize(chosen.shared / "data", photos)
            datasets.append(parse_dataset(f"{label}:{name}={photos}"))
    methods = _methods(tuple(chosen.method or METHODS))
    plan = _plan(chosen, methods, datasets)
    report = evaluate(plan, command=_command(), progress=_progress)
    write_report(report, chosen.output, pictures=12)
    calm = {
        (method, dataset): unrest(
            (plan.hazy(dataset, name), plan.picture(method, dataset, name))
            for name in photos
            if plan.picture(method, dataset, name).is_file()
        )
        for method in report.methods
        for dataset, photos in report.datasets.items()
    }
    tables = _tables(report, calm)
    chosen.table.write_text(tables, encoding="utf-8")
    if chosen.readme is not None:
        text = chosen.readme.read_text(encoding="utf-8")
        first = _table(report, next(iter(report.datasets)), calm, short=True)
        if not MARK.search(text):
            print(f"{chosen.readme}: has no <!-- quality --> marks", file=sys.stderr)
            return 1
        chosen.readme.write_text(
            MARK.sub(lambda found: found[1] + first + "\n" + found[2], text), encoding="utf-8"
        )
    for problem in report.problems:
        print(problem, file=sys.stderr)
    print(tables)
    return 1 if report.problems else 0


def _synthesize(data: Path, pairs: Path) -> None:
    """One hazy version of each clean photo of validation; what is there already is kept."""
    synthesize_folder(
        data / "clean" / "val",
        data / "depth" / "val",
        pairs,
        seed=HAZE_SEED,
        overrides=["convention=distance"],
    )


def _methods(texts: tuple[str, ...]) -> tuple[Method, ...]:
    methods = []
    for text in texts:
        try:
            methods.append(parse_method(text))
        except CorunError as error:
            print(f"left out: {error}", file=sys.stderr)
    return tuple(methods)


def _plan(
    chosen: argparse.Namespace, methods: tuple[Method, ...], datasets: list[DatasetChoice]
) -> Plan:
    files = {
        "brisque_model": chosen.shared / "metrics" / "brisque_allmodel",
        "brisque_range": chosen.shared / "metrics" / "brisque_allrange",
        "hazdesnet": chosen.shared / "metrics" / "hazdesnet.hdf5",
    }
    detector = chosen.shared / "weights" / "yolox_nano.onnx"
    boxes = any(entry.name == "dawn" for entry in datasets) and detector.is_file()
    return Plan(
        methods=methods,
        datasets=tuple(datasets),
        metrics=(*NO_REFERENCE, *FULL_REFERENCE, *(("map-voc", "map-coco") if boxes else ())),
        output=chosen.output,
        long_side=LONG_SIDE,
        jobs=chosen.jobs,
        limit=chosen.limit,
        detector=str(detector) if boxes else None,
        layout="yolox",
        files=files,
    )


def _tables(report: Report, calm: dict[tuple[str, str], Unrest]) -> str:
    return "\n".join(
        [
            "# Quality on real photos",
            "",
            f"Made by `{_command()}` (long side {LONG_SIDE}, PNG; means, 95 % bootstrap "
            "intervals).",
            "FADE alone rewards darkness: read it beside brightness and what is crushed.",
            f"{CLEAN} is synthetic haze of known truth (seed {HAZE_SEED}) over clean photos; the",
            "others are real photos without truth, dawn with boxes. Unrest, fine / coarse, is what",
            "a result shows where the photo shows nothing, in 1/255 (benchmarks/unrest.py).",
            "",
            *(part for name in report.datasets for part in (_table(report, name, calm), "")),
        ]
    )


def _table(
    report: Report, dataset: str, calm: dict[tuple[str, str], Unrest], *, short: bool = False
) -> str:
    """One data set: what was measured here, then the reference rows, if there are any."""
    shown = {facts.name for facts in report.columns(dataset)}
    if short:
        shown &= set(SHORT_COLUMNS)
    columns = [column for column in COLUMNS if column[0] in shown]
    lines = [
        f"**{dataset}**, {len(report.datasets[dataset])} photos",
        "",
        "| method | " + " | ".join(title for _, title, _ in columns) + " | unrest ↓ |",
        "|---|" + "---|" * (len(columns) + 1),
    ]
    for method, cells in report.table(dataset).items():
        texts = []
        for metric, _, shape in columns:
            cell = cells[metric]
            text = shape(cell.value) if cell.scored else "–"
            if metric == "fade" and cell.scored and not short:
                text += f" ({cell.interval.low:.3f} … {cell.interval.high:.3f})"
            texts.append(text + (f" ({cell.failed} failed)" if cell.failed else ""))
        found = calm[method, dataset]
        texts.append(f"{found.fine:.2f} / {found.coarse:.2f}" if found.photos else "–")
        lines.append(f"| {method}, here | " + " | ".join(texts) + " |")
    known: dict[str, dict[str, float]] = {}
    for score in published_scores():
        if score.dataset == dataset and (not short or score.method in SHORT_ROWS):
            known.setdefault(score.method, {})[score.metric] = score.value
    for method, values in known.items():
        texts = [shape(values[m]) if m in values else "–" for m, _, shape in columns]
        texts.append("–")
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    if known and short:
        lines += [
            "",
            "Rows marked *here* were measured by this command, the others were measured by others "
            "on these photos. Differences of BRISQUE below 0.6 between the groups mean nothing.",
        ]
    elif known:
        lines += [
            "",
            "Rows marked *here* were measured by this command; the others were measured by others "
            "on these photos. How those photos were reduced is not known (here: "
            "area averaging), and the two rows of the hazy input show what it makes: between the "
            "groups, differences of BRISQUE below 0.6 mean nothing.",
        ]
    return "\n".join(lines)


def _command() -> str:
    """As anyone would give it: where folders lie on this machine is left out."""
    kept, words = [], iter(sys.argv[1:])
    for word in words:
        if word in ("--shared", "--output"):
            next(words, None)
        elif not word.startswith(("--shared=", "--output=")):
            kept.append(word)
    return shlex.join(["python", "benchmarks/quality/run.py", *kept])


def _progress(what: str, done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
