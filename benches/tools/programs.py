"""Starts the benchmark's programs and reads the lines that they print."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

BUILD = pathlib.Path(__file__).resolve().parent.parent / "build"
PROGRAMS = {
    "ours": (BUILD / "rpc_server", BUILD / "rpc_client"),
    "floor": (BUILD / "floor_server", BUILD / "floor_client"),
    "grpc": (BUILD / "grpc_server", BUILD / "grpc_client"),
}


class Failed(Exception):
    """A program did not do what it was started for."""


def is_there(who):
    return all(path.exists() for path in PROGRAMS[who])


def on_cpu(cpu, realtime):
    """What a child does before it becomes the program: it stays on one CPU, before all others if realtime."""

    def prepare():
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    return prepare


def cpus(on_one):
    """The CPUs of server and client. With only one CPU there is no choice."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return usable[0], usable[0]
    return (usable[-1], usable[-1]) if on_one else (usable[0], usable[-1])


def may_be_realtime():
    with contextlib.suppress(OSError):
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, *before)
        return True
    return False


def certificates():
    """Makes a CA and a certificate for localhost in the build folder, where they serve for some days."""
    folder = BUILD / "certificates"
    if not (folder / "server.pem").exists() or time.time() - (folder / "server.pem").stat().st_mtime > 7 * 86400:
        folder.mkdir(parents=True, exist_ok=True)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-x509"]
        ca = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=benchmark CA"]
        server = ["-keyout", "server.key", "-out", "server.pem", "-subj", "/CN=localhost", "-CA", "ca.pem", "-CAkey", "ca.key"]
        server += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        for arguments in (ca, server):
            subprocess.run(["openssl", "req", *key, *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def program_of(process):
    """The program's own id, also if it is the child of a tracer, which keeps signals to itself."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if children else process.pid


@contextlib.contextmanager
def server(who, transport, *options, prefix=(), prepare=None, patience=60):
    """Runs a server; gives its process and the client's arguments that lead to it."""
    with tempfile.TemporaryDirectory() as folder:
        where = ["--unix", f"{folder}/socket"] if transport == "unix" else ["--" + transport, "0"]
        if transport == "tls":
            where += ["--certificate", certificates() / "server.pem", "--key", certificates() / "server.key"]
        command = [*prefix, PROGRAMS[who][0], *where, *options]
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, preexec_fn=prepare)
        try:
            ready = re.match(r"READY (\S+)", process.stdout.readline())
            if not ready:
                raise Failed(f"{command} did not start")
            endpoint = ["--" + transport, ready[1]]
            if transport == "tls":
                endpoint += ["--ca", certificates() / "ca.pem"]
            yield process, endpoint
        finally:
            os.kill(program_of(process), signal.SIGTERM)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def client(who, workload, endpoint, *options, prefix=(), prepare=None, patience=180):
    """Runs a client to its end; gives [(metric, value, unit)]."""
    command = [*prefix, PROGRAMS[who][1], workload, *endpoint, *options]
    return lines_of(command, prepare, patience)


def lines_of(command, prepare=None, patience=180):
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=prepare, timeout=patience)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command} takes more than {patience} s") from error
    if done.returncode:
        raise Failed(f"{command} ended with {done.returncode}")
    return [(metric, float(value), unit) for metric, value, unit in map(str.split, done.stdout.splitlines())]
