"""Runs scripts in processes of their own without importing torch anew for each: a server that has it forks them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SERVER = """
import json, os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
import torch, torch.utils.tensorboard, torch._dynamo  # the last is imported by the first step of any optimizer
import tb_losslens.record.writer
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        _, status = os.waitpid(order["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    for name, fd in (("out", 1), ("err", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT, 0o644), fd)
    sys.stdin.close()
    sys.argv = order["argv"]
    runpy.run_path(order["argv"][0], run_name="__main__")
    break
"""


class Server:
    """Forks scripts."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env=environment)

    def ask(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, directory, script, *argv):
        return Script(self, directory, script, argv)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()


class Script:
    """A script that runs in a process of its own."""

    def __init__(self, server, directory, text, argv):
        self.server = server
        self.out, self.err = directory / "out", directory / "err"
        path = directory / "train.py"
        path.write_text(text)
        for file in (self.out, self.err):
            file.write_text("")
        self.pid = server.ask(argv=[str(path), *argv], out=str(self.out), err=str(self.err))

    def wait_for(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.out.read_text():
            assert time.monotonic() < end, self.err.read_text()
            time.sleep(0.02)

    def send(self, number):
        os.kill(self.pid, number)

    def finish(self, code=0):
        """Waits for the end; what it said on its two streams."""
        found = self.server.ask(wait=self.pid)
        out, err = self.out.read_text(), self.err.read_text()
        assert found == code, err
        return out, err
