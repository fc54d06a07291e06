"""An environment for each peer, so that none decides another's versions."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".peers"


def environment(name: str, python: str) -> Path:
    """The Python of a peer's environment, made or brought up to date where its requirements have changed."""
    folder = FOLDER / name
    inside = folder / "bin" / "python"
    requirements = (Path(__file__).parent / "requirements" / f"{name}.txt").read_text()
    stamp = folder / ".installed"
    wanted = f"{python}\n{requirements}"
    if stamp.exists() and stamp.read_text() == wanted:
        return inside
    print(f"making the environment of {name}", flush=True)
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "/dev/stdin"]
    subprocess.run(pip, input=requirements, text=True, check=True)
    stamp.write_text(wanted)
    return inside
