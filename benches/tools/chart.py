"""Draws the ratios to the floor as bars: the speed as a share of the floor's, and the goal as a mark on each bar."""

from xml.sax.saxutils import escape

ROW, LABEL, WIDTH, TOP = 20, 330, 400, 44


def share(kind, value):
    """Costs that are twice the floor's are half of its speed."""
    return value if kind == "share" else 1 / value


def draw(bars):
    """bars: [(goal, median)]"""
    height = TOP + ROW * len(bars) + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + WIDTH + 60}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="{LABEL}" y="16" font-weight="bold">Speed as a share of the floor\'s; the mark is the goal</text>']
    for tenth in range(0, 11, 2):
        x = LABEL + WIDTH * tenth / 10
        out.append(f'<line x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{height - 8}" stroke="#dddddd"/>')
        out.append(f'<text x="{x}" y="{TOP - 10}" text-anchor="middle" fill="#555555">{tenth / 10:g}</text>')
    for row, (goal, median) in enumerate(bars):
        y = TOP + ROW * row
        length, mark = share(goal.kind, median), LABEL + WIDTH * share(goal.kind, goal.bound)
        colour = "#3b7dbf" if length >= share(goal.kind, goal.bound) else "#c9803a"
        out.append(f'<text x="{LABEL - 8}" y="{y + 11}" text-anchor="end">{escape(goal.measure)}</text>')
        out.append(f'<rect x="{LABEL}" y="{y}" width="{WIDTH * min(length, 1.05):.1f}" height="{ROW - 6}" fill="{colour}"/>')
        out.append(f'<line x1="{mark:.1f}" y1="{y - 2}" x2="{mark:.1f}" y2="{y + ROW - 4}" stroke="#000000" stroke-width="2"/>')
        out.append(f'<text x="{LABEL + WIDTH * min(length, 1.05) + 5:.1f}" y="{y + 11}" fill="#333333">{length:.2f}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
