"""What Corral ships for oslo.messaging are defaults, and a name at the broker belongs to one process."""

from pathlib import Path

import pytest
from oslo_config import cfg

from common import errors, rpc, shipped


def configured(folder: Path, text: str = "") -> cfg.ConfigOpts:
    """A configuration of its own, read from a file."""
    file = folder / "corral.conf"
    file.write_text(f"[oslo_concurrency]\nlock_path = {folder}\n{text}")
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], project="corral")
    return conf


def test_queues_survive_a_node_unless_the_operator_says_otherwise(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    rpc.transport("rabbit://localhost/", conf, process="corral-agent-h1")
    ours = conf.oslo_messaging_rabbit
    assert ours.rabbit_quorum_queue and ours.rabbit_transient_quorum_queue and ours.use_queue_manager
    assert ours.processname == "corral-agent-h1"
    conf = configured(tmp_path, "[oslo_messaging_rabbit]\nrabbit_quorum_queue = false\nprocessname = mine\n")
    rpc.transport("rabbit://localhost/", conf, process="corral-agent-h1")
    assert not conf.oslo_messaging_rabbit.rabbit_quorum_queue
    assert conf.oslo_messaging_rabbit.processname == "mine"


def test_without_a_process_name_the_queue_for_replies_has_a_random_one(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    drivers = [rpc.transport("rabbit://localhost/", conf)._driver for _ in range(2)]
    assert drivers[0]._get_reply_queue_name() != drivers[1]._get_reply_queue_name()


def test_a_password_is_put_where_the_url_has_none(tmp_path: Path) -> None:
    parsed = rpc.address("rabbit://ann@one:5672,bob:his@two:5672/corral", configured(tmp_path), "s/e:c@ret%")
    assert [host.password for host in parsed.hosts] == ["s/e:c@ret%", "his"]


def test_a_private_configuration_has_all_groups_that_the_library_reads(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    rpc.transport("rabbit://localhost/", conf)
    assert conf.oslo_messaging_metrics.metrics_enabled is False
    assert conf.oslo_messaging_tracing.tracing_enabled is False


def test_a_transport_is_made_without_a_broker_and_a_bad_url_is_refused(tmp_path: Path) -> None:
    rpc.transport("rabbit://ann:pw@localhost:1/corral", configured(tmp_path))
    for bad in ("rabbit://host:port/", "nosuch://x/", "kafka://x/", "fake://"):
        with pytest.raises(errors.Invalid) as refusal:
            rpc.transport(bad, configured(tmp_path))
        assert refusal.value.code == "bad_transport_url"


def test_who_comes_second_gets_a_name_of_its_own_and_each_keeps_its_name(tmp_path: Path) -> None:
    conf = configured(tmp_path)
    rpc.transport("rabbit://localhost/", conf)
    first, second = (shipped.Name(conf, "vm:corral-agent-h1") for _ in range(2))
    assert first.taken() == first.taken() == "vm:corral-agent-h1"
    assert second.taken() == second.taken()
    assert second.taken().startswith("vm:corral-agent-h1:")


def test_lock_files_stand_in_the_units_folder_or_in_one_of_the_user(tmp_path: Path) -> None:
    assert shipped.lock_folder({"RUNTIME_DIRECTORY": f"{tmp_path}/a:{tmp_path}/b"}) == tmp_path / "a"
    folder = shipped.lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert shipped.lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)}) == folder


def test_a_folder_of_others_is_not_taken(tmp_path: Path) -> None:
    folder = shipped.lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    folder.chmod(0o777)
    with pytest.raises(errors.Invalid, match="only this user"):
        shipped.lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(errors.Invalid, match="only this user"):
        shipped.lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
