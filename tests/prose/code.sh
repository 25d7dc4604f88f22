#!/usr/bin/env bash
# Checks comments and string literals of all Rust code of the product for the words in code-words.txt. Names of variables and
# inline code in backticks do not count. Prints `file:line: "phrase": write …` and exits with 1 if it finds any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mapfile -t files < <(git ls-files 'src/*.rs' 'crates/*.rs' 'tests/support/*.rs')

awk -v words=tests/prose/code-words.txt '
  # Comments and string literals of a line, in lower case, with one space between words.
  function prose(line,   text) {
    text = ""
    if (line ~ /alias = /) return text # names of earlier versions
    if (line ~ /^[ \t]*\/\//) text = line
    else {
      while (match(line, /"([^"\\]|\\.)*"/)) {
        text = text " " substr(line, RSTART, RLENGTH)
        line = substr(line, 1, RSTART - 1) " " substr(line, RSTART + RLENGTH)
      }
      if (match(line, /\/\/.*/)) text = text " " substr(line, RSTART)
    }
    gsub(/`[^`]*`/, " ", text)
    gsub(/\{[^}]*\}/, " ", text)
    text = tolower(text)
    gsub(/[a-z0-9]+\.[a-z0-9.]+\/[a-z0-9-]+/, " ", text) # keys of labels
    gsub(/[^a-z0-9]+/, " ", text)
    return " " text " "
  }
  BEGIN {
    FS = "\t"
    while ((getline line < words) > 0)
      if (line !~ /^#/ && split(line, part, "\t") == 2) instead[part[1]] = part[2]
  }
  {
    text = prose($0)
    for (phrase in instead)
      if (index(text, " " phrase " ")) {
        printf "%s:%d: \"%s\": write %s\n", FILENAME, FNR, phrase, instead[phrase]
        found = 1
      }
  }
  END { exit found }
' "${files[@]}" || { echo "docs/style.md has the rules; code-words.txt the words" >&2; exit 1; }
