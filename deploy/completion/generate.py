#!/usr/bin/env python3
"""Writes deploy/completion/ from what the program itself says: rebasind help, and COMMAND --help.

    deploy/completion/generate.py build/release/rebasind [--check]

--check writes nothing and says, by its exit status, whether the files are as they would be written."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = {"dir": ("--data-dir", "--import-root", "--output", "--to"),
         "file": ("--config", "--token-file")}
WORDS = {"--log-format": "text json", "--log-level": "debug info warn error", "--sandbox": "auto require off",
         "--scopes": "read submit admin"}
AFTER = {"token": "create list revoke"}
PATHS = ("run", "inspect", "work")  # take a file or a folder


def said(binary, *words):
    return subprocess.run([binary, *words], capture_output=True, text=True, check=True).stdout


def commands(binary):
    text = said(binary, "help").split("Commands:\n")[1].split("\n\n")[0]
    return re.findall(r"^  ([a-z-]+) +(.*)$", text, re.M)


def flags(binary, command):
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said(binary, command, "--help"))) | {"--help"})


def bash(table):
    out = ["# bash completion for rebasind; made by deploy/completion/generate.py. Put it into",
           "# /usr/share/bash-completion/completions/rebasind, or source it.", "_rebasind() {",
           "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=",
           "    case $before in"]
    out += [f"    {'|'.join(FILES['dir'])}) COMPREPLY=($(compgen -d -- \"$current\")); return ;;",
            f"    {'|'.join(FILES['file'])}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;"]
    out += [f"    {flag}) COMPREPLY=($(compgen -W '{words}' -- \"$current\")); return ;;"
            for flag, words in WORDS.items()]
    out += ["    esac", "    if ((COMP_CWORD == 1)) && [[ $current != -* ]]; then",
            f"        COMPREPLY=($(compgen -W '{' '.join(name for name, _, _ in table)}' -- \"$current\"))",
            "        return", "    fi", "    case ${COMP_WORDS[1]} in"]
    for name, _, own in table:
        out += [f"    {name}) words='{' '.join(own)}' ;;"]
    serve = next(own for name, _, own in table if name == "serve")
    out += [f"    *) words='{' '.join(serve)}' ;;", "    esac",
            "    if [[ $current == -* ]]; then", "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))"]
    for name, words in AFTER.items():
        out += [f"    elif [[ ${{COMP_WORDS[1]}} == {name} ]]; then",
                f"        ((COMP_CWORD == 2)) && COMPREPLY=($(compgen -W '{words}' -- \"$current\"))"]
    out += ["    elif [[ ${COMP_WORDS[1]} == help ]]; then",
            f"        COMPREPLY=($(compgen -W '{' '.join(name for name, _, _ in table)}' -- \"$current\"))",
            f"    elif [[ \" {' '.join(PATHS)} \" == *\" ${{COMP_WORDS[1]}} \"* ]]; then",
            "        COMPREPLY=($(compgen -f -- \"$current\"))", "    fi", "}",
            "complete -o filenames -F _rebasind rebasind"]
    return "\n".join(out) + "\n"


def zsh(table):
    out = ["#compdef rebasind", "# zsh completion for rebasind; made by deploy/completion/generate.py. Put it into a folder of $fpath.",
           "_rebasind() {", "    local -a commands words", "    commands=("]
    out += ["        '" + f"{name}:{summary}".replace("'", "'\\''") + "'" for name, summary, _ in table]
    out += ["    )", "    case $words[CURRENT-1] in" if False else "    case ${words[CURRENT-1]} in"]
    out = [line for line in out]
    out += [f"    {'|'.join(FILES['dir'])}) _files -/; return ;;", f"    {'|'.join(FILES['file'])}) _files; return ;;"]
    out += [f"    {flag}) compadd -- {words}; return ;;" for flag, words in WORDS.items()]
    out += ["    esac", "    if ((CURRENT == 2)) && [[ ${words[CURRENT]} != -* ]]; then",
            "        _describe command commands", "        return", "    fi", "    local -a own", "    case ${words[2]} in"]
    for name, _, own in table:
        out += [f"    {name}) own=({' '.join(own)}) ;;"]
    serve = next(own for name, _, own in table if name == "serve")
    out += [f"    *) own=({' '.join(serve)}) ;;", "    esac", "    if [[ ${words[CURRENT]} == -* ]]; then", "        compadd -- $own"]
    for name, words in AFTER.items():
        out += [f"    elif [[ ${{words[2]}} == {name} ]]; then", f"        ((CURRENT == 3)) && compadd -- {words}"]
    out += ["    elif [[ ${words[2]} == help ]]; then", "        _describe command commands", "    else", "        _files", "    fi", "}",
            "_rebasind \"$@\""]
    return "\n".join(out).replace("    local -a commands words\n", "    local -a commands\n") + "\n"


def main(binary, check=False):
    table = [(name, summary, flags(binary, name)) for name, summary in commands(binary)]
    same = True
    for name, text in (("rebasind.bash", bash(table)), ("_rebasind", zsh(table))):
        path = os.path.join(HERE, name)
        if check:
            same = same and os.path.exists(path) and open(path, encoding="utf-8").read() == text
        else:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--check" in sys.argv[2:]))
