"""The page as a Hugging Face Space, which calls its own name and port."""

from __future__ import annotations

import os

from corun.apps.web_command import web

if __name__ == "__main__":
    name = os.environ.get("SPACE_HOST", "")
    web(
        host="0.0.0.0",
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        model=None,
        device="auto",
        host_name=[name] if name else [],
        max_bytes=64 * 1024**2,
        max_pixels=50_000_000,
        max_video_bytes=256 * 1024**2,
        max_video_seconds=120,
        root_path="",
        proxy="*",
    )
