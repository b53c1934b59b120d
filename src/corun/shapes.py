"""Annotations of arrays with their shapes, `Float32[np.ndarray, "h w 3"]`, for code without torch.

They are jaxtyping's where it is imported already, as in tests, which check them, and for type
checkers. Elsewhere nothing evaluates them, and importing it would take a tenth of the time in
which a photo is cleared.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Float32, Shaped, UInt8, UInt16
else:

    class Unchecked:
        """Any array."""

        def __class_getitem__(cls, shape: object) -> Any:
            return Any

    Bool = Float = Float32 = Shaped = UInt8 = UInt16 = Unchecked

__all__ = ["Bool", "Float", "Float32", "Shaped", "UInt8", "UInt16"]
