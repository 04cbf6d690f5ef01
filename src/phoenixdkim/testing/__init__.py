"""Tools for tests, of this project and of packages that extend it.

- ``milter_client``: a byte-exact client of the milter protocol, as the MTA is.
- ``milter_protocol``: the words of that protocol, and what a header is after a filter's answer.
- ``dns_server``: a DNS server that answers, or fails to, as a script says.
- ``exporter``: a context without a daemon, for quick tests of an exporter's methods.
- ``stream``: every event that can exist, with measures in every bucket.
- ``exporter_process``: an exporter in the process that a daemon would give it, with a ledger to fill.
- ``contract``: what every exporter owes, as a class of tests to inherit from. Needs pytest.

They keep the stability promise of ``phoenixdkim.events``.
"""
