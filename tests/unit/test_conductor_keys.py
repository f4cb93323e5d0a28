"""The administrator's commands for keys: files that only their owner reads, and none that is lost."""

import stat
from pathlib import Path

import pytest

from common import errors, mac
from conductor import keyfile, manage


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A conductors' file with one secret."""
    path = tmp_path / "agent-keys"
    keyfile.make(path)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Return status, output and complaint of the command."""
    status = manage.main(["agent-key", *words])
    heard = capsys.readouterr()
    return status, heard.out, heard.err


def test_the_conductors_file_is_made_once_and_only_for_its_owner(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent-keys"
    assert said(capsys, "--init", str(path))[0] == 0
    before = path.read_text()
    assert (mode(path), mac.read_keys(before).count) == (0o600, 1)
    status, _, complaint = said(capsys, "--init", str(path))
    assert (status, path.read_text(), "is there already" in complaint) == (2, before, True)
    assert [file.name for file in tmp_path.iterdir()] == ["agent-keys"]


def test_a_hosts_key_is_printed_or_written_for_its_owner_and_always_the_same(
        secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = mac.read_keys(secrets.read_text()).key_of("h1")
    assert said(capsys, "h1", "--keys-file", str(secrets)) == (0, f"{key}\n", "")
    file = secrets.parent / "h1.key"
    assert said(capsys, "h1", "--keys-file", str(secrets), "--output", str(file)) == (0, "", "")
    assert (mode(file), file.read_text()) == (0o600, f"{key}\n")
    assert mac.read_key(file.read_text())


def test_a_key_is_written_over_only_by_force(secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = secrets.parent / "h1.key"
    file.write_text("precious")
    file.chmod(0o640)
    words = ("h1", "--keys-file", str(secrets), "--output", str(file))
    assert said(capsys, *words)[0] == 2
    assert file.read_text() == "precious"
    assert said(capsys, *words, "--force")[0] == 0
    assert (mac.read_key(file.read_text()) != b"", mode(file)) == (True, 0o640)


def test_rotating_puts_a_new_secret_first_and_keeps_all_that_stands_there(
        secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets.write_text(f"# made in November\n{secrets.read_text()}")
    secrets.chmod(0o440)
    before = secrets.read_text()
    status, told, _ = said(capsys, "--rotate", "--keys-file", str(secrets))
    after = secrets.read_text()
    assert (status, "2 secrets" in told, mode(secrets)) == (0, True, 0o440)
    assert after.endswith(before)
    keys = mac.read_keys(after)
    assert keys.count == 2
    message = {"host": "h1"}
    old = mac.read_key(mac.read_keys(before).key_of("h1"))
    keys.verify("h1", "sync", message, mac.sign(old, "sync", message))
    assert mac.read_key(keys.key_of("h1")) != old


def test_a_file_that_holds_no_secrets_is_not_rotated(tmp_path: Path) -> None:
    path = tmp_path / "agent-keys"
    path.write_text("something else\n")
    with pytest.raises(errors.Invalid):
        keyfile.rotate(path)
    assert path.read_text() == "something else\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("words", [
    ["--rotate"], ["h1"], ["h1", "--keys-file", "/no/such/file"], ["--init", "/no/such/folder/keys"],
    ["h1", "--force"], ["--rotate", "--output", "x"], ["two words"], [""]])
def test_what_can_not_be_done_is_refused_with_one_sentence(
        words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.conf").write_text("")
    assert manage.main(["--config-file", str(tmp_path / "empty.conf"), "agent-key", *words]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("corral-manage: ") and complaint.count("\n") == 1, complaint


def test_the_configured_file_of_secrets_is_the_one_that_is_used(
        secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = secrets.parent / "corral.conf"
    conf.write_text(f"[agents]\nkeys_file = {secrets}\n")
    assert manage.main(["--config-file", str(conf), "agent-key", "h1"]) == 0
    assert capsys.readouterr().out == f"{mac.read_keys(secrets.read_text()).key_of('h1')}\n"
    assert manage.main(["--config-file", str(conf), "agent-key", "--rotate"]) == 0
    assert mac.read_keys(secrets.read_text()).count == 2


def test_the_schema_is_brought_to_the_newest_version_and_told(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "corral.conf"
    conf.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/corral.sqlite\n")
    assert manage.main(["--config-file", str(conf), "db", "version"]) == 1
    assert capsys.readouterr().out.startswith("schema none, newest ")
    assert manage.main(["--config-file", str(conf), "db", "sync"]) == 0
    assert manage.main(["--config-file", str(conf), "db", "version"]) == 0
    found, newest = capsys.readouterr().out.splitlines()[-1].removeprefix("schema ").split(", newest ")
    assert found == newest


def test_a_database_that_is_away_is_status_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "corral.conf"
    conf.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/no/such/folder/corral.sqlite\n")
    for action in ("sync", "version"):
        assert manage.main(["--config-file", str(conf), "db", action]) == 5
        assert capsys.readouterr().err.startswith("corral-manage: ")
