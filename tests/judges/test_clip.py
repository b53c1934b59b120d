"""CLIP as a judge: the published file of DA-CLIP, others refused, a probability with a gradient."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from corun.errors import ConfigurationError, WeightsError
from corun.judges.choice import (
    DensityChoice,
    build_density,
)
from corun.judges.clip import ClipDensity, ClipPictures


def test_damaged_clip_weights_are_named(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    for name in ("text.pt", "empty.pt"):
        choice = DensityChoice(kind="clip", model="ViT-S-32-alt", pretrained=str(tmp_path / name))
        with pytest.raises(WeightsError, match=rf"{name}: CLIP ViT-S-32-alt cannot be loaded"):
            build_density(choice)


class TinyTower(nn.Module):
    """An image tower of CLIP's names, two blocks deep."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        pictures = ClipPictures()
        self.preprocess_cfg = {
            "size": pictures.size,
            "mean": pictures.mean,
            "std": pictures.deviation,
        }
        self.conv1 = nn.Conv2d(3, width, 8, stride=8, bias=False)
        self.transformer = nn.Module()
        self.transformer.width = width
        self.transformer.resblocks = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.proj = nn.Parameter(torch.randn(width, 4))

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv1(image).flatten(2).transpose(1, 2)
        for block in self.transformer.resblocks:  # type: ignore[union-attr]
            x = x + block(x)
        return x.mean(1) @ self.proj


class TinyClip(nn.Module):
    """The face of open_clip's model: a tower for pictures, another for texts."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = TinyTower()
        self.token_embedding = nn.Embedding(8, 4)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def encode_image(self, image: Tensor) -> Tensor:
        features: Tensor = self.visual(image)
        return features

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens).mean(1)


def published_da_clip(clip: nn.Module, controller: nn.Module) -> dict[str, Tensor]:
    """Their weights in the layout of DA-CLIP's file."""
    state = {f"clip.{name}": tensor for name, tensor in clip.state_dict().items()}
    for name, tensor in controller.state_dict().items():
        inner = name.replace("transformer.", "transformer.transformer.", 1)
        state[f"visual_control.{inner}"] = tensor
    state["visual_control.transformer.zero_modules.0.weight"] = torch.randn(6, 6)
    state["logit_scale"] = torch.tensor(2.0)
    return state


@pytest.fixture
def open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("open_clip")
    asked: list[str | None] = []

    def create_model(name: str, pretrained: str | None = None) -> TinyClip:
        asked.append(pretrained)
        return TinyClip()

    stand_in.create_model = create_model  # type: ignore[attr-defined]
    stand_in.asked = asked  # type: ignore[attr-defined]
    stand_in.get_tokenizer = lambda name: (  # type: ignore[attr-defined]
        lambda texts: torch.tensor([[len(text) % 8, ord(text[0]) % 8] for text in texts])
    )
    monkeypatch.setitem(sys.modules, "open_clip", stand_in)


def test_da_clip_opens_from_its_single_file(open_clip: None, tmp_path: Path) -> None:
    torch.manual_seed(1)
    clip, controller = TinyClip(), TinyTower()
    torch.save(published_da_clip(clip, controller), tmp_path / "daclip.pt")
    words = ("motion-blurry", "hazy", "noisy")
    choice = DensityChoice(kind="clip", weights=tmp_path / "daclip.pt", degradations=words)
    judge = build_density(choice)
    assert sys.modules["open_clip"].asked == [None]  # no other weights are fetched
    image = torch.rand(2, 3, 30, 40)
    tokens = torch.tensor([[len(word) % 8, ord(word[0]) % 8] for word in words])
    features = nn.functional.normalize(controller(ClipPictures().prepare(image)), dim=-1)
    texts = nn.functional.normalize(clip.encode_text(tokens), dim=-1)
    expected = torch.softmax(torch.e**2 * features @ texts.T, -1)[:, 1]
    torch.testing.assert_close(judge.overall(image), expected)
    assert judge.name.startswith("da-clip ViT-B-32 ")


def test_files_that_are_not_da_clip_are_named(open_clip: None, tmp_path: Path) -> None:
    state = published_da_clip(TinyClip(), TinyTower())
    state.pop("visual_control.proj")
    torch.save(state, tmp_path / "daclip.pt")
    with pytest.raises(WeightsError, match=r"daclip\.pt: not DA-CLIP for this CLIP model"):
        build_density(DensityChoice(kind="clip", weights=tmp_path / "daclip.pt"))
    with pytest.raises(ConfigurationError, match=r"name CLIP's weights as pretrained .* DA-CLIP"):
        build_density(DensityChoice(kind="clip"))


def test_clip_density_is_a_probability_with_a_gradient() -> None:
    texts = torch.eye(2)

    def encode(image: Tensor) -> Tensor:
        return torch.stack((image.mean((1, 2, 3)), -image.mean((1, 2, 3))), 1)

    pictures = ClipPictures((16, 16))
    evaluator = ClipDensity(encode, texts, 0, 5.0, "clip", pictures=pictures)
    image = torch.rand(2, 3, 48, 40, requires_grad=True)
    scores = evaluator.score(image, 32)
    assert scores.blocks.shape == (2, 1, 2, 2)
    assert bool(((scores.overall > 0) & (scores.overall < 1)).all())
    scores.overall.sum().backward()
    assert image.grad is not None
    assert pictures.prepare(image.detach()).shape == (2, 3, 16, 16)


CONFIGURATION = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def tiny_model(tmp_path: Path) -> str:
    """The name of a model of the real open_clip, of two blocks and pictures of 32 pixels."""
    package = pytest.importorskip("open_clip", reason="needs the extra clip")
    file = tmp_path / "corun-tiny.json"
    file.write_text(json.dumps(CONFIGURATION))
    package.add_model_config(file)
    return file.stem


def test_a_local_file_of_the_real_open_clip(tiny_model: str, tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model(tiny_model).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    choice = DensityChoice(kind="clip", model=tiny_model, pretrained=str(tmp_path / "clip.pt"))
    judge = build_density(choice)
    image = torch.rand(2, 3, 64, 80, requires_grad=True)
    scores = judge.score(image, 32)
    scores.overall.sum().backward()
    assert image.grad is not None
    assert float(image.grad.abs().sum()) > 0
    assert scores.blocks.shape == (2, 1, 2, 3)
    texts = open_clip.get_tokenizer(tiny_model)([choice.hazy_prompt, choice.clear_prompt])
    with torch.no_grad():
        squeezed = nn.functional.interpolate(image, (32, 32), mode="bicubic", antialias=True)
        facts = model.visual.preprocess_cfg
        mean, std = (torch.tensor(facts[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        shown = model.encode_image((squeezed.clamp(0, 1) - mean) / std, normalize=True)
        likeness = model.logit_scale.exp() * shown @ model.encode_text(texts, normalize=True).T
    torch.testing.assert_close(scores.overall.detach(), likeness.softmax(-1)[:, 0])
    assert judge.name == build_density(choice).name


def test_da_clip_of_the_real_open_clip(
    tiny_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import open_clip

    torch.manual_seed(0)
    clip, controller = (open_clip.create_model(tiny_model).eval() for _ in range(2))
    caplog.clear()
    torch.save(published_da_clip(clip, controller.visual), tmp_path / "daclip.pt")
    words = ("motion-blurry", "hazy", "noisy")
    choice = DensityChoice(
        kind="clip", model=tiny_model, weights=tmp_path / "daclip.pt", degradations=words
    )
    judge = build_density(choice)
    assert not caplog.records  # "initialized randomly", which it is not
    image = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        prepared = ClipPictures((32, 32)).prepare(image)
        features = nn.functional.normalize(controller.visual(prepared), dim=-1)
        texts = clip.encode_text(open_clip.get_tokenizer(tiny_model)(list(words)), normalize=True)
        expected = torch.softmax(torch.e**2 * features @ texts.T, -1)[:, 1]
    torch.testing.assert_close(judge.overall(image), expected)
