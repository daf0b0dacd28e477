"""The image that holds a pod's network while its containers come and go: a program that waits, and nothing else."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path

SOURCE = """\
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
    signal(SIGINT, leave);
    signal(SIGTERM, leave);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"""

COMPILE_SECONDS_MAX = 60

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_pause_image(archive: Path, name: str) -> None:
    """Write the image as an archive that container engines load."""
    layer = _tar({"pause": _compiled()})
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    archive.write_bytes(_tar({"manifest.json": manifest, "config.json": configuration, "layer.tar": layer}))


def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "pause.c", Path(folder) / "pause"
        source.write_text(SOURCE)
        words = ["gcc", "-Os", "-static", "-s", "-o", str(program), str(source)]
        subprocess.run(words, check=True, capture_output=True, timeout=COMPILE_SECONDS_MAX)
        return program.read_bytes()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
