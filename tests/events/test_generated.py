"""The committed protobuf code is what the schema says."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOC = ROOT / ".tools" / "protoc"
SCHEMA = "tb_losslens/events/losslens.proto"
HOW = "install it with: pip install --no-deps --target .tools/protoc grpcio-tools==1.62.3"


@pytest.mark.skipif(not PROTOC.exists() and not os.environ.get("CI"), reason=f"no protobuf compiler; {HOW}")
def test_committed_code_is_generated_from_the_schema(tmp_path):
    assert PROTOC.exists(), HOW
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", SCHEMA]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(PROTOC)}, check=True, timeout=60)
    for name in ("losslens_pb2.py", "losslens_pb2.pyi"):
        committed = (ROOT / "tb_losslens" / "events" / name).read_text()
        assert (tmp_path / "tb_losslens" / "events" / name).read_text() == committed, f"generate {name} again; {HOW}"


def test_generated_code_does_not_pin_a_new_protobuf():
    # code of a newer compiler checks the runtime's version when it is imported, and would shut out older ones
    assert "runtime_version" not in (ROOT / "tb_losslens" / "events" / "losslens_pb2.py").read_text()
    assert importlib.metadata.version("protobuf")
