"""Curves as SVG, for a notebook that has no plotting library. Text of the caller is escaped."""
from __future__ import annotations

from html import escape
from typing import List, NamedTuple, Optional, Sequence

# Okabe and Ito's colours and three more: told apart by all eyes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442",
           "#882255", "#44aa99", "#999933", "#661100")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 280, 56, 12, 12, 40
LEGEND_ROW = 18


class Curve(NamedTuple):
    label: str
    x: Sequence[float]
    y: Sequence[Optional[float]]
    dashed: bool = False
    colour: Optional[str] = None


def steps(low: float, high: float, about: int = 5) -> List[float]:
    """Round numbers from low to high, about that many."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** len(f"{int(rough)}"[1:]) if rough >= 1 else 1.0
    while power > rough:
        power /= 10
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first = int(low / step) + (1 if low > 0 and low % step > step * 1e-9 else 0)
    found = []
    while first * step <= high + step * 1e-9:
        found.append(round(first * step, 12))
        first += 1
    return found or [low]


def plot(curves: Sequence[Curve], x_label: str = "λ", y_label: str = "loss (nats)") -> str:
    """The curves in one frame, with a legend below where there are two or more."""
    points = [(x, y) for c in curves for x, y in zip(c.x, c.y) if y is not None]
    if not points:
        return "<p>No point is known yet.</p>"
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    margin = 0.05 * (y1 - y0) or 0.05 * abs(y1) or 1.0
    y0, y1 = y0 - margin, y1 + margin
    if x1 == x0:
        x0, x1 = x0 - 0.5, x1 + 0.5

    def at_x(x: float) -> float:
        return LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    height = HEIGHT + (LEGEND_ROW * len(curves) if len(curves) > 1 else 0)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           f'role="img" font-family="sans-serif" font-size="12" style="background:#fff;color:#222;max-width:100%">']
    for y in steps(y0, y1):
        out.append(f'<path d="M{LEFT} {at_y(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end" fill="#444">{y:.6g}</text>')
    for x in steps(x0, x1):
        out.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#444">{x:.6g}</text>')
    out.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#888"/>'
               f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle" fill="#222">{escape(x_label)}</text>'
               f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle" '
               f'fill="#222">{escape(y_label)}</text>')
    for i, curve in enumerate(curves):
        colour = curve.colour or COLOURS[i % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
        known = [(x, y) for x, y in zip(curve.x, curve.y) if y is not None]
        if known:
            path = "L".join(f"{at_x(x):.1f} {at_y(y):.1f}" for x, y in known)
            out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if len(curves) > 1:
            y = HEIGHT + LEGEND_ROW * i + 8
            out.append(f'<path d="M{LEFT} {y}h24" stroke="{colour}" stroke-width="2"{dash}/>'
                       f'<text x="{LEFT + 30}" y="{y + 4}" fill="#222">{escape(curve.label)}</text>')
    out.append("</svg>")
    return "".join(out)
