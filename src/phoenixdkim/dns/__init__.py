"""Key look-ups: a caching resolver with deadlines and three outcomes, found, absent and unavailable."""

from phoenixdkim.dns.options import Nameserver, ResolverOptions, parse_nameserver
from phoenixdkim.dns.resolver import Resolver
from phoenixdkim.dns.zone import Zone, ZoneError

__all__ = ["Nameserver", "Resolver", "ResolverOptions", "Zone", "ZoneError", "parse_nameserver"]
