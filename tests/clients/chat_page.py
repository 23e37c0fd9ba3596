"""The chat page in a real browser, as its tests use it."""

import json

import pytest
from browser import Browser
from installed import unless_left_out
from server import Server

QUESTION = "What is the capital of Japan?"
BUSY = "document.querySelector('article.busy') !== null"
TEXTS = "[...document.querySelectorAll('article .text')].map((each) => each.innerText)"
LAST = "document.querySelector('article:last-of-type')"
# A server inside of the page, whose answers the test says.
STAND_IN = """
window.bodies = [];
window.refusal = null;
window.fetch = async (path, {body, signal}) => {
  bodies.push(body && JSON.parse(body));
  if (refusal) return new Response(refusal.body, {status: refusal.status});
  const start = (controller) => {
    window.stream = controller;
    signal.addEventListener('abort', () => controller.error(signal.reason));
  };
  return new Response(new ReadableStream({start}));
};
window.send = (text) => stream.enqueue(new TextEncoder().encode(text));
window.say = (delta, reason = null) => send(`data: ${JSON.stringify({choices: [{delta, finish_reason: reason}]})}\\n\\n`);
window.end = () => { send('data: [DONE]\\n\\n'); stream.close() };
true
"""


@pytest.fixture(scope="module")
def server():
    with Server("demo") as server:
        yield server


@pytest.fixture
def browser(tmp_path):
    unless_left_out("chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    problems = browser.problems()
    browser.close()
    assert problems == []


@pytest.fixture
def page(server, browser):
    """A browser at a page whose answers the test says."""
    open_page(server, browser)
    browser.run(STAND_IN)
    return browser


def open_page(server, browser, path="/", name="demo", **how):
    browser.open(server.url + path, **how)
    browser.wait_for(f"document.getElementById('model').textContent === '{name}'")


def set_field(browser, name, value):
    browser.run(f"(() => {{const f = document.getElementById('{name}'); f.value = '{value}';"
                "f.dispatchEvent(new Event('input')); f.dispatchEvent(new Event('change'))})()")  # fmt: skip


def ask(browser, text):
    browser.type(text)
    browser.press("Enter")


def wait_for_answers(browser, n):
    browser.wait_for(f"!({BUSY}) && document.querySelectorAll('article.assistant').length === {n}")


def begin_answer(page, question="Well?"):
    ask(page, question)
    page.wait_for(f"bodies.at(-1)?.messages.at(-1).content === {json.dumps(question)} && Boolean(window.stream)")


def say(page, content="", thought=None, reason=None, wait=True):
    delta = {"content": content, **({"reasoning": thought} if thought else {})}
    page.run(f"say({json.dumps(delta)}, {json.dumps(reason)})")
    if wait:
        page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def render(browser, text):
    """Expression for the element that shows a text."""
    browser.run("document.querySelector('.probe')?.remove()")
    browser.run(f"render(document.getElementById('chat').appendChild(make('div', 'probe')), {json.dumps(text)})")
    return "document.querySelector('.probe')"
