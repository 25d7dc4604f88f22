#!/usr/bin/env python3
"""Writes an SVG of a terminal to standard output: what the given program really prints for the manifest below. `just picture`
makes docs/pictures/analyze.svg with it. The output depends on the program alone, so the picture is the same on each machine."""

import fcntl
import html
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios

COLUMNS, ROW, CHARACTER = 100, 19, 8.2
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


def main() -> None:
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "shop"))
        with open(os.path.join(folder, "shop", "reviews.yaml"), "w", encoding="utf-8") as file:
            file.write(MANIFEST)
        text = printed(program, folder)
    lines = ["\x1b[1m$ sailhand analyze shop\x1b[0m", "", *text.split("\n")]
    width, height = round(COLUMNS * CHARACTER + 32), len(lines) * ROW + 36
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">')
    print("<title>sailhand analyze reports a misspelled host with line, effect and fix</title>")
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>')
    print('<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13.5" fill="#e6edf3">')
    print("\n".join(line(number, text) for number, text in enumerate(lines)))
    print("</g></svg>")


main()
