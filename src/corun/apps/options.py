"""Options that several commands share: each is stated once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Model = Annotated[
    str, typer.Option(help="A name of `corun models`, a weights file, or an exported network.")
]
Strength = Annotated[float, typer.Option(min=0.0, max=1.0, help="How much of the haze goes.")]
Quality = Annotated[int, typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF and HEIC.")]
Engine = Annotated[
    Literal["auto", "onnx", "openvino", "torch"], typer.Option(help="What runs the network.")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Of the CPU.", show_default="as many as the process may use"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, xpu, coreml or dml.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="Precision.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Import and run the code that the model's file names.")
]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Refuse larger pictures.", show_default="178956970")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="One JSON object per picture on standard output.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

Host = Annotated[str, typer.Option(help="0.0.0.0 serves the network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]
ServedModels = Annotated[
    list[str] | None,
    typer.Option(
        help="To be loaded, once for each; the first is the default.", show_default="corun-lite"
    ),
]
RootPath = Annotated[
    str, typer.Option(metavar="PATH", help="Under which a proxy shows it, such as /haze.")
]
Proxy = Annotated[
    str, typer.Option(metavar="ADDRESSES", help="Whose X-Forwarded-For and -Proto are believed.")
]
MaxVideoBytes = Annotated[int, typer.Option(min=1, help="Of one film's file.")]
MaxVideoPixels = Annotated[int, typer.Option(min=1, help="Of its frames.")]
MaxVideoSeconds = Annotated[
    float, typer.Option(min=1, help="Of one film, at 60 frames per second.")
]
