"""A person at the page, by way of a headless browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytest.importorskip("gradio", reason="needs the extra web", exc_type=ImportError)

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60


class Visit(NamedTuple):
    browser: Any
    url: str
    downloads: Path

    def find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def wait(self, condition: Callable[[Any], Any]) -> Any:
        patient = WebDriverWait(self.browser, PATIENCE, poll_frequency=0.1)
        return patient.until(condition)

    def status(self) -> str:
        return str(
            self.browser.execute_script("return document.querySelector('#status').innerText")
        )

    def until_it_says(self, text: str) -> None:
        try:
            self.wait(lambda b: text in self.status())
        except Exception:
            pytest.fail(f"waited for {text!r}, it says {self.status()!r}")

    def open(self, width: int = 1280, height: int = 900) -> None:
        self.browser.set_window_size(width, height)
        self.browser.get(self.url)
        self.wait(lambda b: b.find_elements(By.CSS_SELECTOR, "#files input[type=file]"))

    def drop(self, *paths: Path) -> None:
        field = self.find("#files input[type=file]")
        field.send_keys("\n".join(map(str, paths)))

    def click(self, identifier: str) -> None:
        button = self.find(f"button#{identifier}, #{identifier} button, a#{identifier}")
        self.browser.execute_script("arguments[0].click()", button)

    def downloaded(self, name: str) -> Path:
        self.wait(lambda b: "Ready." in self.status() or "are ready" in self.status())
        self.wait(lambda b: self.find("#saved").is_displayed())
        self.click("saved")
        path = self.downloads / name
        self.wait(lambda b: path.exists() and path.stat().st_size > 0)
        return path

    def picture(self, name: str) -> None:
        """A screenshot, for a person to look at."""
        folder = Path(os.environ.get("CORUN_DOCS_IMAGES", str(self.downloads)))
        assert self.browser.save_screenshot(str(folder / f"{name}.png"))
