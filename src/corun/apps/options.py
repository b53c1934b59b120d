"""Options of commands, each stated once; those that several commands share.

They are stated without Typer, which takes a fifth of the time in which a photo is cleared to
import: :mod:`corun.apps.command_group` gives them to it, :mod:`corun.apps.direct` does without.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin


class Option:
    """An option, for `Annotated`.

    Args:
        names: as they are typed; by default ``--`` and the parameter's name.
        settings: further arguments of `typer.Option`.
    """

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names, self.settings = names, settings


class Argument(Option):
    """An argument, for `Annotated`; see `Option`."""


def declared(hint: Any) -> tuple[Any, Option | None]:
    """A parameter's type, and its `Option` or `Argument` if the annotation states one."""
    if get_origin(hint) is Annotated:
        base, *rest = get_args(hint)
        found = [entry for entry in rest if isinstance(entry, Option)]
        if found:
            return base, found[0]
    return hint, None


Model = Annotated[
    str, Option(help="A name of `corun models`, a weights file, or an exported network.")
]
Strength = Annotated[float, Option(min=0.0, max=1.0, help="How much of the haze goes.")]
Quality = Annotated[int, Option(min=1, max=100, help="Of JPEG, WebP, AVIF and HEIC.")]
Engine = Annotated[
    Literal["auto", "onnx", "openvino", "torch"], Option(help="What runs the network.")
]
Threads = Annotated[
    int | None,
    Option(min=1, help="Of the CPU.", show_default="as many as the process may use"),
]
Device = Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps, xpu, coreml or dml.")]
Dtype = Annotated[Literal["auto", "float32", "bfloat16", "float16"], Option(help="Precision.")]
Trust = Annotated[
    bool, Option("--trust", help="Import and run the code that the model's file names.")
]
MaxPixels = Annotated[
    int | None, Option(min=1, help="Refuse larger pictures.", show_default="178956970")
]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace existing files.")]
JsonLines = Annotated[
    bool, Option("--json", help="One JSON object per picture on standard output.")
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print errors only.")]

Host = Annotated[str, Option(help="0.0.0.0 serves the network.")]
Port = Annotated[int, Option(min=0, max=65535, help="0 takes any free one.")]
ServedModels = Annotated[
    list[str] | None,
    Option(
        help="To be loaded, once for each; the first is the default.", show_default="corun-lite"
    ),
]
RootPath = Annotated[
    str, Option(metavar="PATH", help="Under which a proxy shows it, such as /haze.")
]
Proxy = Annotated[
    str, Option(metavar="ADDRESSES", help="Whose X-Forwarded-For and -Proto are believed.")
]
MaxVideoBytes = Annotated[int, Option(min=1, help="Of one film's file.")]
MaxVideoPixels = Annotated[int, Option(min=1, help="Of its frames.")]
MaxVideoSeconds = Annotated[
    float, Option(min=1, max=1e6, help="Of one film, at 60 frames per second.")
]
