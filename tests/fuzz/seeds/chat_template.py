"""A chat template, then messages, tools and further variables."""

import json
from pathlib import Path

from .parts import parts

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def seeds():
    for case in json.loads((GOLDEN / "chat_templates.json").read_text())["templates"]:
        yield f"good_{case['name']}", parts(case["template"], json.dumps(case["cases"][-1].get("messages", [])))
    renamed = {"m": "messages", "tree": "tools"}
    for number, case in enumerate(json.loads((GOLDEN / "jinja_cases.json").read_text())["cases"]):
        template = case["template"]
        for old, new in renamed.items():
            template = template.replace(f" in {old} ", f" in {new} ")
        yield f"jinja_{number:03}", template.encode()
    kwargs = '{"enable_thinking": false, "x": [1, {"y": "z"}]}'
    yield "good_kwargs", parts("{{ x }}{{ enable_thinking }}{{ tools | tojson }}", "", "[]", kwargs)
    for name in ("tokenize", "messages", "tools"):
        yield f"065_{name}", parts("{{ x }}", "", "", json.dumps({name: 1}))
    for number, messages in enumerate(
        ["{}", "[1]", "[{}]", "[[]]", '[{"role":"user","content":null}]', '[{"role":"\\ud800"}]', "[" * 70]
    ):
        yield f"065_messages_{number}", parts("{% for m in messages %}{{ m }}{% endfor %}", messages)
    for number, text in enumerate(
        [
            "{% if %}",
            "{{ 1 + }}",
            "{{ x | nofilter }}",
            "{{ x is notest }}",
            "{% no %}",
            "{{ x() }}",
            "{{ x.y }}",
            "{{ 'a' + x }}",
        ]
    ):
        yield f"062_{number:02}", text.encode()
    ns = "{% set ns = namespace(s='x', l=[1]) %}{% for i in range(40) %}"
    for number, text in enumerate([
        "{{ range(10**9) }}", ns + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        ns + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
        ns + "{% set ns.s = ns.s | replace('x', 'xx') %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{{ caller() }}{% call f() %}{% endcall %}{% endmacro %}{% call f() %}{% endcall %}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "{% set l = [] %}{% do l.append(l) %}{{ l }}",
        "{% set l = [1] %}{% for x in l %}{% do l.append(x) %}{% endfor %}", "{{ 'x' * 10**12 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:999999999}'.format(1) }}", "{{ [1] | tojson(indent=10**9) }}", "{{ ('x\\n' * 9) | indent(1000) }}",
        "{{ [1] | batch(10**9, 'x') | list }}", "{{ [1] | slice(10**9) | list }}", "{{ " + "(" * 100 + "1",
        "{{ 1" + "+1" * 200 + " }}",
        "{{ 9223372036854775807 + 1 }}{{ -9223372036854775808 // -1 }}{{ 2 ** 64 }}{{ 1 % 0 }}{{ 1 / 0 }}",
        "{{ 'abc'[-9223372036854775808:9223372036854775807:-1] }}",
    ]):  # fmt: skip
        yield f"063_{number:02}", text.encode()
    for number, text in enumerate(
        [
            "{{ ''.__class__ }}",
            "{{ messages[0]['__init__'] }}",
            "{{ cycler }}",
            "{% include 'x' %}",
            "{{ messages|attr('__class__') }}",
        ]
    ):
        yield f"064_{number:02}", text.encode()
