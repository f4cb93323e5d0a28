"""Configuration files: samples are what the options say, mistakes are named, secrets stay in their files."""

import logging
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from common import config, errors

ETC = Path(__file__).parents[2] / "etc"


def written(folder: Path, text: str, name: str = "file.conf") -> list[str]:
    """Return the words that name a new file with this text."""
    path = folder / name
    path.write_text(text)
    return ["--config-file", str(path)]


def loaded(kind: str, *words: str) -> cfg.ConfigOpts:
    """Return the configuration that a process of this kind would have."""
    conf = cfg.ConfigOpts()
    config.load(conf, f"corral-{kind}", list(words), kind)
    return conf


@pytest.mark.parametrize("kind", config.KINDS)
def test_the_sample_is_what_the_generator_makes_of_the_options(kind: str, tmp_path: Path) -> None:
    made = tmp_path / "sample"
    generator.main(["--config-file", str(ETC / "generator" / f"corral-{kind}.conf"), "--output-file", str(made)])
    assert (ETC / "corral" / f"corral-{kind}.conf.sample").read_text() == made.read_text()


@pytest.mark.parametrize("kind", config.KINDS)
def test_the_sample_is_accepted_as_it_stands_and_with_every_line_uncommented_that_has_a_value(
        kind: str, tmp_path: Path) -> None:
    sample = (ETC / "corral" / f"corral-{kind}.conf.sample").read_text()
    loaded(kind, *written(tmp_path, sample))
    lines = [line.removeprefix("#") if line.startswith("#") and not line.startswith(("# ", "#\n")) else line
             for line in sample.splitlines()]
    loaded(kind, *written(tmp_path, "\n".join(line for line in lines if not line.endswith(">"))))


@pytest.mark.parametrize("kind", config.KINDS)
def test_no_two_kinds_share_a_room_that_is_not_theirs(kind: str) -> None:
    assert ("database" in config.KINDS[kind]) == (kind == "conductor")
    assert ("xenapi" in config.KINDS[kind]) == (kind == "agent")


def test_everything_that_is_wrong_is_said_at_once_and_where(tmp_path: Path) -> None:
    words = written(tmp_path, "[conductor]\nworkres = 3\n[databse]\nconnection = x\n[xenapi]\nurl = https://h\n"
                              "[planner]\nmoves_per_pool = many\n[agents]\nsync_interval_s = 900\n")
    with pytest.raises(errors.Invalid) as caught:
        loaded("conductor", *words)
    said = caught.value.message
    assert caught.value.code == "bad_configuration" and "\n" not in said
    for part in ("file.conf", "[conductor] has no option workres; workers is meant?",
                 "no section [databse]; database is meant?", "[xenapi] is for corral-agent, not for corral-conductor",
                 "[planner] moves_per_pool has no usable value", "[agents] sync_interval_s has no usable value"):
        assert part in said


def test_intervals_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="down_after_s has to be longer than sync_interval_s"):
        loaded("conductor", *written(tmp_path, "[agents]\nsync_interval_s = 60\n"))


@pytest.mark.parametrize("text", ["no section", "[conductor]\nthis is geheim no assignment\n", "[broken\n"])
def test_a_file_that_is_no_configuration_is_named_with_its_line_and_without_its_words(
        text: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match=r"file\.conf:\d: \w.+[\w)]$") as caught:
        loaded("conductor", *written(tmp_path, text))
    assert "geheim" not in caught.value.message


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    words = written(tmp_path, "")
    Path(words[-1]).write_bytes(b"[conductor]\n# \xff\n")
    with pytest.raises(errors.Invalid, match=r"file\.conf: byte 15 is no UTF-8 text$"):
        loaded("conductor", *words)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match=f"There is no file {tmp_path}/none"):
        loaded("agent", "--config-file", f"{tmp_path}/none")


def test_a_wrong_value_of_a_secret_option_is_not_shown(tmp_path: Path) -> None:
    words = written(tmp_path, "[DEFAULT]\ntransport_url = $geheim\n")
    with pytest.raises(errors.Invalid) as caught:
        loaded("api", *words)
    assert "transport_url has no usable value" in caught.value.message and "geheim" not in caught.value.message


def test_old_names_of_the_libraries_options_are_known(tmp_path: Path) -> None:
    loaded("api", *written(tmp_path, "[DEFAULT]\nlogfile = x\nlog-dir = y\nrpc_thread_pool_size = 3\n"))


def test_later_files_win_over_earlier_ones(tmp_path: Path) -> None:
    first = written(tmp_path, "[agent]\nhost = h1\nworkers = 3\n", "first.conf")
    conf = loaded("agent", *first, *written(tmp_path, "[agent]\nhost = h2\n", "second.conf"))
    assert (conf.agent.host, conf.agent.workers) == ("h2", 3)


def secret_conf(folder: Path, name: str) -> cfg.ConfigOpts:
    """Return an agent's configuration whose password stands in the file ``name``."""
    return loaded("agent", *written(folder, f"[xenapi]\npassword_file = {name}\n"))


def test_a_secret_is_what_stands_in_the_file_without_its_line_break(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(" with spaces \n")
    assert config.secret(secret_conf(tmp_path, str(path)), "xenapi", "password_file", {}) == " with spaces "
    assert config.secret(secret_conf(tmp_path, ""), "xenapi", "password_file", {}) is None


def test_a_name_without_a_slash_is_a_credential_of_systemd(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim")
    conf = secret_conf(tmp_path, "password")
    assert config.secret(conf, "xenapi", "password_file", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "geheim"
    with pytest.raises(errors.Invalid, match=r"\[xenapi\] password_file names the systemd credential password"):
        config.secret(conf, "xenapi", "password_file", {})


@pytest.mark.parametrize("content, reason", [(None, "No such file"), (b"\n", "is empty"), (b"\xff\xfe", "not text")])
def test_a_secret_that_cannot_be_used_is_named_with_its_option(
        content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.Invalid, match=rf"\[xenapi\] password_file: the file {path} .*{reason}"):
        config.secret(secret_conf(tmp_path, str(path)), "xenapi", "password_file", {})


def test_a_secret_that_everybody_may_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "secret"
    path.write_text("geheim")
    for mode, warnings in ((0o600, 0), (0o644, 1)):
        path.chmod(mode)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            config.secret(secret_conf(tmp_path, str(path)), "xenapi", "password_file", {})
        assert len(caplog.records) == warnings and "geheim" not in caplog.text


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    conf = loaded("agent", *written(tmp_path, "[agent]\nkey_file = /nowhere/key\n"))
    with pytest.raises(errors.Invalid) as caught:
        config.require(conf, ("agent.host", "xenapi.url"), ("agent.key_file", "broker.password_file"))
    assert all(part in caught.value.message for part in ("[agent] host", "[xenapi] url", "/nowhere/key"))


def database(folder: Path, url: str) -> str:
    """Return the URL that a conductor uses whose file has ``url`` and a password file."""
    (folder / "password").write_text("p@ss/word\n")
    return config.database_url(loaded("conductor", *written(
        folder, f"[database]\nconnection = {url}\npassword_file = {folder}/password\n")))


def test_the_databases_password_comes_from_its_file_and_is_quoted(tmp_path: Path) -> None:
    assert database(tmp_path, "postgresql+psycopg://corral@db:5432/corral?sslmode=require") == (
        "postgresql+psycopg://corral:p%40ss%2Fword@db:5432/corral?sslmode=require")


@pytest.mark.parametrize("url", ["postgresql+psycopg://db/corral", "postgresql+psycopg://corral:one@db/corral",
                                 "sqlite:////var/lib/corral/corral.sqlite"])
def test_a_password_file_for_a_url_that_takes_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="has a user and no password"):
        database(tmp_path, url)


def test_without_a_password_file_the_url_is_used_as_it_is(tmp_path: Path) -> None:
    url = "sqlite:////var/lib/corral/corral.sqlite"
    assert config.database_url(loaded("conductor", *written(tmp_path, f"[database]\nconnection = {url}\n"))) == url


def test_every_option_says_what_it_is_and_every_number_has_a_bound_and_a_unit() -> None:
    for options in config.GROUPS.values():
        for option in options:
            assert option.help and option.help.endswith(".")
            if isinstance(option, cfg.FloatOpt):
                assert option.dest.endswith(("_s", "_bytes_s")) and option.type.min is not None
