"""What the numbers belong to: machine, kernel, versions, commit."""
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def _first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip().split("\n")[0]
    except OSError:
        return ""


def _cpu():
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].split("\n"):
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    return fields


def simd():
    flags = _cpu().get("flags", "").split()
    return "avx512" if {"avx512f", "avx512bw", "avx512vl"} <= set(flags) else "avx2" if "avx2" in flags else "scalar"


def memory_bytes():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cores():
    return len(os.sched_getaffinity(0))


def kind():
    """Names the results file: which sort of machine this is, not which one."""
    vendor = _cpu().get("vendor_id", platform.machine()).lower()
    vendor = {"genuineintel": "intel", "authenticamd": "amd"}.get(vendor, vendor)
    return f"{vendor}-{simd()}-{cores()}c"


def describe():
    cpu = _cpu()
    return {
        "kind": kind(),
        "cpu": cpu.get("model name", platform.machine()),
        "family": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "cores": cores(),
        "simd": simd(),
        "memory_bytes": memory_bytes(),
        "kernel": platform.release(),
        "commit": _first_line("git", "rev-parse", "--short=12", "HEAD"),
        "changed_files": len(_git_status()),
        "compiler": _first_line("cc", "--version"),
        "versions": {
            "gawk": _first_line("gawk", "--version"), "grep": _first_line("grep", "--version"),
            "sort": _first_line("sort", "--version"), "java": platform_java(),
        },
    }


def _git_status():
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    except OSError:             # no git
        return []


def platform_java():
    try:
        return subprocess.run(["java", "-version"], capture_output=True, text=True).stderr.split("\n")[0]
    except OSError:
        return ""
