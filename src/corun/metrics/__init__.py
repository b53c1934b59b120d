"""The yardstick: reference and no-reference scores, guards, and detection accuracy."""
