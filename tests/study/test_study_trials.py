"""Orders, votes and what they add up to."""

from __future__ import annotations

import io
import json
import math
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corun.errors import DataError
from corun.pictures.colours import read_eight_bit
from corun.study import votes as vote_files
from corun.study.opinions import (
    bradley_terry,
    fit_strengths,
    groups_of,
    mean_opinion_scores,
    results_csv,
    results_json,
    votes_csv,
    win_rates,
    win_rates_csv,
)
from corun.study.server import shown_png
from corun.study.trials import Trial, open_study
from corun.study.votes import Vote, VoteStore


def vote(person: str, photo: str, first: str, second: str | None, value: float) -> Vote:
    return Vote(person, photo, first, second, value, "2026-01-01 00:00:00")


def test_everyone_gets_all_questions_in_an_order_of_their_own(results: list[Path]) -> None:
    study = open_study(results, "pairs")
    orders = [study.trials(f"person {k}") for k in range(8)]
    assert {trial.key for trial in orders[0]} == {f"p{k}\tours\ttheirs" for k in range(3)}
    assert all({t.key for t in order} == {t.key for t in orders[0]} for order in orders)
    assert len({tuple(t.key for t in order) for order in orders}) > 1
    assert study.trials("person 3") == orders[3]
    left = Counter(trial.methods[0] for order in orders for trial in order)
    assert set(left) == {"ours", "theirs"}


def test_scores_ask_for_each_picture_once(results: list[Path]) -> None:
    trials = open_study(results, "score").trials("a")
    assert Counter(t.methods for t in trials) == {("ours",): 3, ("theirs",): 3}


def test_photos_that_a_method_lacks_are_left_out_and_named(results: list[Path]) -> None:
    (results[1] / "p2.png").unlink()
    study = open_study(results, "pairs")
    assert list(study.pictures) == ["p0", "p1"]
    assert study.left_out == ("p2: missing in theirs",)


def test_pictures_that_cannot_be_shown_are_left_out_and_named(results: list[Path]) -> None:
    broken = results[1] / "p1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    Image.new("RGBA", (4, 4), (1, 2, 3, 4)).save(results[0] / "p2.png")
    study = open_study(results, "pairs")
    assert list(study.pictures) == ["p0"]
    assert [line.partition(":")[0] for line in study.left_out] == ["p1", "p2"]
    assert str(broken) in study.left_out[0]
    assert "partly transparent" in study.left_out[1]
    assert list(open_study(results, "score", limit=1).pictures) == ["p0"]
    (results[0] / "p0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no photo can be shown; .*p0\.png"):
        open_study(results, "pairs")


def test_pictures_are_shown_upright_and_in_eight_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn to the right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    assert np.array_equal(read_eight_bit(tmp_path / "turned.png")[0], np.rot90(pixels, -1))
    deep = np.random.default_rng(1).integers(0, 65536, (6, 8, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert np.array_equal(read_eight_bit(tmp_path / "deep.png")[0], np.round(deep / 257))
    Image.fromarray(deep[..., 0]).save(tmp_path / "grey.png")
    grey = np.round(deep[..., :1] / 257).repeat(3, axis=2)
    assert np.array_equal(read_eight_bit(tmp_path / "grey.png")[0], grey)
    opaque = np.dstack([pixels, np.full((6, 8), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "alpha.png")
    assert np.array_equal(read_eight_bit(tmp_path / "alpha.png")[0], pixels)
    with Image.open(io.BytesIO(shown_png(tmp_path / "turned.png"))) as image:
        assert (image.mode, image.size, image.info) == ("RGB", (6, 8), {})


def test_folders_that_do_not_make_a_study(results: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs at least 2"):
        open_study(results[:1], "pairs")
    with pytest.raises(DataError, match="given twice"):
        open_study([results[0], results[0]], "pairs")
    Image.new("RGB", (4, 4)).save(results[0] / "p0.jpg")
    with pytest.raises(DataError, match=r"p0\.jpg has the same stem"):
        open_study(results, "score")
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (4, 4)).save(other / "q.png")
    with pytest.raises(DataError, match="no photo that all of them have"):
        open_study([results[1], other], "score")


def test_folders_that_end_alike_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "fattal").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "fattal" / "x.png")
    study = open_study([tmp_path / "a" / "fattal", tmp_path / "b" / "fattal"], "score")
    assert list(study.methods) == ["a/fattal", "b/fattal"]


def test_a_question_is_answered_once_however_often_it_is_sent(tmp_path: Path) -> None:
    store = VoteStore(tmp_path / "v.sqlite")
    token, _ = store.enrol("ann")
    stored = []
    threads = [
        threading.Thread(
            target=lambda value=value: stored.append(
                store.record(token, Trial("p", ("ours", "theirs")), value)
            )
        )
        for value in (0.0, 1.0) * 8
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored.count(True) == 1
    assert not store.record(token, Trial("p", ("theirs", "ours")), 1.0)
    assert len(store.votes()) == 1


def test_a_code_brings_back_the_same_person(tmp_path: Path) -> None:
    store = VoteStore(tmp_path / "v.sqlite")
    assert store.enrol("ann") == store.enrol(" ann ")
    assert store.enrol("ann")[0] != store.enrol("bob")[0]
    assert store.enrol("")[0] != store.enrol("")[0]


def test_a_file_of_another_study_is_refused(results: list[Path], tmp_path: Path) -> None:
    store = VoteStore(tmp_path / "v.sqlite")
    store.bind(open_study(results, "score"))
    store.bind(open_study(results, "score"))
    with pytest.raises(DataError, match="votes of another study"):
        store.bind(open_study(results, "pairs"))
    (tmp_path / "text").write_text("this is no database, it is a text that somebody wrote")
    with pytest.raises(DataError, match="not a file of votes"):
        VoteStore(tmp_path / "text")


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    import typer

    from corun.apps.study_commands import study_results

    foreign = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(foreign)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = foreign.read_bytes()
    app = typer.Typer()
    app.command()(study_results)
    done = CliRunner().invoke(app, [str(foreign)])
    assert isinstance(done.exception, DataError)
    assert "not a file of votes (it holds songs)" in str(done.exception)
    with pytest.raises(DataError, match="it holds songs"):
        VoteStore(foreign)
    assert foreign.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["other.sqlite"]
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="it is empty"):
        VoteStore(tmp_path / "empty", make=False)
    with pytest.raises(DataError, match="votes cannot be kept there"):
        VoteStore(foreign / "below" / "v.sqlite")


def test_one_name_has_one_spelling(results: list[Path]) -> None:
    (results[0] / "p0.png").rename(results[0] / "cafe\u0301.png")
    (results[1] / "p0.png").rename(results[1] / "caf\u00e9.png")
    study = open_study(results, "pairs")
    assert list(study.pictures) == ["caf\u00e9", "p1", "p2"]
    assert study.left_out == ()


def test_votes_under_the_other_spelling_still_count(results: list[Path], tmp_path: Path) -> None:
    for folder in results:
        (folder / "p0.png").rename(folder / "caf\u00e9.png")
    study = open_study(results, "score")
    store = VoteStore(tmp_path / "v.sqlite")
    store.bind(study)
    token, _ = store.enrol("ann")
    store.record(token, Trial("cafe\u0301", ("ours",)), 3.0)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        [facts] = connection.execute("SELECT facts FROM study").fetchone()
        old = json.dumps(json.loads(facts)).replace("caf\\u00e9", "cafe\\u0301")
        connection.execute("UPDATE study SET facts = ?", (old,))
    store.bind(study)
    assert store.answered(token) == {Trial("caf\u00e9", ("ours",)).key}
    assert store.votes()[0].photo == "caf\u00e9"


def test_what_no_vote_could_be_cast_on_is_left_out(results: list[Path], tmp_path: Path) -> None:
    odd = results[0] / "\udcff.png"
    odd.write_bytes((results[0] / "p0.png").read_bytes())
    renamed = results[0].rename(tmp_path / "our\udcff\ts")
    study = open_study([renamed, results[1]], "score")
    assert study.left_out == (f"{renamed / odd.name}: its name is not UTF-8; rename it",)
    assert list(study.methods) == ["our\\udcff\\u0009s", "theirs"]
    store = VoteStore(tmp_path / "v.sqlite")
    store.bind(study)
    token, code = store.enrol("\ud83d ann")
    assert code == "? ann"
    assert store.record(token, study.trials(token)[0], 3.0)


def test_a_broken_twin_is_left_out(results: list[Path]) -> None:
    for name in ("p0.jpg", "p1.webp"):  # one is found before its twin, one after it
        (results[0] / name).write_bytes(b"no picture")
    study = open_study(results, "score")
    assert study.pictures["p0"]["ours"] == results[0] / "p0.png"
    assert study.pictures["p1"]["ours"] == results[0] / "p1.png"
    assert "p0.jpg: p0.png has the same stem, and can be shown" in study.left_out[0]
    assert "p1.webp: p1.png has the same stem, and can be shown" in study.left_out[1]


def test_a_locked_file_of_votes_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vote_files, "PATIENCE", 0.1)
    store = VoteStore(tmp_path / "v.sqlite")
    with closing(sqlite3.connect(store.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match=r"v\.sqlite: in use by another program"):
            store.enrol("ann")
    store.enrol("ann")


def test_results_do_not_replace_the_votes(results: list[Path], tmp_path: Path) -> None:
    from corun.apps.cli import app

    path = tmp_path / "votes.csv"
    VoteStore(path).bind(open_study(results, "score"))
    before = path.read_bytes()
    done = CliRunner().invoke(app, ["study-results", str(path), "-o", str(path)])
    assert done.exit_code == 1
    assert "holds the votes; name another file" in done.stderr
    assert path.read_bytes() == before


def test_results_replace_no_file_unasked(results: list[Path], tmp_path: Path) -> None:
    from corun.apps.cli import app

    votes, output = tmp_path / "votes.sqlite", tmp_path / "mine.json"
    VoteStore(votes).bind(open_study(results, "score"))
    output.write_text("mine")
    command = ["study-results", str(votes), "-o", str(output)]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, output.read_text()) == (1, "mine")
    assert "mine.json: exists already; add --overwrite" in done.stderr
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0
    assert output.read_text() != "mine"


def test_methods_that_never_met_have_no_common_scale() -> None:
    """Two chains: a–b–c with more votes, d–e; f met nobody."""
    methods = ["a", "b", "c", "d", "e", "f"]
    votes = [vote(f"v{k}", f"p{k}", "a", "b", 1.0) for k in range(3)]
    votes += [vote(f"v{k}", f"p{k}", "b", "c", 1.0) for k in range(3)]
    votes += [vote(f"v{k}", f"p{k}", "d", "e", 1.0) for k in range(2)]
    assert groups_of(votes, methods) == [["a", "b", "c"], ["d", "e"], ["f"]]
    opinions = bradley_terry(votes, methods)
    values = [opinion.value for opinion in opinions]
    assert np.isnan(values).tolist() == [False, False, False, True, True, True]
    assert sum(values[:3]) == pytest.approx(0)
    assert values[0] > values[1] > values[2]
    content = json.loads(results_json(votes, methods, "pairs"))
    assert content["groups"] == [["a", "b", "c"], ["d", "e"], ["f"]]
    assert content["bradley_terry"][3]["value"] is None


def test_draws_that_lack_a_method_keep_the_centre() -> None:
    """c was compared by one person of three: a draw without them must not move a and b."""
    votes = [vote(f"v{k}", "p", "a", "b", 0.5) for k in range(3)]
    votes += [vote("v0", f"q{k}", "b", "c", 1.0) for k in range(8)]
    a, b, c = bradley_terry(votes, ["a", "b", "c"])
    assert a.value == pytest.approx(b.value)
    assert (a.low, a.high) == pytest.approx((b.low, b.high))
    # without their votes the pair keeps its tie alone: all three equal
    assert a.low == pytest.approx(0, abs=1e-8)
    assert c.high == pytest.approx(0, abs=1e-8)


def test_win_rates_as_rows() -> None:
    votes = [vote("v1", "p", "a", "b", 1.0), vote("v2", "p", "b", "a", 0.5)]
    assert win_rates_csv(votes, ["a", "b", "c"]).splitlines() == [
        "first,second,win_rate,comparisons",
        "a,b,0.75,2",
        "b,a,0.25,2",
    ]


def test_bradley_terry_of_two_is_the_odds() -> None:
    """3 wins to 1: the maximum of p³(1−p) is at p = 3/4, so log p₁ − log p₂ = log 3."""
    strengths = fit_strengths(np.array([[0.0, 3.0], [1.0, 0.0]]))
    assert strengths[0] - strengths[1] == pytest.approx(math.log(3))
    assert strengths.mean() == pytest.approx(0)


def test_bradley_terry_finds_the_strengths_that_made_the_votes() -> None:
    truth = np.array([0.8, 0.1, -0.9])
    probability = 1 / (1 + np.exp(truth[None] - truth[:, None]))
    wins = 1000 * probability
    np.fill_diagonal(wins, 0)
    assert fit_strengths(wins) == pytest.approx(truth - truth.mean(), abs=1e-6)


def test_who_always_wins_is_strong_but_not_infinitely() -> None:
    votes = [vote(f"v{k}", f"p{j}", "a", "b", 1.0) for k in range(4) for j in range(5)]
    a, b = bradley_terry(votes, ["a", "b"])
    assert a.value == pytest.approx(math.log(20.5 / 0.5) / 2)
    assert b.value == pytest.approx(-a.value)
    assert win_rates(votes, ["a", "b"])[0, 1] == 1
    assert np.isnan(win_rates(votes, ["a", "b"])[0, 0])


def test_mean_opinion_scores_and_their_intervals() -> None:
    votes = [vote("v1", "p", "a", None, 4.0), vote("v2", "p", "a", None, 8.0)]
    (opinion,) = mean_opinion_scores(votes, ["a"])
    assert opinion.value == 6
    assert (opinion.low, opinion.high) == (4, 8)  # both drawn twice now and then
    (alone,) = mean_opinion_scores(votes[:1], ["a"])
    assert alone.value == 4
    assert math.isnan(alone.low)


def test_exports() -> None:
    votes = [vote("v1", "p", "a", "b", 1.0), vote("v2", "p", "b", "a", 0.5)]
    content = json.loads(results_json(votes, ["a", "b"], "pairs"))
    assert content["participants"] == 2
    assert content["win_rates"]["a"]["b"] == 0.75
    assert results_csv(votes, ["a", "b"], "pairs").splitlines()[0] == "method,value,low,high,votes"
    assert votes_csv(votes).splitlines()[1].startswith("v1,p,a,b,1.0,")


def test_results_from_the_command_line(results: list[Path], tmp_path: Path) -> None:
    import typer

    from corun.apps.study_commands import study_results

    store = VoteStore(tmp_path / "v.sqlite")
    store.bind(open_study(results, "score"))
    store.record(store.enrol("ann")[0], Trial("p0", ("ours",)), 7.0)
    app = typer.Typer()
    app.command()(study_results)
    done = CliRunner().invoke(app, [str(tmp_path / "v.sqlite")])
    assert done.exit_code == 0
    opinions = json.loads(done.output)["mean_opinion_scores"]
    assert opinions[0] == {"method": "ours", "value": 7.0, "low": None, "high": None, "votes": 1}
    assert opinions[1]["value"] is None
    written = CliRunner().invoke(app, [str(tmp_path / "v.sqlite"), "-o", str(tmp_path / "r.csv")])
    assert written.exit_code == 0
    assert (tmp_path / "r.csv").read_text().splitlines()[1] == "ours,7.0,,,1"
