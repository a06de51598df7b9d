"""What deploy/install.sh makes, and that a second run changes nothing."""

from tests.deploy.machine import Machine


def test_again(machine: Machine) -> None:
    """A second installation writes nothing, keeps settings and release, and the site works all the while."""
    settings = (machine.app_dir / "shared/.env").read_text()
    release = machine.release()
    again = machine.install()
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"{machine.etc}/" not in again.stdout.partition("What is left")[0], again.stdout
    assert (machine.app_dir / "shared/.env").read_text() == settings
    assert machine.release() == release
    watchdog = (machine.etc / "systemd/system/ghibli-monitor.service").read_text()
    assert f"ExecStart={machine.app_dir}/current/.venv/bin/python {machine.app_dir}/current/scripts/" in watchdog
