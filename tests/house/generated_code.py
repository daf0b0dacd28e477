"""Check that the generated code beside the contracts is what the contracts generate.

`python -m tests.house.generated_code` generates into a temporary folder and compares; it exits with 1 and names the
stale, missing and left-over files.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROTO = Path(__file__).parents[2] / "proto"


def generated_files(root: Path) -> set[Path]:
    """List the generated files below a folder, relative to it."""
    return {path.relative_to(root) for path in root.rglob("*_pb2*.py*") if "__pycache__" not in path.parts}


def generate(target: Path) -> None:
    """Run the compiler as `make proto` does, into a folder of its own."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    services = [source for source in sources if source.endswith("_service.proto")]
    messages = [source for source in sources if source not in services]
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    compiler = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    compiler += [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    grpc = [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    subprocess.run([*compiler, *messages], cwd=PROTO, env=tools, check=True)
    subprocess.run([*compiler, *grpc, *services], cwd=PROTO, env=tools, check=True)


def differences(fresh: Path, committed: Path) -> list[str]:
    """Name each file that differs between the fresh code and the committed code."""
    expected, found = generated_files(fresh), generated_files(committed)
    both = sorted(expected & found)
    stale = [name for name in both if not filecmp.cmp(fresh / name, committed / name, shallow=False)]
    return [
        *(f"stale: proto/{name}" for name in stale),
        *(f"missing: proto/{name}" for name in sorted(expected - found)),
        *(f"left over: proto/{name}" for name in sorted(found - expected)),
    ]


def main() -> int:
    """Compare; tell what to do."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        found = differences(Path(folder), PROTO)
    if found:
        sys.stderr.write("\n".join([*found, "The generated code is not fresh: run `make proto` and commit it.", ""]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
