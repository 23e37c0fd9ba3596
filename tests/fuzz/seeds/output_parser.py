"""Answers of models in the notations of tool calls and reasoning, good ones and broken ones."""

from .parts import parts

ARGUMENTS = '{"q": "a } ] \\" <tool_call> ;", "n": [1, -2.5e3, {"\u00e4": null}]}'
OBJECT = '{"name": "f", "arguments": ' + ARGUMENTS + "}"
TOOLS = (
    '[{"type": "function", "function": {"name": "f", "parameters": {"properties": '
    '{"a": {"type": "string"}, "b": {"type": ["integer", "null"]}}}}}]'
)
TAGGED = "<function=f>\n<parameter=a>\n5\n</parameter>\n<parameter=b>\n2\n</parameter>\n</function>"

ANSWERS = {
    "hermes": f"Well.\n<tool_call>\n{OBJECT}\n</tool_call>\n<tool_call>\n{OBJECT}\n</tool_call>",
    "internlm": f"<|action_start|><|plugin|>{OBJECT}<|action_end|>",
    "granite": f"<|tool_call|>[{OBJECT}, {OBJECT}]",
    "phi4_mini_json": f"functools[{OBJECT}]",
    "llama3_json": f"<|python_tag|>{OBJECT}; {OBJECT}<|eom_id|>",
    "mistral": f"[TOOL_CALLS][{OBJECT}]</s>",
    "deepseek_v3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
    + ARGUMENTS
    + "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "kimi_k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
    + ARGUMENTS
    + "<|tool_call_end|><|tool_calls_section_end|>",
    "pythonic": "[f(a=1, b='x\\n\\u00e4', c=[True, {'k': None}]), g()]",
    "qwen3_coder": f"<tool_call>\n{TAGGED}\n</tool_call>",
    "seed_oss": f"<seed:tool_call>\n{TAGGED}\n</seed:tool_call>",
    "minimax_m2": '<minimax:tool_call><invoke name="f"><parameter name="a">x</parameter></invoke></minimax:tool_call>',
    "glm45": "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
}
REASONING = {
    "qwen3": "<think>\nhm\n</think>\n\n",
    "deepseek_r1": "hm</think>",
    "mistral": "[THINK]hm[/THINK]",
    "seed_oss": "<seed:think>hm</seed:think>",
    "granite": "Here is my thought process: hm Here is my response: ",
    "hunyuan_a13b": "<think>\nhm\n</think>\n<answer>\nHi\n</answer>",
    "kimi_k2": "hm",
}


def seeds():
    def seed(parser, reasoning, answer):
        return parts(parser, reasoning, TOOLS, answer)

    for parser, answer in ANSWERS.items():
        reasoning = parser if parser in REASONING else "qwen3"
        yield f"calls_{parser}", seed(parser, reasoning, REASONING[reasoning] + answer)
        yield f"cut_{parser}", seed(parser, "", answer[: len(answer) * 2 // 3])
        yield f"broken_{parser}", seed(parser, "", answer.replace('"', "", 1).replace(">", "", 1).replace("=", ":", 1))
    yield "calls_mistral_args", seed("mistral", "", f"[TOOL_CALLS]f[ARGS]{ARGUMENTS}[TOOL_CALLS]g{{}}")
    yield "calls_required", seed("hermes", "", '[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {"a": 1}}]')
    for name, start in REASONING.items():
        yield f"reasoning_{name}", seed("hermes", name, start + "Hi <b> there<|im_end|>")
