"""The chat page: what it shows, and where."""

import json
import os
from pathlib import Path

import pytest
from chat_page import QUESTION, ask, begin_answer, browser, open_page, page, render, say, server, set_field, wait_for_answers

# Where the picture of docs/server.md is to be written; nowhere without.
PICTURE = os.environ.get("PACKHORSE_PICTURE")


def test_what_a_model_writes_is_never_markup(server, browser):
    open_page(server, browser)
    hostile = ("<img src=x onerror=alert(1)> **bold** `code` <script>document.title='x'</script>\n"
               "```<b>js\nlet <b>x</b>\n```\n- one <b>\n- two\n\n# head <b>\n> <b>\n\n| a <b> |\n|---|\n| <b> |\n\n"
               "[a](javascript:alert(1)) [b](data:text/html,x) [c](//x.org) [d](https://x.org/\"onclick=\"alert(1)) ![e](https://x.org/e.png)")  # fmt: skip
    probe = render(browser, hostile)
    assert browser.run(f"{probe}.querySelectorAll('img, script, b, iframe, [onclick]').length") == 0
    assert browser.run(f"{probe}.querySelector('p').textContent").startswith("<img src=x onerror=alert(1)> bold code <script>")
    assert browser.run(f"{probe}.querySelector('pre code').textContent") == "let <b>x</b>"
    links = browser.run(f"[...{probe}.querySelectorAll('a')].map((a) => [a.href, a.title, a.rel, a.target])")
    safe = ["noopener noreferrer", "_blank"]
    addresses = ["https://x.org/%22onclick=%22alert(1)", "https://x.org/e.png"]
    assert links == [[address, address, *safe] for address in addresses]
    assert browser.run("document.title") == "demo · Packhorse"
    with pytest.raises(RuntimeError, match="TrustedHTML"):
        browser.run("document.body.innerHTML = '<b>no</b>'")  # the policy holds for what this page may become, too
    browser.events.clear()


@pytest.mark.parametrize("unit", ["> ", "- ", "  - \n", "*", "`", "``", "[", "[a](", "**a ", "|", "_a", "~~", "#", "http://.", "\n```"])
def test_no_text_is_too_much(server, browser, unit):
    open_page(server, browser)
    probe = render(browser, unit * 20_000)
    assert browser.run(f"{probe}.childNodes.length") > 0
    assert browser.run(f"{probe}.querySelectorAll('* > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > * > *').length") == 0


@pytest.mark.parametrize("text, html", [
    ("**a `b`** *c* _d_ snake_case_name ~~e~~ 2 * 3 * 4", "<p><strong>a <code>b</code></strong> <em>c</em> <em>d</em> snake_case_name <del>e</del> 2 * 3 * 4</p>"),
    ("***a*** \\*b\\* ``c`d`` __init__", "<p><strong><em>a</em></strong> *b* <code>c`d</code> __init__</p>"),
    ("# a\n#b\n###### c", "<h3>a</h3><p>#b</p><h6>c</h6>"),
    ("1. a\n   - b\n   - c\n\n2. d\n   e", "<ol start=\"1\"><li>a<ul><li>b</li><li>c</li></ul></li><li>d\ne</li></ol>"),
    ("3) a\n- b", "<ol start=\"3\"><li>a</li></ol><ul><li>b</li></ul>"),
    ("> a\n> > b\n\n---", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><hr>"),
    ("|a|b|\n|:-:|--:|\n|1|", '<div class="table"><table><tr><th class="middle">a</th><th class="right">b</th></tr>'
                             '<tr><td class="middle">1</td></tr></table></div>'),
    ("|a|b \\| c|\n|-|-|", '<div class="table"><table><tr><th>a</th><th>b | c</th></tr></table></div>'),
    ("a | b\nc", "<p>a | b\nc</p>"),
])  # fmt: skip
def test_markdown(server, browser, text, html):
    open_page(server, browser)
    probe = render(browser, text)
    assert browser.run(f"{probe}.innerHTML") == html


def test_code_that_grows_keeps_its_element(page):
    begin_answer(page)
    say(page, "````py\na = 1\n```\n")
    page.run("window.block = document.querySelector('pre')")
    say(page, "b = 2\n")
    say(page, "````\nDone.")
    page.run("end()")
    wait_for_answers(page, 1)
    assert page.run("document.querySelector('pre') === block")
    assert page.run("block.querySelector('code').textContent") == "a = 1\n```\nb = 2"
    assert page.run("block.querySelector('.language').textContent") == "py"
    assert page.run("document.querySelector('pre + p').textContent") == "Done."


@pytest.mark.parametrize("dark", [False, True])
def test_it_follows_the_systems_colours_until_told_otherwise(server, browser, dark):
    open_page(server, browser, dark=dark)
    back = "getComputedStyle(document.body).backgroundColor"
    light, night = "rgb(250, 247, 242)", "rgb(27, 24, 22)"
    assert browser.run(back) == (night if dark else light)
    browser.click("#theme")
    assert browser.run(back) == (light if dark else night)
    browser.reload()
    assert browser.run(back) == (light if dark else night)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out(server, browser, dark):
    open_page(server, browser, dark=dark, still=True)
    browser.run("addArticle('user').text.textContent = 'a'")
    browser.run("new Answer({content: '[b](https://b.org) `c`\\n\\n> d\\n\\n```e\\nf\\n```', note: 'g'}).end('h'); openSettings(true)")
    faint = browser.run("""(() => {
        const light = (text) => {
          const part = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
          const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
          return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
        };
        const behind = (element) => {
          const color = getComputedStyle(element).backgroundColor;
          return color.endsWith(', 0)') ? behind(element.parentElement) : color;
        };
        const shown = [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() &&
          [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && !each.disabled);
        return shown.map((each) => {
          const [a, b] = [light(getComputedStyle(each).color), light(behind(each))];
          return [each.outerHTML, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), shown.length];
        }).filter(([, contrast, n]) => contrast < 4.5 || n < 20);
      })()""")  # WCAG 2.1, 1.4.3
    assert faint == []


def test_nothing_moves_for_those_who_want_it_still(server, browser):
    open_page(server, browser, still=True)
    browser.run("addArticle('user')")
    moving = "[...document.querySelectorAll('*')].filter((each) => getComputedStyle(each).animationName !== 'none').length"
    assert browser.run(moving) == 0


@pytest.mark.parametrize("with_settings", [False, True])
def test_everything_has_its_place(server, browser, with_settings):
    open_page(server, browser, width=1000, height=640)
    if with_settings:
        browser.click("#open-settings")
    browser.run("window.box = (name) => document.querySelector(name).getBoundingClientRect()")
    assert browser.run("box('#chat').bottom <= box('form').top && box('form').bottom <= 640")
    assert browser.run("box('#chat').left === box('form').left && box('#chat').width === box('form').width")
    right = browser.run("box('form').right")
    assert right == (browser.run("box('#settings').left") if with_settings else 1000)


def test_a_phone(server, browser):
    open_page(server, browser, width=360, height=640, mobile=True)
    wide = "|" + "a long cell|" * 9 + "\n|" + "-|" * 9 + "\n\n```\n" + "x" * 500 + "\n```\n" + "y" * 500
    browser.run(f"new Answer({{content: {json.dumps(wide)}}}).end()")
    assert browser.run("Math.max(document.documentElement.scrollWidth, document.getElementById('chat').scrollWidth)") <= 360
    ask(browser, "one")  # a new line: keys on a screen have no Shift+Enter
    assert browser.run("messages.length") == 0
    browser.click("#open-settings")
    assert browser.run("!document.getElementById('settings').hidden && document.documentElement.scrollWidth <= 360")
    browser.press("Escape")
    assert browser.run("[document.getElementById('settings').hidden, document.activeElement.id]") == [True, "open-settings"]


def test_every_control_has_a_name_and_its_turn(server, browser):
    open_page(server, browser)
    nameless = browser.run("""[...document.querySelectorAll('button, input, textarea, select')].filter((each) =>
        !each.ariaLabel && !each.textContent.trim() && !each.labels?.length).map((each) => each.outerHTML)""")
    assert nameless == []
    browser.run("openSettings(true); document.getElementById('new').focus()")
    turns = ["new"]
    while turns[-1] != "input":
        browser.press("Tab")
        turns.append(browser.run("document.activeElement.id"))
        assert len(turns) < 20, turns
    assert turns == ["new", "theme", "open-settings", "system", "temperature", "top-p", "max-tokens", "model-choice",
                     "key", "chat", "input"]  # fmt: skip


def test_a_picture_of_it(server, browser, tmp_path):
    open_page(server, browser, width=1000, height=640, still=True)
    set_field(browser, "temperature", "0")
    for n, question in enumerate((QUESTION, "Write a short list of three fruits."), 1):
        ask(browser, question)
        wait_for_answers(browser, n)
    picture = Path(PICTURE) if PICTURE else tmp_path / "chat_page.png"
    browser.screenshot(picture)
    assert 5_000 < picture.stat().st_size < 200_000
