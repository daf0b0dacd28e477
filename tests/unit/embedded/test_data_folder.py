"""The data folder: private, locked by one platform at a time, and never left locked."""

import stat
from pathlib import Path

import pytest

from services.embedded.data_folder import BadDataFolderError, DataFolder, DataFolderInUseError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    return folder


def test_a_folder_that_was_open_to_all_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    DataFolder(tmp_path).prepare()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_of_others_is_neither_used_nor_locked_up(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    tmp_path.chmod(0o755)

    with pytest.raises(BadDataFolderError, match="a folder of its own"):
        DataFolder(tmp_path).prepare()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["lost+found", "ledger.db", ".secrets.json.0a1b2c3d", "replay"])
def test_a_volume_of_its_own_and_what_a_platform_left_are_used(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    DataFolder(tmp_path).prepare()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(BadDataFolderError):
        DataFolder(file).prepare()


def test_secrets_are_drawn_once(folder: DataFolder) -> None:
    drawn = folder.secrets()

    assert folder.secrets() == drawn
    assert len({drawn.treasury_password, drawn.operator_password, drawn.orders_client_secret}) == 3
    assert stat.S_IMODE(folder.secrets_file.stat().st_mode) == 0o600


def test_damaged_secrets_are_not_drawn_anew(folder: DataFolder) -> None:
    folder.secrets_file.write_text("{")

    with pytest.raises(BadDataFolderError):
        folder.secrets()

    assert folder.secrets_file.read_text() == "{"


def test_a_locked_folder_names_its_owner_and_refuses_a_second_one(folder: DataFolder) -> None:
    with folder.locked():
        assert folder.owner() is not None
        with pytest.raises(DataFolderInUseError), folder.locked():
            pass
        assert folder.owner() is not None

    assert folder.owner() is None
    with folder.locked():
        pass


def test_a_lock_file_that_was_left_behind_locks_nothing(folder: DataFolder) -> None:
    folder.lock_file.write_text("1")

    assert folder.owner() is None
    with folder.locked():
        pass


def test_a_folder_without_databases_has_nothing_to_verify(folder: DataFolder) -> None:
    with pytest.raises(BadDataFolderError, match=r"ledger\.db"):
        folder.check_databases_exist()
