"""Make the weights that ship: float16 safetensors and a JSON card beside them.

    python benchmarks/release_weights.py RUN/weights.safetensors corun-lite --facts facts.json

The closing fit's cell, ε, τ, ν, exponent, clearing and deblurring have no tensor and may be chosen
after training (``--affine-cell``, ``--affine-epsilon``, ``--affine-trust``, ``--affine-noise``,
``--affine-exponent``, ``--affine-clearing``, ``--affine-deblurring``). ``--average`` takes the mean
of the parameters with those of an ancestor, halfway back to what that did. The card holds the
configuration, data, commands and scores given in the facts, and the checksum of the file, which
``tests/networks/test_registry.py`` compares.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch

from corun.networks.checkpoints import load_file_of_ours, save_network
from corun.networks.corun import CORUN
from corun.networks.registry import MODELS

SETTINGS = (
    "affine_cell",
    "affine_epsilon",
    "affine_trust",
    "affine_noise",
    "affine_exponent",
    "affine_clearing",
    "affine_deblurring",
)
WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "corun" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("name", choices=[n for n, card in MODELS.items() if card.weights])
    parser.add_argument("--facts", type=Path, required=True, help="JSON of what made them")
    parser.add_argument("--average", type=Path, help="weights to take the mean with, half and half")
    parser.add_argument("--affine-cell", type=int, help="other cells of the closing fit, pixels")
    parser.add_argument("--affine-epsilon", type=float, help="another ε of the closing fit")
    parser.add_argument("--affine-trust", type=float, help="another τ of the closing fit")
    parser.add_argument("--affine-noise", type=float, help="another ν of the closing fit")
    parser.add_argument("--affine-exponent", type=float, help="another exponent of the closing fit")
    parser.add_argument("--affine-clearing", type=float, help="another share for the clearest")
    parser.add_argument("--affine-deblurring", type=float, help="another k of the closing fit")
    arguments = parser.parse_args()
    network, _ = load_file_of_ours(arguments.source)
    chosen = {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}
    if chosen:
        trained, network = network, CORUN(replace(network.config, **chosen))
        network.load_state_dict(trained.state_dict())
    if arguments.average is not None:
        other = load_file_of_ours(arguments.average)[0].state_dict()
        mean = {name: (value + other[name]) / 2 for name, value in network.state_dict().items()}
        network.load_state_dict(mean)
    target = WEIGHTS / str(MODELS[arguments.name].weights)
    facts = json.loads(arguments.facts.read_text(encoding="utf-8"))
    save_network(target, network, {"name": arguments.name}, dtype=torch.float16)
    card = {
        "name": arguments.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "bytes": target.stat().st_size,
        "storage": "float16",
        "licence": MODELS[arguments.name].licence,
        "config": network.config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        **facts,
    }
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    target.with_suffix(".json").write_text(text, encoding="utf-8")
    print(f"{target}: {card['bytes']} bytes, sha256 {card['sha256']}")


if __name__ == "__main__":
    main()
