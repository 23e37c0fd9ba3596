"""The chat page: what it does, with a model and with answers of the test's own."""

import json
import re
import time

import pytest
from chat_page import (
    BUSY, LAST, QUESTION, STAND_IN, TEXTS, ask, begin_answer, browser, open_page, page, say, server, set_field,
    wait_for_answers,
)  # fmt: skip
from server import Server

# ---- With a model ----------------------------------------------------------


def test_a_chat(server, browser):
    open_page(server, browser)
    assert browser.run("document.title") == "demo · Packhorse"
    assert browser.run("document.activeElement.id") == "input" and browser.run("document.getElementById('send').disabled")
    set_field(browser, "temperature", "0")
    ask(browser, QUESTION)
    wait_for_answers(browser, 1)
    first = browser.run(TEXTS)
    assert first[0] == QUESTION and "Tokyo" in first[1]
    note = browser.run(f"{LAST}.querySelector('.tools').textContent")
    assert re.match(r"\d+ tokens · [\d.]+ tokens/s · first after [\d.]+ s · context \d+ of 8192CopyAgain$", note), note
    assert browser.run("document.getElementById('said').textContent") == first[1]
    browser.type("And\n")
    browser.press("Enter", shift=True)
    assert browser.run("document.querySelectorAll('article').length") == 2  # a new line, not a message
    ask(browser, "of France?")
    wait_for_answers(browser, 2)
    assert browser.run("messages.length") == 4
    assert all(url.startswith(server.url) for url in browser.requested())  # nothing from elsewhere: it works offline


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stopping_keeps_what_was_said(server, browser, how):
    open_page(server, browser)
    ask(browser, "Tell me a very long story about a horse that carries books over the mountains.")
    browser.wait_for(f"({BUSY}) && document.querySelector('article.assistant .text').innerText.length > 5")
    if how == "button":
        browser.click("#stop")
    else:
        browser.press("Escape")
    browser.wait_for(f"!({BUSY})", timeout=5)
    assert browser.run("messages.at(-1).role") == "assistant" and browser.run("!document.getElementById('send').hidden")
    assert browser.run(f"{LAST}.querySelector('.tools').textContent").endswith("· stoppedCopyAgain")
    assert browser.run("document.activeElement.id") == "input"
    end = time.monotonic() + 5
    while 'vllm:num_requests_running{engine="0",model_name="demo"} 0.0' not in server.get("/metrics").text:
        assert time.monotonic() < end, "the server goes on"


def test_a_server_that_asks_for_a_key(browser):
    with Server("demo", "--api-key", "open-sesame") as server:
        browser.open(server.url)
        status = "document.getElementById('status').textContent"
        browser.wait_for(f"{status} === 'The server asks for an API key.'")
        assert browser.run("document.activeElement.id") == "key"  # the settings are open at the right place
        set_field(browser, "key", "wrong")
        browser.wait_for(f"{status} === 'The server does not take this API key.'")
        set_field(browser, "key", "schlüssel")
        browser.wait_for(f"{status} === 'The API key has characters that no key has.'")
        set_field(browser, "key", "open-sesame")
        browser.wait_for("document.getElementById('model').textContent === 'demo'")
        assert browser.run(status) == ""
        assert browser.run("JSON.stringify({...sessionStorage})").count("open-sesame") == 1
        assert "open-sesame" not in browser.run("JSON.stringify({...localStorage})")


def test_under_a_prefix_and_a_name(browser):
    with Server("demo", "--root-path", "/models/llm", "--served-model-name", "packhorse <b>1</b>") as server:
        for path in ("/models/llm/", "/models/llm"):
            open_page(server, browser, path, "packhorse <b>1</b>")
            assert browser.run("location.pathname") == "/models/llm/"
        set_field(browser, "max-tokens", "4")
        ask(browser, QUESTION)
        wait_for_answers(browser, 1)
        assert "cut off: no tokens left" in browser.run(f"{LAST}.textContent")
        assert all(url.startswith(f"{server.url}/models/llm") for url in browser.requested())


def test_a_conversation_that_is_longer_than_the_context(browser):
    with Server("demo", "--max-model-len", "64") as server:
        open_page(server, browser)
        ask(browser, "word " * 100)
        wait_for_answers(browser, 1)
        problem = browser.run(f"{LAST}.querySelector('.error').textContent")
        assert "maximum context length is 64 tokens" in problem and problem.endswith("Begin a new chat, or ask for less.")
        set_field(browser, "max-tokens", "2")
        ask(browser, "Hi")  # the question that failed is not sent again
        wait_for_answers(browser, 2)
        assert browser.run("messages.map((each) => each.role)") == ["user", "assistant"]


def test_a_server_that_is_gone(browser):
    with Server("demo") as server:
        open_page(server, browser)
    ask(browser, QUESTION)
    wait_for_answers(browser, 1)
    assert browser.run(f"{LAST}.querySelector('.error').textContent") == "The server cannot be reached."
    assert browser.run("document.getElementById('said').textContent") == "The server cannot be reached."
    browser.click(".again")
    browser.wait_for(f"!({BUSY}) && {LAST}.querySelector('.error') !== null")
    assert browser.run("messages.map((each) => each.role)") == ["user"]


# ---- With answers of the test's own ----------------------------------------


def test_a_full_queue(page):
    error = {"error": {"message": "the queue is full (1 prompts wait or run); try again later"}}
    page.run(f"refusal = {{status: 503, body: {json.dumps(json.dumps(error))}}}")
    ask(page, "Well?")
    wait_for_answers(page, 1)
    assert page.run(f"{LAST}.querySelector('.error').textContent") == error["error"]["message"]
    page.run("refusal = {status: 502, body: '<h1>Bad gateway</h1>'}")  # a proxy's words
    page.click(".again")
    page.wait_for(f"{LAST}.querySelector('.error')?.textContent === 'The server answered 502.'")
    page.run("refusal = null")
    page.click(".again")
    page.wait_for("Boolean(window.stream)")
    say(page, "Now.")
    page.run("end()")
    wait_for_answers(page, 1)
    assert page.run("messages.map((each) => each.content)") == ["Well?", "Now."]


@pytest.mark.parametrize("how, problem", [
    ("""send('data: {"error": {"message": "no more"}}\\n\\n')""", "no more"),
    ("stream.close()", "The answer broke off."),
    ("stream.error(new TypeError('network error'))", "The connection broke off."),
])  # fmt: skip
def test_an_answer_that_ends_badly_keeps_what_was_said(page, how, problem):
    begin_answer(page)
    say(page, "So far")
    page.run(how)
    wait_for_answers(page, 1)
    assert page.run(f"{LAST}.querySelector('.error').textContent") == problem
    assert page.run("messages.at(-1).content") == "So far"


def test_reasoning_is_folded_and_not_sent_back(page):
    begin_answer(page)
    say(page, thought="Let me **see**.")
    assert page.run(f"{LAST}.querySelector('summary').textContent") == "Reasoning …"
    say(page, "Yes.")
    page.run("end()")
    wait_for_answers(page, 1)
    box = f"{LAST}.querySelector('details')"
    assert page.run(f"[{box}.open, {box}.querySelector('summary').textContent]") == [False, "Reasoning"]
    assert page.run(f"{box}.querySelector('strong').textContent") == "see"
    begin_answer(page, "And?")
    assert page.run("bodies.at(-1).messages") == [
        {"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And?"},
    ]  # fmt: skip


def test_settings_are_sent_and_the_models_own_are_not(page):
    begin_answer(page)
    assert set(page.run("Object.keys(bodies.at(-1))")) == {"model", "messages", "stream", "stream_options"}
    page.run("end()")
    wait_for_answers(page, 1)
    for name, value in (("system", "Be brief."), ("temperature", "0.5"), ("top-p", "0.9"), ("max-tokens", "7")):
        set_field(page, name, value)
    page.reload()
    page.run(STAND_IN)
    begin_answer(page, "And?")
    body = page.run("bodies.at(-1)")
    assert (body["temperature"], body["top_p"], body["max_completion_tokens"]) == (0.5, 0.9, 7)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_reload_keeps_the_conversation(page):
    begin_answer(page)
    say(page, "**Yes.**", thought="Hm.")
    page.run("end()")
    wait_for_answers(page, 1)
    begin_answer(page, "Go on")
    say(page, "Half")
    page.reload()
    assert page.run(TEXTS) == ["Well?", "Yes.", "Go on", "Half"]
    assert page.run("[document.querySelector('details div').textContent, messages.length]") == ["Hm.", 4]
    page.run(STAND_IN)
    begin_answer(page, "More")
    page.reload()
    assert page.run("[messages.length, document.querySelector('.error').textContent]") == [5, "No answer came."]
    page.click("#new")
    page.reload()
    assert page.run(TEXTS) == [] and page.run("!document.getElementById('welcome').hidden")


def test_scrolling_does_not_fight_the_reader(page):
    chat = "document.getElementById('chat')"
    distance = f"{chat}.scrollHeight - {chat}.scrollTop - {chat}.clientHeight"
    begin_answer(page)
    say(page, "A line.\n\n" * 50)
    assert page.run(distance) < 1
    page.run(f"{chat}.scrollBy(0, -30)")
    page.wait_for("!document.getElementById('down').hidden")
    place = page.run(f"{chat}.scrollTop")
    say(page, "A line.\n\n" * 50)
    page.run("end()")
    wait_for_answers(page, 1)
    assert page.run(f"{chat}.scrollTop") == place
    page.click("#down")
    page.wait_for(f"document.getElementById('down').hidden && {distance} < 1")
    page.type("one\ntwo\nthree\nfour")  # the field grows
    page.wait_for(f"{distance} < 1")


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_copying(server, page, has_clipboard):
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"], origin=server.url)
    begin_answer(page)
    say(page, "So:\n\n```c\nint **a;\n```")
    page.run("end()")
    wait_for_answers(page, 1)
    if not has_clipboard:  # as in a page that came over plain HTTP from another machine
        page.run("window.real = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    for place, text in (("pre", "int **a;"), (".tools", "So:\n\n```c\nint **a;\n```")):
        page.click(f"{place} .copy")
        page.wait_for(f"document.querySelector('{place} .copy').textContent === 'Copied'")
        assert page.run("(window.real ?? navigator.clipboard).readText()") == text


def test_screen_readers_hear_an_answer_once(page):
    live = page.run("[...document.querySelectorAll('[aria-live], [role=status], [role=log]')].map((each) => each.id)")
    assert live == ["status", "said"]
    begin_answer(page)
    say(page, "One ")
    say(page, "two.")
    assert page.run("[document.getElementById('status').textContent, document.getElementById('said').textContent]") == ["", ""]
    page.run("end()")
    wait_for_answers(page, 1)
    assert page.run("document.getElementById('said').textContent") == "One two."
