"""Typed configuration: what is wrong is said by name."""

from pathlib import Path

import pytest

from corun.configuration import apply_override, load_configuration
from corun.errors import ConfigurationError
from corun.training.pretrain import PretrainConfig
from rendered_folders import write_recipe


def test_yaml_becomes_typed_values(tmp_path: Path) -> None:
    config = load_configuration(PretrainConfig, write_recipe(tmp_path))
    assert config.run.folder == tmp_path / "run"
    assert config.network.transmission_step == "least_squares"
    assert config.synthesis.beta == (0.2, 2.8)
    assert config.optimizer.betas == (0.9, 0.999)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text() + "\nextends: base.yaml\n")
    (tmp_path / "base.yaml").write_text("loss: {vgg: ~/vgg.pth}")
    config = load_configuration(PretrainConfig, recipe, ["data.clean=~/photos"])
    assert config.data.clean == Path("/home/me/photos")
    assert config.loss.vgg == Path("/home/me/vgg.pth")


def test_dotted_overrides_win_and_read_exponents_as_numbers(tmp_path: Path) -> None:
    overrides = ["optimizer.learning_rate=2e-4", "run.steps=7", "data.scale=[0.9,1.0]",
                 "loss.vgg=file.pth", "run.compile=true", "network.dim=6"]  # fmt: skip
    config = load_configuration(PretrainConfig, write_recipe(tmp_path), overrides)
    assert config.optimizer.learning_rate == 2e-4
    assert config.run.steps == 7
    assert config.data.scale == (0.9, 1.0)
    assert config.loss.vgg == Path("file.pth")
    assert config.run.compile is True
    assert config.network.dim == 6


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("run.setps=7", "run.setps: unknown key"),
        ("network.depth=7", "network.depth: unknown key"),
        ("synthesis.fog=1", "synthesis.fog: unknown key"),
        ("run.steps=0", "run.steps"),
        ("run.steps=many", "run.steps"),
        ("network.transmission_step=exact", "network.transmission_step"),
        ("data.convention=disparity", "data.convention"),
        ("synthesis.beta=[2,1]", r"synthesis.beta: must be \[low, high\]"),
        ("synthesis.beta=[-1,1]", "synthesis.beta: must be"),
        ("synthesis.beta=[0,.inf]", "synthesis.beta: must be"),
        ("synthesis.airlight=[0.5,1.1]", "synthesis.airlight: must be"),
        ("synthesis.darken_power=[0,1]", "synthesis.darken_power: must be"),
        ("synthesis.noise_sigma=[-1,1]", "synthesis.noise_sigma: must be"),
        ("synthesis.jpeg_quality=[0,50]", "synthesis.jpeg_quality: must be"),
        ("synthesis.jpeg_quality=[50,101]", "synthesis.jpeg_quality: must be"),
        ("synthesis.patchy_strength=[-1,0]", "synthesis.patchy_strength: must be"),
        ("synthesis.veil=[0.2,0.1]", "synthesis.veil: must be"),
        ("synthesis.veil_range=[0.0,0.1]", "synthesis.veil_range: unknown key, now veil"),
        ("loss.unfitted=0.5", "loss.unfitted: unknown key, now last_stage"),
        ("network.affine_cell=16", "network.affine_cell: unknown key, gone with the rules"),
        ("synthesis.camera.noise_sigma=[0,1]", "synthesis.camera.noise_sigma: must be"),
        ("data.scale=[0,1]", "data.scale: must be"),
        ("data.scale=[1,0.5]", "data.scale: must be"),
        ("run.steps", "an override looks like"),
        ("run.steps.more=1", "steps is a value"),
        ("=1", "an override looks like"),
        ("run.steps=[1", "not valid YAML"),
    ],
)
def test_wrong_keys_and_values_are_named(tmp_path: Path, override: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named.replace(".", r"\.")) as caught:
        load_configuration(PretrainConfig, write_recipe(tmp_path), [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1", "just text"])
def test_files_that_are_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"recipe\.yaml"):
        load_configuration(PretrainConfig, path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("name: brume légère".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"recipe\.yaml: is not UTF-8"):
        load_configuration(PretrainConfig, path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml"):
        load_configuration(PretrainConfig, tmp_path / "absent.yaml")


def test_overrides_make_missing_sections() -> None:
    content: dict[str, object] = {}
    apply_override(content, "a.b.c=1")
    assert content == {"a": {"b": {"c": 1}}}


def test_a_recipe_extends_another_beside_it(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    child = tmp_path / "child.yaml"
    child.write_text("extends: recipe.yaml\nrun: {steps: 99}\nloss: {pixel: 2.0}\n")
    config = load_configuration(PretrainConfig, child, ["run.seed=5"])
    base = load_configuration(PretrainConfig, tmp_path / "recipe.yaml")
    assert (config.run.steps, config.run.seed, config.loss.pixel) == (99, 5, 2.0)
    assert config.run.batch == base.run.batch
    assert config.network == base.network
    child.write_text("extends: child.yaml\n")
    with pytest.raises(ConfigurationError, match=r"child\.yaml: extends itself"):
        load_configuration(PretrainConfig, child)
    child.write_text("extends: nowhere.yaml\n")
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        load_configuration(PretrainConfig, child)
