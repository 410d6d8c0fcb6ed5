"""exports.py INCLUDE LIBRARY: libmillrace shows the names that the headers mark MR_API, and no others; and it calls
nothing that ends the process or prints for it."""
import pathlib
import subprocess
import sys

from house import api_declarations, finish

include, library = pathlib.Path(sys.argv[1]), sys.argv[2]
NEVER_CALLED = {"abort", "exit", "_exit", "_Exit", "quick_exit", "__assert_fail", "printf", "__printf_chk", "vprintf",
                "__vprintf_chk", "puts", "putchar", "perror", "psignal"}


def symbols(kind):
    table = subprocess.run(["nm", "-D", kind, "--format=posix", library], text=True, capture_output=True, check=True)
    return {line.split()[0].split("@")[0] for line in table.stdout.splitlines()}


declared = {name for header in include.rglob("*.h") for _, name in api_declarations(header)}
exported = symbols("--defined-only")
problems = [f"{name} is exported but not declared in include/" for name in sorted(exported - declared)]
problems += [f"{name} is declared MR_API but not exported" for name in sorted(declared - exported)]
problems += [f"the library calls {name}()" for name in sorted(symbols("--undefined-only") & NEVER_CALLED)]
finish(len(declared & exported), problems)
