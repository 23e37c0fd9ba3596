"""Medians and ratios of the samples of `bench/peers`, and the tables that this folder's programs print."""

import statistics

TESTS = ("pp", "tg")


def median(samples, program, test):
    speeds = [sample[test] for sample in samples.get(program, [])]
    return statistics.median(speeds) if speeds else None


def by_bytes(model, results, test):
    """Speed of a model relative to what its bytes imply: another's speed, scaled by the bytes that a token reads."""
    other = results.get(model.bytes_of)
    if other is None:
        return None
    speed, other_speed = (median(samples, "packhorse", test) for samples in (results[model.label], other))
    n_bytes, other_bytes = (median(samples, "packhorse", "bytes") for samples in (results[model.label], other))
    return speed / other_speed * n_bytes / other_bytes


def cells(model, results, test):
    """Text of: llama.cpp, Packhorse, ratio."""
    peer, ours = (median(results[model.label], program, test) for program in ("llama.cpp", "packhorse"))
    if peer:
        ratio = f"{ours / peer:.2f}"
    else:
        share = by_bytes(model, results, test)
        ratio = "-" if share is None else f"{share:.2f}*"
    return [*("-" if speed is None else f"{speed:.1f}" for speed in (peer, ours)), ratio]


def aligned(rows):
    """Lines of a Markdown table: a head, then rows of texts; the first column is left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return [f"| {' | '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])} |"
            for row in [rows[0], rule, *rows[1:]]]


def format_table(models, results, divergences, names):
    """`divergences`: {label: mean KL}; `names`: what the two tests are called."""
    head = ["model", *(f"{name} {column}" for name in names for column in ("llama.cpp", "packhorse", "ratio")),
            "of bandwidth", "KL to float32"]
    rows = [head]
    for model in models:
        kl = divergences.get(model.label)
        share = median(results[model.label], "packhorse", "share")
        rows.append([model.label, *cells(model, results, "pp"), *cells(model, results, "tg"), f"{share:.0%}",
                     "-" if kl is None else f"{kl:.1e}"])
    lines = aligned(rows)
    for model in models:
        if by_bytes(model, results, "tg") is not None:
            lines.append(f"\n\\* {model.label} relative to what its bytes imply: its speed / that of {model.bytes_of} x "
                         "its bytes per token / those of the other.")
    return "\n".join(lines)
