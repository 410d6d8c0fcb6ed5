"""headers.py INCLUDE CC CXX: each public header compiles alone, as C11 and as C++17, and says what it declares."""
import pathlib
import subprocess
import sys

from house import api_declarations, finish, read

include, c_compiler, cxx_compiler = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
LANGUAGES = [[c_compiler, "-x", "c", "-std=c11"], [cxx_compiler, "-x", "c++", "-std=c++17"]]
problems = []
checked = 0


def compile_alone(header, language):
    name = header.relative_to(include)
    # twice: the guard works. Not -pedantic: the headers use GNU attributes
    command = [*language, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}", "-"]
    result = subprocess.run(command, input=f"#include <{name}>\n#include <{name}>\n", text=True, capture_output=True,
                            check=False)
    if result.returncode != 0:
        problems.append(f"{name} as {language[-1]}:\n{result.stderr}")


def is_documented(lines, number):
    """A comment stands above it, or above its group: the lines before it up to a blank one."""
    while number > 0 and lines[number - 1].strip():
        if lines[number - 1].rstrip().endswith("*/"):
            return True
        number -= 1
    return False


for header in sorted(include.rglob("*.h")):
    for language in LANGUAGES:
        compile_alone(header, language)
        checked += 1
    lines = read(header).split("\n")
    if not lines[0].startswith(f"/* {header.name}: "):
        problems.append(f"{header.name}: the first line does not say what it is")
    for number, name in api_declarations(header):
        checked += 1
        if not is_documented(lines, number - 1) and "*/" not in lines[number - 1]:
            problems.append(f"{header.name}:{number}: {name} has no comment")

finish(checked, problems)
