import pytest

from langtailor.planning.machine import has_gpu


@pytest.mark.parametrize("device", ["nvidia0", "nvidia12", "kfd", "dxg"])
def test_a_driver_shows_by_its_device_file(tmp_path, device):
    (tmp_path / device).touch()
    assert has_gpu(tmp_path)


def test_a_machine_without_a_driver_has_no_gpu(tmp_path):
    for other in ("nvidiactl", "null", "kfdx"):
        (tmp_path / other).touch()
    assert not has_gpu(tmp_path)
    assert not has_gpu(tmp_path / "none")
