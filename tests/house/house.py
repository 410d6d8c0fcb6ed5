"""house.py: what the checks of the house share: C files without comments, and one way to report."""
import re
import sys

LAYERS = ["base", "simd", "storage", "net", "workers", "engine"]


def read(path):
    return path.read_text(encoding="utf-8")


def without_comments(text):
    """Comments become blanks, line numbers stay. String literals are left alone."""
    token = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
    return token.sub(lambda m: m.group() if m.group()[0] in "\"'" else re.sub(r"[^\n]", " ", m.group()), text)


def without_directives(text):
    return re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.MULTILINE)


def api_declarations(header):
    """(line number, name) of everything that a header marks MR_API."""
    text = without_directives(without_comments(read(header)))
    for match in re.finditer(r"\bMR_API\b([^;{]*)", text):
        declaration = re.sub(r"__attribute__\s*\(\(.*", "", match.group(1), flags=re.DOTALL)
        name = re.search(r"(\w+)\s*(?:\(|\[|$)", declaration.strip())
        yield text.count("\n", 0, match.start()) + 1, name.group(1)


def finish(checked, problems):
    """checked: how many things were looked at; none means that the check itself is broken."""
    for problem in problems:
        print(problem)
    if checked == 0:
        print("nothing was checked")
    print(f"{checked} checked, {len(problems)} wrong")
    sys.exit(1 if problems or checked == 0 else 0)
