"""Sources have their shares exactly, and sample i is the same whatever came before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from corun.data.clean_depth import CleanDepthConfig, CleanDepthFolder
from corun.data.mixture import BLOCK, TrainingData, TrainingDataConfig, locate, shares
from corun.data.synthesis import SynthesisConfig, synthesize_haze
from corun.errors import DataError
from rendered_folders import write_scenes

SYNTHESIS = SynthesisConfig(gradient_probability=0.5)


def data(root: Path, **changes: object) -> TrainingData:
    sources = {
        "clean": root / "clean",
        "depth": root / "depth",
        "convention": "distance",
        "crop": 24,
        "weight": 1,
        "pairs": {"own": {"hazy": root / "hazy", "clear": root / "clean", "weight": 3}},
        **changes,
    }
    return TrainingData(TrainingDataConfig.model_validate(sources), SYNTHESIS, 7)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write_scenes(tmp_path, 4)
    (tmp_path / "hazy").mkdir()
    for path in (tmp_path / "clean").iterdir():
        with Image.open(path) as image:
            image.point(lambda level: 128 + level // 2).save(tmp_path / "hazy" / path.name)
    return tmp_path


@pytest.mark.parametrize(("weights", "expected"), [
    ([3.0, 1.0], [750, 250]), ([1.0, 1.0, 1.0], [334, 333, 333]),
    ([1e-6, 1.0], [1, 999]), ([2.0], [1000]),
])  # fmt: skip
def test_shares(weights: list[float], expected: list[int]) -> None:
    assert shares(weights) == expected


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6), st.integers(0, 99))
def test_every_block_has_the_shares_and_no_number_twice(weights: list[float], block: int) -> None:
    found = [locate(n, weights, 3) for n in range(block * BLOCK, (block + 1) * BLOCK)]
    counts = shares(weights)
    assert sum(counts) == BLOCK
    for source, count in enumerate(counts):
        own = [number for chosen, number in found if chosen == source]
        assert own == list(range(block * count, (block + 1) * count))


def test_a_single_source_is_what_it_was_before_there_were_others(folders: Path) -> None:
    mixed = data(folders, pairs={}).batch(6, 3)
    config = CleanDepthConfig(
        clean=folders / "clean", depth=folders / "depth", convention="distance", crop=24
    )
    samples = [CleanDepthFolder(config, 7).sample(number) for number in (6, 7, 8)]
    haze = synthesize_haze(
        torch.stack([s.clean for s in samples]),
        torch.stack([s.depth for s in samples]),
        SYNTHESIS,
        torch.Generator().manual_seed(7 * 1_000_003 + 6),
    )
    assert mixed.known is None
    for one, other in zip(mixed.haze, haze, strict=True):
        assert torch.equal(one, other)


def test_a_mixed_batch_is_a_function_of_its_numbers(folders: Path) -> None:
    source, again = data(folders), data(folders, cache=False)
    kinds: Counter[bool] = Counter()
    for start in (0, 8, 16, 8):
        one, other = source.batch(start, 8), again.batch(start, 8)
        assert one.names == other.names
        for a, b in zip(one.haze, other.haze, strict=True):
            assert torch.equal(a, b)
        assert one.known is not None
        kinds.update(one.known.tolist())
        pairs = ~one.known
        assert (one.haze.transmission[pairs] == 1).all()
        # The pairs' haze is 128 + level // 2, and the crops of both were cut alike.
        expected = (128 + (one.haze.target[pairs] * 255).floor() // 2) / 255
        assert (one.haze.hazy[pairs] - expected).abs().max() < 0.02
        assert all((T < 1).any() for T in one.haze.transmission[one.known])
    assert kinds[False] > kinds[True] > 0


def test_a_source_may_have_a_scale_of_its_own(folders: Path) -> None:
    own = {"hazy": folders / "hazy", "clear": folders / "clean", "scale": (0.1, 0.1)}
    source = data(folders, pairs={"own": own, "other": {k: own[k] for k in ("hazy", "clear")}})
    assert source.pairs["own"].crops.scale == (0.1, 0.1)
    assert source.pairs["other"].crops.scale == source.config.scale


def test_pairs_alone(folders: Path) -> None:
    for changes in ({"clean": None, "depth": None}, {"weight": 0, "clean": "/nowhere"}):
        batch = data(folders, **changes).batch(0, 4)
        assert batch.known is not None
        assert not batch.known.any()
        assert batch.haze.airlight.shape == batch.haze.hazy.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": None}, "go together"),
        ({"convention": None}, "go together"),
        ({"weight": 0, "pairs": {}}, "or pairs, or both"),
        ({"pairs": {"a/b": {"hazy": "x", "clear": "y"}}}, "match pattern"),
    ],
)
def test_sources_that_cannot_be(folders: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        data(folders, **changes)


def test_what_is_held_out_is_not_trained_on(folders: Path) -> None:
    kept, held = data(folders).split(0.3, clean=False, pairs=True)
    assert held is not None
    assert held.clean is None
    assert len(kept.clean) == 3  # the pairs' clear photos are its own
    trained, rest = kept.pairs["own"].pairs, held.pairs["own"].pairs
    assert (len(trained), len(rest)) == (3, 1)
    assert not {p.image for p in trained} & {p.image for p in rest}
    assert data(folders).split(0.3, clean=False, pairs=False)[1] is None


def test_a_clear_photo_that_one_source_holds_out_is_trained_on_in_none(folders: Path) -> None:
    few = folders / "few"  # so that the share of its photos that is held out is another one
    few.mkdir()
    for path in sorted((folders / "hazy").iterdir())[:2]:
        (few / path.name).write_bytes(path.read_bytes())
    folder = {"clear": folders / "clean"}
    pairs = {"all": {**folder, "hazy": folders / "hazy"}, "few": {**folder, "hazy": few}}
    kept, held = data(folders, pairs=pairs).split(0.3, clean=True, pairs=True)
    shown = {photo.resolve() for photo in held.clean.photos}
    shown |= {pair.reference.resolve() for part in held.pairs.values() for pair in part.pairs}
    assert len(shown) == 2
    assert not shown & {photo.resolve() for photo in kept.clean.photos}
    for part in kept.pairs.values():
        assert len(part)
        assert not shown & {pair.reference.resolve() for pair in part.pairs}


def test_a_source_of_which_nothing_is_left_is_named(folders: Path) -> None:
    few = folders / "few"
    few.mkdir()
    for path in sorted((folders / "hazy").iterdir())[1:3]:
        (few / path.name).write_bytes(path.read_bytes())
    folder = {"clear": folders / "clean"}
    pairs = {"all": {**folder, "hazy": folders / "hazy"}, "few": {**folder, "hazy": few}}
    with pytest.raises(DataError, match=r"data\.pairs\.few: all .* held out"):
        data(folders, pairs=pairs).split(0.5, clean=True, pairs=True)
