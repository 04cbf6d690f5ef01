"""Tools for tests: a byte-exact milter client, a scripted DNS server."""
