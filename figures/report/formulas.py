"""Convert formulas typed as text, such as 'a(0) > -|w_1(0)|', to MathML.

Anything that is not a formula becomes escaped text.
"""

from __future__ import annotations

import re
from html import escape

_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?)|(?P<name>[A-Za-z]+(?:_[A-Za-z0-9]+)?)"
    r"|(?P<operator><=|>=|==|!=|<<|->|\+-|\*\*|\.\.\.|[^\s\w])|(?P<other>\S)"
)
_GREEK = {
    "alpha": "α", "beta": "β", "delta": "δ", "phi": "φ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "theta": "θ", "perp": "⊥",
}  # fmt: skip
_OPERATORS = {
    "<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "<<": "≪", "->": "→", "+-": "±", "...": "…", "-": "−",
    "*": "·",
}  # fmt: skip
_WORDS = re.compile(r"\s*\b(and|or|not)\b\s*")
# Names in the conditions of `singleneuron verify --statement`, and the formulas to show for them.
_CONDITION = {
    "a0": "a(0)", "w1": "w_1(0)", "q": "|w_perp(0)|", "rho": "|w(0)|", "kept": "|mask * w(0)|",
    "g_a": "g(a(0), beta_a)", "g_w": "sum_i g(w_i(0), beta_w)", "g_kept": "sum_kept g(w_i(0), beta_w)",
    "theta": "theta(0)", "flip_angle": "theta^*", "True": "every start", "**": "^",
}  # fmt: skip


def prose(text: str) -> str:
    """Convert a string with formulas between backticks to HTML."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # unbalanced backticks
        return escape(text)
    html = escape(parts[0])
    for formula, rest in zip(parts[1::2], parts[2::2], strict=True):
        words = rest.lstrip(",.;:)")
        mark = rest[: len(rest) - len(words)]  # punctuation stays with the formula: no line begins with it
        html += f'<span class="whole">{mathml(formula)}{mark}</span>{escape(words)}'
    return html


def condition(text: str) -> str:
    """Convert a condition on a start, in the syntax of statement files, to HTML."""
    if text == "True":
        return "every start"
    named = re.sub(r"\w+|\*\*", lambda match: _CONDITION.get(match[0], match[0]), text)
    parts = _WORDS.split(named)
    return "".join(f" {part} " if index % 2 else mathml(part) for index, part in enumerate(parts)).strip()


def mathml(formula: str) -> str:
    """Convert a formula to a `<math>` element, or to an empty string if the formula is empty.

    Adjacent symbols form a product, `_` and `^` apply to the next symbol only, and bars `|` come in pairs. A
    root covers the next symbol, or the next group in parentheses, which are then left out.
    """
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(formula)]
    row: list[str] = []
    bars, root, power, operand = 0, False, False, False  # `operand`: whether the last token ended an operand
    groups: list[int | None] = []  # for each open parenthesis: where its root begins in `row`, or None
    for kind, token in tokens:
        if kind == "operator" and token in ("^", "**"):
            power = True
            continue
        if token == "sqrt":
            root = True
            continue
        if token == "(":
            groups.append(len(row) if root else None)
        elif token == ")" and groups and (begin := groups.pop()) is not None:
            row[begin:] = [f"<msqrt>{''.join(row[begin:])}</msqrt>"]
            operand = True
            continue
        if token == "(" and root:
            root, operand = False, False
            continue
        prefix = not operand
        if token == "|":
            prefix = bars % 2 == 0
            bars += 1
        element = "<mo>∗</mo>" if power and token == "*" else _element(kind, token, prefix)
        if root:
            element, root = f"<msqrt>{element}</msqrt>", False
        if power and row:
            element, power = f"<msup>{row.pop()}{element}</msup>", False
        row.append(element)
        operand = kind != "operator" or token in (")", "]") or (token == "|" and not prefix)
    return f"<math><mrow>{''.join(row)}</mrow></math>" if row else ""


def _element(kind: str, token: str, prefix: bool) -> str:
    if kind == "number":
        return f"<mn>{token}</mn>"
    if kind == "name":
        name, _, index = token.partition("_")
        base = _symbol(name)
        return f"<msub>{base}{_symbol(index)}</msub>" if index else base
    if kind == "other":
        return f"<mtext>{escape(token)}</mtext>"
    form = ' form="prefix"' if prefix and token in "-+|" else ' form="postfix"' if token == "|" else ""
    tight = ' lspace="0" rspace="0"' if token == "/" else ""
    fence = ' stretchy="false"' if token in "|()[]" else ""
    return f"<mo{form}{fence}{tight}>{escape(_OPERATORS.get(token, token))}</mo>"


def _symbol(name: str) -> str:
    if name.isdigit():
        return f"<mn>{name}</mn>"
    if name == "sum":
        return "<mo>∑</mo>"
    symbol = _GREEK.get(name, name)
    return f"<mi>{symbol}</mi>" if len(symbol) == 1 else f'<mi mathvariant="normal">{symbol}</mi>'
