"""The dark-channel prior as an engine: the classical baseline, in NumPy and OpenCV."""

from __future__ import annotations

import numpy as np

from corun.dehazing.engines.protocol import Batch, EngineFacts, SceneAnswer
from corun.physics.dark_channel import dark_channel_prior


class DarkChannelEngine:
    """`dark_channel_prior` with the settings of the paper (He, Sun and Tang, CVPR 2009)."""

    name = "dcp"
    facts = EngineFacts("numpy", "cpu", "float32", gives_maps=False)

    def run(self, pictures: Batch) -> SceneAnswer:
        """See the protocol."""
        found = [
            dark_channel_prior(np.ascontiguousarray(picture.transpose(1, 2, 0)))
            for picture in pictures
        ]
        return SceneAnswer(
            np.stack([result.scene.transpose(2, 0, 1) for result in found]),
            np.stack([result.transmission[None] for result in found]),
            np.stack([result.airlight[:, None, None] for result in found]),
        )

    def take_notes(self) -> tuple[str, ...]:
        """Nothing."""
        return ()
