"""The server of deploy/: installed from its files into a folder, with a stand-in for systemd's manager."""
