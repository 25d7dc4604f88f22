#!/usr/bin/env bash
# Checks the documentation for the words in words.txt: `check.sh [FILE…]`, by default every Markdown file of the project.
# Code blocks and inline code do not count. Prints `file:line: "phrase": write …` and exits with 1 if it finds any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

words=tests/prose/words.txt
if (($# == 0)); then
  # Pages of rules are generated; a unit test checks their texts.
  mapfile -t files < <(git ls-files '*.md' ':!docs/rules' ':!tests/tools' ':!fuzz')
  set -- "${files[@]}"
fi

awk -v words="$words" '
  # Lower case, and one space for everything between words.
  function plain(text) {
    gsub(/`[^`]*`/, " ", text)
    text = tolower(text)
    gsub(/[^a-z0-9]+/, " ", text)
    gsub(/ no longer /, " nolonger ", text)
    return " " text " "
  }
  function check(   phrase, text) {
    if (paragraph == "") return
    text = plain(paragraph)
    for (phrase in instead)
      if (index(text, " " phrase " ")) {
        printf "%s:%d: \"%s\": write %s\n", file, first, phrase, instead[phrase]
        found = 1
      }
    paragraph = ""
  }
  BEGIN {
    FS = "\t"
    while ((getline line < words) > 0)
      if (line !~ /^#/ && split(line, part, "\t") == 2) instead[part[1]] = part[2]
  }
  FNR == 1 { check(); fenced = 0; file = FILENAME }
  /^[ \t]*```/ { check(); fenced = !fenced; next }
  fenced { next }
  /^[ \t]*$/ || /^[ \t]*([-*|#]|[0-9]+\.) ?/ { check() }
  !/^[ \t]*$/ { if (paragraph == "") first = FNR; paragraph = paragraph " " $0 }
  END { check(); exit found }
' "$@" || { echo "docs/style.md has the rules; words.txt the words" >&2; exit 1; }
