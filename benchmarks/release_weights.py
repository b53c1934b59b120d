"""Make the weights that ship: float16 safetensors and a JSON card beside them.

    python benchmarks/release_weights.py RUN/weights.safetensors corun-lite --facts facts.json

The card holds the configuration, data, commands and scores given in the facts, and the checksum of
the file, which ``tests/networks/test_registry.py`` compares. A training checkpoint becomes a file
with ``corun models convert`` first. The golden picture of ``corun doctor`` is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch

from corun.networks.checkpoints import load_file_of_ours, save_network
from corun.networks.registry import DEFAULT_MODEL, MODELS

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "corun" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("name", choices=[n for n, card in MODELS.items() if card.weights])
    parser.add_argument("--facts", type=Path, required=True, help="JSON of what made them")
    arguments = parser.parse_args()
    network, _ = load_file_of_ours(arguments.source)
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
    }
    # A card of weights before may serve as facts: what is known of this file stands.
    card |= {name: fact for name, fact in facts.items() if name not in card}
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    target.with_suffix(".json").write_text(text, encoding="utf-8")
    print(f"{target}: {card['bytes']} bytes, sha256 {card['sha256']}")
    if arguments.name == DEFAULT_MODEL:
        import golden_picture

        golden_picture.main()


if __name__ == "__main__":
    main()
