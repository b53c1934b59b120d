"""What the page on the architecture says of the way of a photo is what a photo passes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from sample_pictures import pil_picture

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "explanation" / "architecture.md"
PROGRAM = """
import json, sys, threading
from corun.__main__ import main

entered = set()


def note(frame, event, argument):
    if event == "call":
        entered.add(frame.f_code.co_filename)


sys.argv = ["corun", "dehaze", *sys.argv[1:], "--engine", "onnx", "--quiet"]
sys.setprofile(note)
threading.setprofile(note)
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
finally:
    sys.setprofile(None)
print(json.dumps([sorted(entered), "torch" in sys.modules]))
"""


def test_a_photo_passes_the_fifteen_files_of_the_walk_and_no_torch(tmp_path: Path) -> None:
    (walk,) = re.findall(r"in\nthis order:\n(.*?)These are 15 files", PAGE.read_text(), re.DOTALL)
    files = [name for name in re.findall(r"`([a-z/_]+)`", walk) if name != "corun"]
    assert len(set(files)) == 15
    photo = tmp_path / "photo.jpg"
    pil_picture("RGB", 60, 80).save(photo)
    command = [sys.executable, "-c", PROGRAM, str(photo), "-o", str(tmp_path / "clear.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entered, torch_is_there = json.loads(done.stdout)
    assert not torch_is_there
    passed = {Path(name).as_posix() for name in entered}
    assert [name for name in files if not any(p.endswith(f"corun/{name}.py") for p in passed)] == []
