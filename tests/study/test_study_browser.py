"""The rating page in a real headless browser, driven as a person would: mouse and keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corun.study import server as study_server
from corun.study.server import StudyServer

pytest.importorskip("selenium", reason="needs selenium")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

Serve = Callable[[str], StudyServer]
PATIENCE = 60


def wait(browser: Any, condition: Callable[[Any], Any]) -> Any:
    return WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(condition)


def element(browser: Any, identifier: str) -> Any:
    return browser.find_element(By.ID, identifier)


def begin(browser: Any, server: StudyServer, code: str) -> None:
    browser.delete_all_cookies()
    browser.get(server.url)
    browser.delete_all_cookies()
    browser.get(server.url)
    field = wait(browser, lambda b: element(b, "code"))
    field.send_keys(code, Keys.ENTER)
    wait(browser, lambda b: element(b, "trial").is_displayed())


def open_for_answers(browser: Any) -> None:
    wait(browser, lambda b: element(b, "answers").get_attribute("aria-busy") == "false")


def answered(browser: Any, count: int) -> None:
    wait(browser, lambda b: element(b, "count").text.startswith(f"{count} of"))
    open_for_answers(browser)


def pictures_loaded(browser: Any) -> bool:
    return browser.execute_script(
        "const all = [...document.querySelectorAll('#pictures img')];"
        "return all.length > 0 && all.every(i => i.complete && i.naturalWidth === 32);"
    )


def test_scores_by_mouse_and_keys_and_coming_back(browser: Any, serve: Serve) -> None:
    server = serve("score")
    begin(browser, server, "ann")
    wait(browser, pictures_loaded)
    open_for_answers(browser)
    browser.find_element(By.CSS_SELECTOR, "button[data-value='7']").click()
    answered(browser, 1)
    browser.find_element(By.TAG_NAME, "body").send_keys("0")  # ten
    answered(browser, 2)
    assert sorted(vote.value for vote in server.votes.votes()) == [7, 10]

    browser.refresh()  # the cookie remembers
    answered(browser, 2)
    begin(browser, server, "ann")  # and so does the code, without the cookie
    answered(browser, 2)
    for count in range(3, 6):
        browser.find_element(By.TAG_NAME, "body").send_keys("5")
        answered(browser, count)
    browser.find_element(By.TAG_NAME, "body").send_keys("5")
    wait(browser, lambda b: element(b, "end").is_displayed())
    assert len(server.votes.votes()) == 6
    browser.find_element(By.TAG_NAME, "body").send_keys("5")
    assert len(server.votes.votes()) == 6


def test_pairs_by_arrow_keys(browser: Any, serve: Serve) -> None:
    server = serve("pairs")
    begin(browser, server, "bob")
    wait(browser, pictures_loaded)
    open_for_answers(browser)
    body = browser.find_element(By.TAG_NAME, "body")
    shown = server.study.trials(server.votes.enrol("bob")[0])
    for count, key in enumerate((Keys.ARROW_LEFT, Keys.ARROW_RIGHT), 1):
        body.send_keys(key)
        answered(browser, count)
    body.send_keys(Keys.ARROW_DOWN)
    wait(browser, lambda b: element(b, "end").is_displayed())
    values = {vote.photo: (vote.first, vote.value) for vote in server.votes.votes()}
    expected = zip(shown, (1, 0, 0.5), strict=True)
    assert values == {trial.photo: (trial.methods[0], value) for trial, value in expected}


def test_a_double_click_is_one_vote(browser: Any, serve: Serve) -> None:
    server = serve("score")
    begin(browser, server, "eve")
    open_for_answers(browser)
    browser.execute_script(
        "const b = document.querySelector(\"button[data-value='4']\"); b.click(); b.click();"
    )
    answered(browser, 1)
    assert len(server.votes.votes()) == 1


SECOND_CLICK = """
const done = arguments[0];
const click = () => document.querySelector("button[data-value='4']").click();
new MutationObserver((_, observer) => {
  observer.disconnect();
  setTimeout(() => { click(); setTimeout(done, 1500); }, 200);
}).observe(document.getElementById("trial"), {attributes: true, attributeFilter: ["data-trial"]});
click();
"""


def test_the_second_click_of_a_slow_double_click_answers_nothing(
    browser: Any, serve: Serve
) -> None:
    """The next question is drawn between the two; its button lies where the other lay."""
    server = serve("score")
    begin(browser, server, "sam")
    open_for_answers(browser)
    browser.set_script_timeout(PATIENCE)
    browser.execute_async_script(SECOND_CLICK)
    assert len(server.votes.votes()) == 1
    open_for_answers(browser)


def test_nothing_is_answered_before_all_pictures_are_there(
    browser: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = threading.Event()
    encode = study_server.shown_png

    def late(path: Path) -> bytes:
        arrived.wait(PATIENCE)
        return encode(path)

    monkeypatch.setattr(study_server, "shown_png", late)
    server = serve("pairs")
    try:
        begin(browser, server, "tom")
        time.sleep(1)
        button = browser.find_element(By.CSS_SELECTOR, "button[data-value='1']")
        assert not button.is_enabled()
        browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_LEFT)
        time.sleep(0.5)
        assert server.votes.votes() == []
    finally:
        arrived.set()
    open_for_answers(browser)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_LEFT)
    answered(browser, 1)


def test_no_request_leaves_the_server(browser: Any, serve: Serve) -> None:
    import json

    server = serve("pairs")
    browser.get_log("performance")
    begin(browser, server, "ida")
    wait(browser, pictures_loaded)
    requested = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            requested.add(message["params"]["request"]["url"])
    assert requested
    assert all(url.startswith(server.url) for url in requested)
    errors = [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert errors == []


def test_it_says_when_the_server_is_gone(browser: Any, serve: Serve) -> None:
    server = serve("score")
    begin(browser, server, "kim")
    open_for_answers(browser)
    browser.execute_script("window.fetch = () => Promise.reject(new Error('gone'));")
    browser.find_element(By.TAG_NAME, "body").send_keys("5")
    wait(browser, lambda b: "Not stored" in element(b, "trouble").text)
    assert server.votes.votes() == []
