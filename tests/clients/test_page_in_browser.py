"""The chat page in a real browser."""

import os
import time
from pathlib import Path

import pytest

from browser import Browser
from installed import unless_left_out
from server import Server

QUESTION = "What is the capital of Japan?"
BUSY = "document.querySelector('article.busy') !== null"
TEXTS = "[...document.querySelectorAll('article .text')].map((each) => each.innerText)"
# Where the picture of docs/server.md is to be written; nowhere without.
PICTURE = os.environ.get("PACKHORSE_PICTURE")


@pytest.fixture(scope="module")
def server():
    with Server("demo") as server:
        yield server


@pytest.fixture
def browser(tmp_path):
    unless_left_out("chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def set_field(browser, name, value):
    browser.run(f"(() => {{const f = document.getElementById('{name}'); f.value = '{value}';"
                "f.dispatchEvent(new Event('input')); f.dispatchEvent(new Event('change'))})()")  # fmt: skip


def test_a_chat(server, browser):
    browser.open(server.url)
    browser.wait_for("document.getElementById('model').textContent === 'demo'")
    assert browser.run("document.activeElement.id") == "input" and browser.run("document.getElementById('send').disabled")
    set_field(browser, "temperature", "0")
    browser.type(QUESTION)
    browser.press("Enter")
    browser.wait_for(f"!({BUSY}) && document.querySelectorAll('article').length === 2")
    first = browser.run(TEXTS)
    assert first[0] == QUESTION and "Tokyo" in first[1]
    assert "tokens/s" in browser.run("document.querySelector('article .meta').textContent")
    browser.type("And\n")
    browser.press("Enter", shift=True)
    assert browser.run("document.querySelectorAll('article').length") == 2  # a new line, not a message
    browser.type("of France?")
    browser.press("Enter")
    browser.wait_for(f"!({BUSY}) && document.querySelectorAll('article').length === 4")
    assert browser.run("messages.length") == 4
    assert all(url.startswith(server.url) for url in browser.requested())  # nothing from elsewhere: it works offline
    assert browser.problems() == []


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stopping_keeps_what_was_said(server, browser, how):
    browser.open(server.url)
    browser.type("Tell me a very long story about a horse that carries books over the mountains.")
    browser.press("Enter")
    browser.wait_for(f"({BUSY}) && document.querySelector('article.assistant .text').innerText.length > 5")
    if how == "button":
        browser.click("#stop")
    else:
        browser.press("Escape")
    browser.wait_for(f"!({BUSY})", timeout=5)
    assert browser.run("messages.at(-1).role") == "assistant" and browser.run("!document.getElementById('send').hidden")
    end = time.monotonic() + 5
    while 'vllm:num_requests_running{engine="0",model_name="demo"} 0.0' not in server.get("/metrics").text:
        assert time.monotonic() < end, "the server goes on"


def test_what_a_model_writes_is_never_markup(server, browser):
    browser.open(server.url)
    hostile = "<img src=x onerror=alert(1)> **bold** `code` <script>document.title='x'</script>\\n```js\\nlet <b>x</b>\\n```\\n- one\\n- two\\n\\n# head"
    browser.run(f"render(document.getElementById('chat').appendChild(make('div', 'probe')), `{hostile.replace('`', chr(92) + '`')}`)")
    probe = "document.querySelector('.probe')"
    assert browser.run(f"{probe}.querySelectorAll('img, script, b').length") == 0
    assert browser.run(f"{probe}.querySelector('p').textContent").startswith("<img src=x onerror=alert(1)> bold code <script>")
    assert browser.run(f"{probe}.querySelector('pre code').textContent") == "let <b>x</b>"
    assert browser.run(f"[{probe}.querySelectorAll('li').length, {probe}.querySelector('h3').textContent]") == [2, "head"]
    assert browser.run("document.title") == "Packhorse"


@pytest.mark.parametrize("dark", [False, True])
def test_it_follows_the_systems_colours_until_told_otherwise(server, browser, dark):
    browser.open(server.url, dark=dark)
    theme = "document.documentElement.dataset.theme"
    back = "getComputedStyle(document.body).backgroundColor"
    assert browser.run(theme) == ("dark" if dark else "light")
    before = browser.run(back)
    browser.click("#theme")
    assert browser.run(theme) == ("light" if dark else "dark") and browser.run(back) != before
    browser.run("localStorage.clear()")


@pytest.mark.parametrize("with_settings", [False, True])
def test_everything_has_its_place(server, browser, with_settings):
    browser.open(server.url, width=1000, height=640)
    if with_settings:
        browser.click("#open-settings")
    browser.run("window.box = (name) => document.querySelector(name).getBoundingClientRect()")
    assert browser.run("box('#chat').bottom <= box('form').top && box('form').bottom <= 640")
    assert browser.run("box('#chat').left === box('form').left && box('#chat').width === box('form').width")
    right = browser.run("box('form').right")
    assert right == (browser.run("box('#settings').left") if with_settings else 1000)


def test_a_phone(server, browser):
    browser.open(server.url, width=360, height=640, mobile=True)
    browser.wait_for("document.getElementById('model').textContent === 'demo'")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.click("#open-settings")
    assert browser.run("!document.getElementById('settings').hidden && document.documentElement.scrollWidth <= 360")


def test_every_control_has_a_name(server, browser):
    browser.open(server.url)
    nameless = browser.run("""[...document.querySelectorAll('button, input, textarea, select')].filter((each) =>
        !each.ariaLabel && !each.textContent.trim() && !each.labels?.length).map((each) => each.outerHTML)""")
    assert nameless == []


def test_a_server_that_asks_for_a_key(browser):
    with Server("demo", "--api-key", "open-sesame") as server:
        browser.open(server.url)
        browser.wait_for("document.getElementById('status').textContent.includes('API key')")
        set_field(browser, "key", "open-sesame")
        browser.wait_for("document.getElementById('model').textContent === 'demo'")
        assert browser.run("sessionStorage.getItem('key')") == "open-sesame"
        assert browser.run("localStorage.getItem('key')") is None


def test_a_picture_of_it(server, browser, tmp_path):
    browser.open(server.url, width=1000, height=640)
    browser.wait_for("document.getElementById('model').textContent === 'demo'")
    set_field(browser, "temperature", "0")
    for question in (QUESTION, "Write a short list of three fruits."):
        n = browser.run("document.querySelectorAll('article').length")
        browser.type(question)
        browser.press("Enter")
        browser.wait_for(f"!({BUSY}) && document.querySelectorAll('article').length === {n + 2}")
    time.sleep(0.5)  # what moves comes to rest
    picture = Path(PICTURE) if PICTURE else tmp_path / "chat_page.png"
    browser.screenshot(picture)
    assert 5_000 < picture.stat().st_size < 200_000
