"""A session as a picture (SVG), without any program but Python."""

from xml.sax.saxutils import escape

CHARACTER = 8.4  # pixels that a character of 14 takes in a font of fixed width
LINE = 19
MARGIN = 18
HEAD = 34
COLUMNS = 96


def line_of(text, at):
    """A command has its prompt in another colour than itself, both another than what it shows."""
    place = f'x="{MARGIN}" y="{at}"'
    if text.startswith("$ "):
        return (f'<text {place}><tspan class="prompt">$ </tspan>'
                f'<tspan class="command">{escape(text[2:])}</tspan></text>')
    return f'<text {place} class="output">{escape(text)}</text>'


def picture(text, title):
    lines = []
    for line in text.split("\n"):
        while len(line) > COLUMNS:
            lines.append(line[:COLUMNS])
            line = "  " + line[COLUMNS:]
        lines.append(line)
    width = int(COLUMNS * CHARACTER + 2 * MARGIN)
    height = HEAD + len(lines) * LINE + MARGIN
    rows = [line_of(line, HEAD + (number + 1) * LINE) for number, line in enumerate(lines)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label="{escape(title)}">',
        "<style>text { font: 14px 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre }",
        ".prompt { fill: #7ec699 } .command { fill: #ffffff; font-weight: bold } .output { fill: #b9c0c8 }",
        ".title { fill: #8a929b; text-anchor: middle }</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#1d2229"/>',
        *(f'<circle cx="{MARGIN + 6 + 20 * number}" cy="18" r="6" fill="{colour}"/>'
          for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))),
        f'<text x="{width // 2}" y="23" class="title">{escape(title)}</text>',
        *rows, "</svg>", ""])
