"""bench/gpu pack: a folder with all that a bare GPU machine lacks to test and time Millrace.

    bin/ lib/ libexec/     the command, the apps and millrace-device, stripped, laid out as installed
    lib/*.so.*             every shared library that these need, but glibc's own and drivers of GPUs
    bench/ tests/apps/     bench/gpu itself, the harness, and the tests that bench/gpu run starts
    manifest.json          commit, versions, the oldest glibc that will do, size and SHA-256 of each file
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from harness import machine  # noqa: E402

GLIBC = re.compile(r"^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|nsl|mvec|BrokenLocale|nss_\w+))\.so")
DRIVER = re.compile(r"^lib(cuda|nvidia-|amdocl|igdrcl|ze_)")
NEEDED = re.compile(r"^\s+(?P<name>\S+) => (?P<path>/\S+|not found)", re.MULTILINE)
GLIBC_VERSION = re.compile(r"\bGLIBC_(\d+)\.(\d+)\b")
LOADER = "libOpenCL.so.1"
SCRIPTS = ("bench/gpu", "bench/gpu_pack.py", "bench/gpu_run.py", "bench/harness/*.py", "tests/apps/*.py")
MANIFEST = "manifest.json"


class Failed(Exception):
    """The kit cannot be made; the sentence says why."""


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
    except OSError as failure:
        raise Failed(f"could not run {command[0]}: {failure.strerror}") from failure
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()[-300:]}")
    return done.stdout


def programs_of(build):
    """Place in the kit -> file of the build. Those of bench/ measure and check."""
    found = {place: build / place for place in
             ("bin/millrace", "lib/libmillrace.so.0", "libexec/millrace/millrace-device", "bench/measure",
              "bench/digest")}
    for place, path in found.items():
        if not path.exists():
            raise Failed(f"{build} has no {place}; build first (cmake --workflow --preset release), with OpenCL")
    apps = sorted((build / "lib/millrace/apps").glob("*.so"))
    if not apps:
        raise Failed(f"{build} has no apps; build first (cmake --workflow --preset release)")
    return found | {f"lib/millrace/apps/{app.name}": app for app in apps}


def closure_of(programs):
    """Name -> path of each library that the programs need, directly or not, and that a bare machine may lack."""
    found = {}
    for program in programs.values():
        for match in NEEDED.finditer(output_of("ldd", program)):
            name, path = match["name"], match["path"]
            if path == "not found":
                raise Failed(f"{program} needs {name}, which is not installed")
            if f"lib/{name}" not in programs and not GLIBC.match(name) and not DRIVER.match(name):
                found[name] = pathlib.Path(path).resolve()
    if LOADER not in found:
        raise Failed(f"nothing in the build needs {LOADER}: it was built without OpenCL")
    return found


def package_of(path):
    """Debian's package and version of a file, or its name alone elsewhere."""
    for name in (path, pathlib.Path("/" + str(path).removeprefix("/usr/"))):     # dpkg knows the folders before /usr
        try:
            owner = output_of("dpkg-query", "--search", name).split(": ")[0]
            return output_of("dpkg-query", "--show", "--showformat=${Package} ${Version}", owner)
        except Failed:
            continue
    return path.name


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def oldest_glibc(files):
    versions = {(int(major), int(minor)) for file in files
                for major, minor in GLIBC_VERSION.findall(output_of("readelf", "--version-info", "--wide", file))}
    return ".".join(map(str, max(versions)))


def about(folder):
    """Place -> size and SHA-256 of each file of a kit but its manifest."""
    return {str(path.relative_to(folder)): {"bytes": path.stat().st_size,
                                            "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != MANIFEST and "__pycache__" not in path.parts}


def pack(build, kit):
    programs = programs_of(build)
    libraries = closure_of(programs)
    for place, path in programs.items():
        copy(path, kit / place)
        output_of("strip", "--strip-unneeded", kit / place)
    for name, path in libraries.items():
        copy(path, kit / "lib" / name)
    for pattern in SCRIPTS:
        for path in ROOT.glob(pattern):
            copy(path, kit / path.relative_to(ROOT))
    binaries = [*programs, *(f"lib/{name}" for name in libraries)]
    described = machine.describe()
    manifest = {
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": described["commit"], "changed_files": described["changed_files"], "compiler": described["compiler"],
        "processor": platform.machine(), "glibc": oldest_glibc(kit / place for place in binaries),
        "programs": sorted(programs), "libraries": {name: package_of(path) for name, path in sorted(libraries.items())},
        "files": about(kit),
    }
    (kit / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def main():
    parser = argparse.ArgumentParser(prog="bench/gpu pack", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="default: build/release")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "build/gpu-kit", metavar="KIT",
                        help="the folder to make; a kit that is there is replaced (default: build/gpu-kit)")
    options = parser.parse_args()
    kit = options.output.resolve()
    temporary = kit.with_name(f"{kit.name}.{os.getpid()}.tmp")
    try:
        if kit.exists() and not (kit / MANIFEST).exists():
            raise Failed(f"{kit} is there and is no kit; remove it, or name another folder with -o")
        temporary.mkdir(parents=True)
        manifest = pack(options.build.resolve(), temporary)
        shutil.rmtree(kit, ignore_errors=True)
        temporary.rename(kit)
    except (Failed, OSError) as failure:
        print(f"bench/gpu: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(file["bytes"] for file in manifest["files"].values())
    print(f"{kit}: {len(manifest['files'])} files, {size / (1 << 20):.1f} MiB, {len(manifest['libraries'])} libraries; "
          f"runs on {manifest['processor']} with glibc {manifest['glibc']} or newer\n"
          f"there: bench/gpu run {kit.name} -o RESULTS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
