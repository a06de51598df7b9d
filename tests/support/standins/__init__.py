"""Stand-ins for services that cannot run here: real servers on loopback that follow the documented protocols."""
