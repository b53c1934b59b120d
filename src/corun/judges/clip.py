"""Haze density by CLIP: a picture between two prompts, or among a list of degradations.

    D = softmax(s·⟨e(image), e(prompts)⟩)[hazy],   s CLIP's own scale, e normalised features.

DA-CLIP (Luo et al., "Controlling Vision-Language Models for Universal Image Restoration", ICLR
2024) adds a controller: a copy of the image tower, trained to read the degradation. (It also steers
the image tower, which reads the content; D needs neither.) Its published checkpoint keeps the copy
under ``visual_control.``, the copy's transformer under ``visual_control.transformer.transformer.``,
and the plain CLIP, with the tower of texts, under ``clip.``: the one file is all that D needs.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import ConfigurationError, MissingExtraError, WeightsError
from corun.judges.facts import JUDGES
from corun.judges.protocols import Scores, block_count, cut_blocks, in_chunks
from corun.networks.brought import read_state
from corun.networks.checkpoints import DAMAGE
from corun.networks.fingerprint import fingerprint, values_fingerprint

_CONTROL = "visual_control."
_TEXTS = "clip."


@dataclass(frozen=True)
class ClipPictures:
    """What a model takes; those of OpenAI's by default.

    Attributes:
        size: height and width, pixels.
        mean: of RGB in [0,1], which is taken away.
        deviation: by which the rest is divided.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    deviation: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)

    @classmethod
    def of(cls, model: Any) -> ClipPictures:
        """Of a model of open_clip, which keeps them with its image tower."""
        facts = model.visual.preprocess_cfg
        size = facts["size"]
        square = (size, size) if isinstance(size, int) else tuple(size)
        return cls(square, tuple(facts["mean"]), tuple(facts["std"]))

    def prepare(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 p q"]:
        """RGB in [0,1], squeezed to the size (bicubic, antialiased) and normalised."""
        squeezed = F.interpolate(
            image, self.size, mode="bicubic", align_corners=False, antialias=True
        ).clamp(0, 1)
        mean, deviation = (
            torch.tensor(values, device=image.device).view(1, 3, 1, 1)
            for values in (self.mean, self.deviation)
        )
        return (squeezed - mean) / deviation


class ClipDensity:
    """D between texts; differentiable.

    Args:
        encode: prepared pictures → features, (b,d).
        texts: normalised features of the texts, (t,d).
        hazy: which of the texts is the hazy one.
        scale: s.
        name: what pools call it.
        towers: what moves to a device.
        pictures: of what side, mean and deviation the pictures are that the model takes.
    """

    differentiable = JUDGES["clip"].differentiable

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        texts: Float[Tensor, "t d"],
        hazy: int,
        scale: float,
        name: str,
        towers: nn.Module | None = None,
        pictures: ClipPictures | None = None,
    ) -> None:
        self._encode, self._texts, self._hazy, self._scale = encode, texts, hazy, scale
        self._pictures, self._towers = pictures or ClipPictures(), towers
        self.name = name

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of pictures."""
        return self._density(image)

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures, and of their blocks as pictures of their own (without a gradient)."""
        with torch.no_grad():
            blocks, _ = cut_blocks(image.detach(), block)
            parts = in_chunks(self._density, blocks, 64)
        rows, columns = (block_count(side, block) for side in image.shape[-2:])
        return Scores(self._density(image), parts.view(len(image), 1, rows, columns))

    def to(self, device: torch.device) -> ClipDensity:
        """Move to a device, in place."""
        if self._towers is not None:
            self._towers.to(device)
        self._texts = self._texts.to(device)
        return self

    def _density(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            features = F.normalize(self._encode(self._pictures.prepare(image.float())), dim=-1)
            shares = torch.softmax(self._scale * features @ self._texts.T, -1)
            density: Tensor = shares[:, self._hazy]
            return density


def open_clip_density(
    model_name: str,
    pretrained: str | None,
    da_clip: Path | None,
    prompts: Sequence[str],
    hazy: int,
) -> ClipDensity:
    """Open CLIP, or DA-CLIP.

    Args:
        model_name: open_clip's name of the model.
        pretrained: open_clip's tag of the weights, or a local file; not read for DA-CLIP.
        da_clip: DA-CLIP's checkpoint.
        prompts: the texts.
        hazy: which of them is the hazy one.

    Raises:
        MissingExtraError: open_clip is not installed, or what it needs.
        ConfigurationError: no weights are named.
        WeightsError: the weights cannot be loaded.
    """
    if pretrained is None and da_clip is None:
        raise ConfigurationError(
            "evaluators.density: name CLIP's weights as pretrained (open_clip's tag, or a local "
            "file), or DA-CLIP's file as weights"
        )
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError(f"open_clip ({error})", "clip") from error
    source = pretrained if da_clip is None else str(da_clip)
    try:
        with _quiet() if da_clip else nullcontext():
            model = open_clip.create_model(model_name, pretrained=None if da_clip else pretrained)
    except (OSError, pickle.UnpicklingError, *DAMAGE) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(
            f"{source}: CLIP {model_name} cannot be loaded ({reason}); give a local weights file "
            "of this model"
        ) from error
    if da_clip is not None:
        fill_with_da_clip(model, read_state(da_clip), str(da_clip))
    model = model.eval().requires_grad_(False)
    texts = encode_texts(model, open_clip.get_tokenizer(model_name), prompts)
    scale = float(model.logit_scale.exp())
    pictures = ClipPictures.of(model)
    digits = values_fingerprint(fingerprint(model.visual), texts, hazy, scale)
    name = f"{'clip' if da_clip is None else 'da-clip'} {model_name} {digits}"
    return ClipDensity(model.encode_image, texts, hazy, scale, name, model.visual, pictures)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning of random weights, which are filled right after."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def fill_with_da_clip(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Make a CLIP of DA-CLIP's texts and controller: its image tower then reads degradations.

    Raises:
        WeightsError: tensors are missing or of another shape.
    """
    inner = "transformer.transformer."
    filled = {n.removeprefix(_TEXTS): t for n, t in state.items() if n.startswith(_TEXTS)}
    filled = {n: t for n, t in filled.items() if not n.startswith("visual.")}
    for name, tensor in state.items():
        part = name.removeprefix(_CONTROL)
        if part != name and not part.startswith("transformer.zero_modules."):
            part = "transformer." + part.removeprefix(inner) if part.startswith(inner) else part
            filled[f"visual.{part}"] = tensor
    if "logit_scale" in state:
        filled["logit_scale"] = state["logit_scale"]
    try:
        model.load_state_dict(filled)
    except RuntimeError as error:
        raise WeightsError(
            f"{source}: not DA-CLIP for this CLIP model ({' '.join(str(error).split())[:200]}); "
            "give daclip_ViT-B-32.pt with evaluators.density.model: ViT-B-32"
        ) from error


@torch.no_grad()
def encode_texts(
    model: Any, tokenize: Callable[[list[str]], Tensor], prompts: Sequence[str]
) -> Float[Tensor, "t d"]:
    """Normalised features of texts."""
    return F.normalize(model.encode_text(tokenize(list(prompts))).float(), dim=-1)
