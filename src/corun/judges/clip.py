"""Haze density by CLIP: a picture between two prompts, or among a list of degradations.

    D = softmax(s·⟨e(image), e(prompts)⟩)[hazy],   s CLIP's own scale, e normalised features.

DA-CLIP (Luo et al., "Controlling Vision-Language Models for Universal Image Restoration", ICLR
2024) adds a controller: a copy of the image tower reads the degradation, and what its blocks give,
through projections that start at zero, is added to the image tower's blocks, the last to the
first. Its published checkpoint keeps the copy under ``visual_control.``, the copy's transformer
under ``visual_control.transformer.transformer.``, the projections under
``visual_control.transformer.zero_modules.``, and the plain CLIP under ``clip.``.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from corun.errors import ConfigurationError, MissingExtraError, WeightsError
from corun.judges.choice import DensityChoice
from corun.judges.protocols import Scores, block_count, cut_blocks
from corun.networks.adapters import read_state
from corun.networks.checkpoints import DAMAGE
from corun.networks.fingerprint import fingerprint, values_fingerprint

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_CONTROL = "visual_control."
_ZERO = "transformer.zero_modules."


class DegradationFeatures(NamedTuple):
    """What the two towers say of a batch.

    Attributes:
        content: of the image tower, steered by the controller, (b,d).
        degradation: of the controller, (b,d).
    """

    content: Float[Tensor, "b d"]
    degradation: Float[Tensor, "b d"]


class DegradationController(nn.Module):
    """DA-CLIP's pair of towers.

    Args:
        visual: CLIP's image tower, with its blocks in ``visual.transformer.resblocks``.

    Raises:
        ConfigurationError: the image tower is not a transformer.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.control = copy.deepcopy(visual)
        blocks = _blocks(visual)
        width = int(self.visual.transformer.width)  # type: ignore[union-attr,arg-type]
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in blocks)
        for parameter in self.projections.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DegradationFeatures:
        """Both features of pictures that are prepared as CLIP wants them."""
        signals: list[Tensor] = []

        def record(index: int) -> Callable[..., None]:
            def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                signals.append(self.projections[index](output))

            return hook

        def steer(index: int) -> Callable[..., Tensor]:
            def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
                return output + signals[len(signals) - 1 - index]

            return hook

        degradation = _with_hooks(self.control, record, image)
        content = _with_hooks(self.visual, steer, image)
        return DegradationFeatures(content, degradation)

    def load_published(self, state: dict[str, Tensor], source: str) -> None:
        """Fill copy and projections from DA-CLIP's checkpoint, and the image tower if it is there.

        Raises:
            WeightsError: tensors are missing or of another shape.
        """
        control = {
            name.removeprefix(_CONTROL): tensor
            for name, tensor in state.items()
            if name.startswith(_CONTROL)
        }
        zero = {n.removeprefix(_ZERO): control.pop(n) for n in list(control) if n.startswith(_ZERO)}
        inner = "transformer.transformer."
        tower = {
            "transformer." + n.removeprefix(inner) if n.startswith(inner) else n: tensor
            for n, tensor in control.items()
        }
        own = {
            n.removeprefix("clip.visual."): tensor
            for n, tensor in state.items()
            if n.startswith("clip.visual.")
        }
        try:
            self.control.load_state_dict(tower)
            self.projections.load_state_dict(zero)
            if own:
                self.visual.load_state_dict(own)
        except RuntimeError as error:
            raise WeightsError(
                f"{source}: not DA-CLIP's controller for this CLIP model "
                f"({' '.join(str(error).split())[:200]}); give daclip_ViT-B-32.pt with "
                "evaluators.density.model: ViT-B-32"
            ) from error


class ClipDensity:
    """D between texts; differentiable.

    Args:
        encode: prepared pictures → features, (b,d).
        texts: normalised features of the texts, (t,d).
        hazy: which of the texts is the hazy one.
        scale: s.
        name: what pools call it.
        size: side of CLIP's pictures, pixels.
        towers: what moves to a device.
    """

    differentiable = True

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        texts: Float[Tensor, "t d"],
        hazy: int,
        scale: float,
        name: str,
        size: int = 224,
        towers: nn.Module | None = None,
    ) -> None:
        self._encode, self._texts, self._hazy, self._scale = encode, texts, hazy, scale
        self._size, self._towers = size, towers
        self.name = name

    def overall(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """D of pictures."""
        return self._density(image)

    def score(self, image: Float[Tensor, "b 3 h w"], block: int) -> Scores:
        """D of pictures, and of their blocks as pictures of their own (without a gradient)."""
        with torch.no_grad():
            blocks, _ = cut_blocks(image.detach(), block)
            parts = torch.cat([self._density(part) for part in torch.split(blocks, 64)])
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
            features = F.normalize(self._encode(prepare(image.float(), self._size)), dim=-1)
            shares = torch.softmax(self._scale * features @ self._texts.T, -1)
            density: Tensor = shares[:, self._hazy]
            return density


def prepare(image: Float[Tensor, "b 3 h w"], size: int) -> Float[Tensor, "b 3 s s"]:
    """RGB in [0,1], squeezed to CLIP's square (bicubic, antialiased) and normalised."""
    square = F.interpolate(
        image, (size, size), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)
    mean = torch.tensor(_MEAN, device=image.device).view(1, 3, 1, 1)
    std = torch.tensor(_STD, device=image.device).view(1, 3, 1, 1)
    return (square - mean) / std


def open_clip_density(choice: DensityChoice) -> ClipDensity:
    """Open CLIP as a configuration says.

    Raises:
        MissingExtraError: open_clip is not installed, or what it needs.
        ConfigurationError: no weights are named, or ``hazy`` is not in the degradations.
        WeightsError: the weights cannot be loaded.
    """
    if choice.pretrained is None:
        raise ConfigurationError(
            "evaluators.density.pretrained: name open_clip's tag of the weights, or a local file"
        )
    if choice.degradations and "hazy" not in choice.degradations:
        raise ConfigurationError("evaluators.density.degradations: must contain 'hazy'")
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError(f"open_clip ({error})", "clip") from error
    try:
        model = open_clip.create_model(choice.model, pretrained=choice.pretrained)
    except (OSError, pickle.UnpicklingError, *DAMAGE) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(
            f"{choice.pretrained}: CLIP {choice.model} cannot be loaded ({reason}); give a local "
            "weights file of this model"
        ) from error
    model = model.eval().requires_grad_(False)
    prompts = choice.degradations or (choice.hazy_prompt, choice.clear_prompt)
    hazy = prompts.index("hazy") if choice.degradations else 0
    texts = encode_texts(model, open_clip.get_tokenizer(choice.model), prompts)
    scale = float(model.logit_scale.exp())

    def named(kind: str, towers: nn.Module) -> str:
        digits = values_fingerprint(fingerprint(towers), texts, hazy, scale)
        return f"{kind} {choice.model} {digits}"

    if choice.weights is None:
        name = named("clip", model.visual)
        return ClipDensity(model.encode_image, texts, hazy, scale, name, towers=model)
    controller = DegradationController(model.visual)
    controller.load_published(read_state(choice.weights), str(choice.weights))
    controller.eval().requires_grad_(False)
    return ClipDensity(
        lambda image: controller(image).degradation,
        texts,
        hazy,
        scale,
        named("da-clip", controller),
        towers=controller,
    )


@torch.no_grad()
def encode_texts(
    model: Any, tokenize: Callable[[list[str]], Tensor], prompts: Sequence[str]
) -> Float[Tensor, "t d"]:
    """Normalised features of texts."""
    return F.normalize(model.encode_text(tokenize(list(prompts))).float(), dim=-1)


def _blocks(visual: nn.Module) -> nn.ModuleList:
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ConfigurationError(
            "evaluators.density.model: DA-CLIP's controller needs a CLIP whose image tower is a "
            "transformer (the published one: ViT-B-32)"
        )
    return blocks


def _with_hooks(visual: nn.Module, make: Callable[[int], Any], image: Tensor) -> Tensor:
    """Call a tower with a hook on the output of each of its blocks."""
    handles = [
        block.register_forward_hook(make(index)) for index, block in enumerate(_blocks(visual))
    ]
    try:
        features: Tensor = visual(image)
    finally:
        for handle in handles:
            handle.remove()
    return features
