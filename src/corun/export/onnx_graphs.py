"""ONNX: a part as one graph that ONNX Runtime (and OpenVINO) runs at any size."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corun.dehazing.engines.graph_facts import FACTS_KEY
from corun.errors import MissingExtraError
from corun.export.exported import Exported, Facts
from corun.export.parts import Part
from corun.export.programs import quiet, trace

OPSET = 20
"""Of the graphs: the first with GELU as one operator."""
FEWEST_HALVED = 64
"""Values below which a constant is not worth storing in half precision."""
LARGEST_HALF = 65504.0

Model = Any
"""An ``onnx.ModelProto``."""


def require_onnx() -> None:
    """Raises:
    MissingExtraError: what exports and checks ONNX graphs is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError(package, "export") from error


def onnx_graph(part: Part) -> Model:
    """A part as an ONNX model in float32, opset :data:`OPSET`, all its sizes named.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    require_onnx()
    program = trace(part)
    with torch.no_grad(), quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[part.input_name],
            output_names=list(part.output_names),
            optimize=True,
            verbose=False,
        )
    if exported is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = exported.model_proto
    _remove_origins(model)
    _name_sizes(model.graph, part)
    model.producer_name, model.producer_version = "corun", version("corun-dehaze")
    return model


def with_facts(model: Model, facts: Facts) -> Model:
    """The same model with the facts under ``corun`` in its metadata, in place."""
    del model.metadata_props[:]
    model.metadata_props.add(key=FACTS_KEY, value=json.dumps(facts))
    return model


def with_half_weights(model: Model, part: Part) -> Model:
    """The same model with its weights stored as float16, in place.

    Each is widened by a Cast, which runtimes fold once when they load the file: half as large a
    file that computes in float32. Constants that were computed from weights are stored so where
    nothing of them is lost: a graph of weights that were stored as float16 computes what they do.

    Args:
        model: in float32.
        part: that it is of.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    weights = dict(part.named_parameters())
    kept, casts = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        small = values.dtype != np.float32 or values.size < FEWEST_HALVED
        if small or np.abs(values).max() > LARGEST_HALF:
            kept.append(tensor)
            continue
        half = values.astype(np.float16)
        if tensor.name not in weights and (half != values).any():
            kept.append(tensor)
            continue
        stored = f"{tensor.name}.float16"
        kept.append(numpy_helper.from_array(half, stored))
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return model


def onnx_file(model: Model, part: Part) -> Exported:
    """A finished model as a file, run by ONNX Runtime on the CPU."""
    content = model.SerializeToString()
    return Exported({".onnx": content}, _runner(content, part))


def _runner(content: bytes, part: Part) -> Callable[[Tensor], tuple[Tensor, ...]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(picture: Tensor) -> tuple[Tensor, ...]:
        results = session.run(list(part.output_names), {part.input_name: picture.numpy()})
        return tuple(torch.from_numpy(result) for result in results)

    return run


def _remove_origins(model: Model) -> None:
    """Names of the lines and files that a node came from: half of the file, of use to nobody."""
    graph = model.graph
    graph.doc_string = ""
    for holder in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        holder.doc_string = ""
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
    del graph.value_info[:]  # they speak of sizes by the exporter's own names


def _name_sizes(graph: Any, part: Part) -> None:
    shapes = {part.input_name: ("batch", 3, "height", "width"), **part.output_shapes()}
    for value in (*graph.input, *graph.output):
        for size, dimension in zip(
            shapes[value.name], value.type.tensor_type.shape.dim, strict=True
        ):
            if isinstance(size, str):
                dimension.dim_param = size
            else:
                dimension.dim_value = size
