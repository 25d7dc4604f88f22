#!/usr/bin/env python3
"""Writes an SVG of a terminal to standard output; `just picture` makes the pictures of the README with it.

    picture.py analyze PROGRAM    what the program prints for the manifest below: the same on each machine
    picture.py demo               the chapter of the demo in which a worker dies, from a run of deploy/demo/run.sh
"""

import fcntl
import html
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios

COLUMNS, LINES, ROW, CHARACTER = 100, 2, 19, 8.2
COLORS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}
MANIFEST = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviws, subset: v1}
"""


def printed(program: str, folder: str) -> str:
    """Output on a terminal of COLUMNS columns."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color"}
    process = subprocess.Popen([program, "analyze", "shop"], cwd=folder, stdout=follower, stderr=subprocess.DEVNULL, env=environment)
    os.close(follower)
    text = b""
    while True:
        try:
            read = os.read(leader, 4096)
        except OSError:  # the program has closed the terminal
            break
        if not read:
            break
        text += read
    process.wait()
    return text.decode().replace("\r\n", "\n").rstrip()


def wrapped(text: str) -> list[str]:
    """At most LINES lines of at most COLUMNS columns; color sequences take none."""
    lines, column = [""], 0
    for part in re.split(r"(\x1b\[[0-9;]*m|\S+)", text):
        width = 0 if part.startswith("\x1b[") else len(part)
        if column + width > COLUMNS and part.strip():
            if len(lines) == LINES:
                lines[-1] = lines[-1].rstrip() + " …\x1b[0m"
                break
            lines.append("    ")
            column = 4
        lines[-1] += part
        column += width
    return lines


def died() -> list[str]:
    """The end of the chapter of the demo in which a worker dies, from the kill on. Long lines are shortened."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.sh")
    environment = {**os.environ, "CLICOLOR_FORCE": "1"}
    run = subprocess.run([script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=True)
    chapters = re.split(r"(?m)^(?:\x1b\[1m)?\d+\. ", run.stdout.decode())
    chapter = next(chapter for chapter in chapters if chapter.startswith("A worker dies in the middle"))
    lines = chapter.rstrip().split("\n")
    kill = next(number for number, text in enumerate(lines) if "has written the objects" in text)
    return [part for text in lines[kill:] for part in wrapped(text)]


def line(number: int, text: str) -> str:
    spans, style = [], {}
    for part in re.split(r"(\x1b\[[0-9;]*m)", text):
        if not part.startswith("\x1b["):
            if part:
                attributes = "".join(f' {name}="{value}"' for name, value in sorted(style.items()))
                spans.append(f"<tspan{attributes}>{html.escape(part)}</tspan>")
            continue
        for code in part[2:-1].split(";"):
            if code in ("", "0"):
                style = {}
            elif code == "1":
                style["font-weight"] = "bold"
            elif code == "2":
                style["opacity"] = "0.6"
            elif code in COLORS:
                style["fill"] = COLORS[code]
    return f'<text x="16" y="{34 + number * ROW}" xml:space="preserve">{"".join(spans)}</text>'


def analyzed(program: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "shop"))
        with open(os.path.join(folder, "shop", "reviews.yaml"), "w", encoding="utf-8") as file:
            file.write(MANIFEST)
        return ["\x1b[1m$ sailhand analyze shop\x1b[0m", "", *printed(program, folder).split("\n")]


def main() -> None:
    if sys.argv[1:] == ["demo"]:
        title, lines = "A worker is killed while it waits for pods; the other worker ends the command", died()
    elif sys.argv[1:2] == ["analyze"] and len(sys.argv) == 3:
        title = "sailhand analyze reports a misspelled host with line, effect and fix"
        lines = analyzed(os.path.abspath(sys.argv[2]))
    else:
        sys.exit(__doc__)
    width, height = round(COLUMNS * CHARACTER + 32), len(lines) * ROW + 36
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">')
    print(f"<title>{title}</title>")
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>')
    print('<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13.5" fill="#e6edf3">')
    print("\n".join(line(number, text) for number, text in enumerate(lines)))
    print("</g></svg>")


main()
