"""Two nodes of a Galera cluster: who is beaten at COMMIT runs again, and no node is behind for who reads."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import text, update

from conductor.db.models import Pool
from conductor.db.session import Database, Session
from tools.servers import mariadb
from tools.servers.guarded import free_port

PATIENCE_S = 60.0
_LIBRARY = Path("/usr/lib/galera/libgalera_smm.so")


class Node(mariadb.Server):
    """A MariaDB that founds a cluster, or enters that of ``peer``."""

    def __init__(self, peer: "Node | None" = None) -> None:
        super().__init__()
        self.peer = peer

    def choose_ports(self) -> None:
        super().choose_ports()
        self.group, self.increments, self.copies = (free_port() for _ in range(3))

    def command(self) -> list[str]:
        peers = "" if self.peer is None else f"127.0.0.1:{self.peer.group}"
        options = (f"base_host=127.0.0.1;base_port={self.group};gmcast.listen_addr=tcp://127.0.0.1:{self.group};"
                   f"ist.recv_addr=127.0.0.1:{self.increments}")
        return [*super().command(), "--wsrep-on=1", f"--wsrep-provider={_LIBRARY}", "--binlog-format=ROW",
                "--innodb-autoinc-lock-mode=2", f"--wsrep-cluster-address=gcomm://{peers}",
                f"--wsrep-provider-options={options}", "--wsrep-node-address=127.0.0.1", "--wsrep-sst-method=rsync",
                f"--wsrep-sst-receive-address=127.0.0.1:{self.copies}", f"--wsrep-node-name=node-{self.port}"]

    def answers(self) -> bool:
        if not super().answers():
            return False
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'wsrep_ready'")
            return bool(cursor.fetchone()[1] == "ON")


def test_the_loser_at_commit_runs_again_and_what_one_node_stored_the_other_one_reads() -> None:
    with Node() as first, Node(first) as second:
        url = first.database("corral")
        nodes = [Database(url), Database(url.replace(f":{first.port}/", f":{second.port}/"))]
        nodes[0].upgrade()
        assert nodes[1].version()[0] == nodes[1].version()[1]
        nodes[0].run(lambda session: session.add(Pool(uuid="p")))
        assert nodes[1].read(lambda session: session.scalar(text("SELECT @@wsrep_on + @@wsrep_sync_wait"))) == 2

        both, runs = threading.Barrier(2), Counter[int]()

        def add_one(number: int) -> None:
            def work(session: Session) -> None:
                runs[number] += 1
                seen = session.get_one(Pool, "p").plan_generation
                session.execute(update(Pool).values(plan_generation=seen + 1))
                if runs[number] == 1:
                    # Neither node knows of the other's change before one of them commits.
                    both.wait(PATIENCE_S)
            nodes[number].run(work)
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(add_one, range(2)))
        assert sum(runs.values()) >= 3
        assert [node.read(lambda s: s.get_one(Pool, "p").plan_generation) for node in nodes] == [2, 2]

        for number in range(50):
            nodes[0].run(lambda session, n=number: session.execute(update(Pool).values(observer=str(n))))
            assert nodes[1].run(lambda session: session.get_one(Pool, "p").observer) == str(number)
        for node in nodes:
            node.close()
