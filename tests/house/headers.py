"""headers.py INCLUDE CC CXX: each public header compiles alone, as C11 and as C++17, and says what it declares."""
import pathlib
import subprocess
import sys

from house import api_declarations, finish, read

include, c_compiler, cxx_compiler = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
C11 = [c_compiler, "-x", "c", "-std=c11"]
CXX17 = [cxx_compiler, "-x", "c++", "-std=c++17"]
ROW_BITS = ["8", "16", "32", "64"]
problems = []
checked = 0


def compile_alone(name, language, prelude=""):
    global checked
    checked += 1
    # twice: the guard works. Not -pedantic: the headers use GNU attributes
    source = f"{prelude}#include <{name}>\n#include <{name}>\n"
    flags = ["-Wall", "-Wextra", "-Werror", "-Wfatal-errors", "-fsyntax-only", f"-I{include}", "-"]
    result = subprocess.run([*language, *flags], input=source, text=True, capture_output=True, check=False)
    if result.returncode != 0:
        problems.append(f"{name}, {language[-1]} {prelude.strip()}\n{result.stderr}")


def is_documented(lines, number):
    """A comment stands above it, or above its group: the lines before it up to a blank one."""
    while number > 0 and lines[number - 1].strip():
        if lines[number - 1].rstrip().endswith("*/"):
            return True
        number -= 1
    return False


for header in sorted(include.rglob("*.h")):
    name = str(header.relative_to(include))
    if not header.name.startswith("row_") and not header.name.endswith("_opencl.h"):   # parts of row.h; OpenCL C
        compile_alone(name, C11)
        compile_alone(name, CXX17)
    lines = read(header).split("\n")
    if not lines[0].startswith(f"/* {header.name}: "):
        problems.append(f"{name}: the first line does not say what it is")
    for number, symbol in api_declarations(header):
        checked += 1
        if not is_documented(lines, number - 1):
            problems.append(f"{name}:{number}: {symbol} has no comment")
for bits in ROW_BITS:
    compile_alone("millrace/row.h", C11, f"#define MR_ROW_BITS {bits}\n#define MR_ROW_LEVEL scalar\n")

finish(checked, problems)
