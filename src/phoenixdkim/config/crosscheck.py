"""What one option alone does not show: names that must exist, options that contradict each other.

Works on the tables as they were read, not on the model: these faults are told together with all others, also when
parts of the file are no valid options. What has the wrong type here was told by the model already, and is passed over.
"""

from __future__ import annotations

import grp
from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from phoenixdkim.config.exporter_tables import check_exporters
from phoenixdkim.config.faults import Severity, did_you_mean, nearest, shown
from phoenixdkim.config.locate import Path
from phoenixdkim.config.macros import is_of_every_client
from phoenixdkim.dkim.signed_fields import Coverage, default_names
from phoenixdkim.policy import Pattern, PatternError, ascii_domain, parse_pattern

Found = tuple[Path, str, Severity]
Tables = Mapping[str, object]

_RISKY_RESULTS = {
    "on_none": "all mail without a DKIM signature",
    "on_fail": "mail that a mailing list or a relay has changed",
    "on_neutral": "mail whose signatures could not be judged",
}

_FORGEABLE = {"off": "results of every method", "own": "results of every method but DKIM, such as spf and dmarc,"}
_EVERYONE = {
    ("signing", "trusted"): "everyone who can send through this MTA gets your signature",
    ("verifying", "keep_from"): "every sender can forge results in your name (RFC 8601 section 5)",
}


def cross_check(tables: Tables) -> list[Found]:
    """All such faults, as path, message and severity."""
    found: list[Found] = []
    for check in (
        _signing,
        _signed_fields,
        _rules,
        _keys,
        _networks,
        _trust,
        _socket,
        _deadlines,
        _limits,
        _verifying,
        _permissions,
        _exporters,
    ):
        found += check(tables)
    return found


def _table(tables: Tables, name: str) -> Mapping[str, object]:
    value = tables.get(name)
    return value if isinstance(value, dict) else {}


def _rule_tables(tables: Tables) -> list[tuple[int, Mapping[str, object]]]:
    rules = _table(tables, "signing").get("rules")
    return [(n, rule) for n, rule in enumerate(rules) if isinstance(rule, dict)] if isinstance(rules, list) else []


def _names(table: Mapping[str, object], option: str) -> list[tuple[int, str]]:
    names = table.get(option)
    return [(n, name) for n, name in enumerate(names) if isinstance(name, str)] if isinstance(names, list) else []


def _key_names(rule: Mapping[str, object]) -> list[tuple[int, str]]:
    return _names(rule, "keys")


def _number(table: Mapping[str, object], name: str, default: float) -> float:
    value = table.get(name, default)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def _signing(tables: Tables) -> Iterator[Found]:
    signing = tables.get("signing")
    if isinstance(signing, dict) and signing.get("enabled") is not False and signing.get("rules", []) == []:
        yield (
            ("signing",),
            "has no rules, so outgoing mail would not be signed; add a [[signing.rules]] table, or write"
            " enabled = false",
            Severity.ERROR,
        )


def _rules(tables: Tables) -> Iterator[Found]:
    keys = _table(tables, "keys")
    seen: dict[Pattern, int] = {}
    enabled = _table(tables, "signing").get("enabled", True)
    for number, rule in _rule_tables(tables):
        path: Path = ("signing", "rules", number)
        text = rule.get("from")
        if isinstance(text, str):
            try:
                pattern = parse_pattern(text)
            except PatternError:
                pattern = None
            if pattern is not None and pattern in seen:
                yield (
                    (*path, "from"),
                    f"{shown(text)} has a rule already, signing.rules[{seen[pattern]}]; write all keys into one rule",
                    Severity.ERROR,
                )
            elif pattern is not None:
                seen[pattern] = number
            if pattern == Pattern(b"", b"", False):
                yield (
                    (*path, "from"),
                    f"{shown(text)} signs for every author, also of domains that are not yours;"
                    ' name the domains, as in "*@example.com"',
                    Severity.WARNING,
                )
        names: set[str] = set()
        for position, name in _key_names(rule):
            where = (*path, "keys", position)
            if name not in keys:
                hint = did_you_mean(name, list(keys), "the keys are")
                yield where, f"there is no key {shown(name)}; {hint} (write [keys.{name}] to add it)", Severity.ERROR
            elif name in names:
                yield where, f"key {shown(name)} is named twice in this rule; leave one out", Severity.ERROR
            names.add(name)
            yield from _identity_fits(path, rule, name, keys.get(name))
    if enabled is False and seen:
        yield ("signing", "enabled"), "false: the signing rules below are not used", Severity.WARNING


def _identity_fits(path: Path, rule: Mapping[str, object], name: str, key: object) -> Iterator[Found]:
    identity = rule.get("identity")
    domain = key.get("domain") if isinstance(key, dict) else None
    if not isinstance(identity, str) or not identity or not isinstance(domain, str):
        return
    try:
        ours, theirs = ascii_domain(identity.rpartition("@")[2]), ascii_domain(domain)
    except ValueError:
        return
    if ours != theirs and not ours.endswith(b"." + theirs):
        yield (
            (*path, "identity"),
            f"{shown(identity)} is not in the domain of key {shown(name)} (RFC 6376 section 3.5, i=);"
            f' write "@{domain}" or a sub-domain of it',
            Severity.ERROR,
        )


def _keys(tables: Tables) -> Iterator[Found]:
    keys = _table(tables, "keys")
    used = {name for _, rule in _rule_tables(tables) for _, name in _key_names(rule)}
    # A key whose name is misspelt in a rule is not unused besides.
    used |= {nearest(name, keys) for name in used if name not in keys}
    places: dict[tuple[object, object], str] = {}
    for name, key in keys.items():
        if name not in used:
            yield (
                ("keys", name),
                f"no signing rule uses this key; name {shown(name)} in a rule's keys, or remove the table",
                Severity.WARNING,
            )
        if not isinstance(key, dict):
            continue
        place = (key.get("domain"), key.get("selector"))
        if None in place or not all(isinstance(part, str) for part in place):
            continue
        if place in places:
            yield (
                ("keys", name, "selector"),
                f"key {shown(places[place])} has selector {shown(place[1])} in {shown(place[0])} too;"
                " one name has one key record, so give each key a selector of its own",
                Severity.ERROR,
            )
        places.setdefault(place, name)


def _networks(tables: Tables) -> Iterator[Found]:
    for (table, option), consequence in _EVERYONE.items():
        networks = _table(tables, table).get(option)
        for number, text in enumerate(networks if isinstance(networks, list) else ()):
            if not isinstance(text, str):
                continue
            try:
                everyone = ip_network(text).prefixlen == 0
            except ValueError:
                continue
            if everyone:
                yield (
                    (table, option, number),
                    f"{shown(text)} is every address: {consequence}; name your networks",
                    Severity.WARNING,
                )


def _trust(tables: Tables) -> Iterator[Found]:
    signing = _table(tables, "signing")
    macros = signing.get("trusted_macros", {})
    for name, values in macros.items() if isinstance(macros, dict) else ():
        if values == [] and is_of_every_client(name):
            yield (
                ("signing", "trusted_macros", name),
                f"[] accepts every value, and the MTA sends this macro for every client:"
                f" {_EVERYONE['signing', 'trusted']}; write the values that only your own clients have",
                Severity.WARNING,
            )
    nobody = signing.get("trusted") == [] and signing.get("trust_authenticated") is False and macros == {}
    if nobody and signing.get("enabled") is not False and signing.get("rules"):
        yield (
            ("signing", "trusted"),
            "no client is trusted, so no mail is signed; name networks here or macros in trusted_macros",
            Severity.WARNING,
        )


def _socket(tables: Tables) -> Iterator[Found]:
    milter = _table(tables, "milter")
    group = milter.get("socket_group")
    if isinstance(group, str) and group:
        names = [entry.gr_name for entry in grp.getgrall()]
        if group not in names:
            near = nearest(group, names, 0.8)
            hint = f"did you mean '{near}'?" if near else f"make it: groupadd --system {group}"
            yield ("milter", "socket_group"), f"there is no group {shown(group)}; {hint}", Severity.ERROR
        elif str(milter.get("socket", "unix:")).partition(":")[0] not in ("unix", "local"):
            yield (
                ("milter", "socket_group"),
                f"{shown(group)} is for unix sockets only; leave it out",
                Severity.WARNING,
            )
    socket = milter.get("socket", "")
    control = _table(tables, "control").get("socket")
    if control and isinstance(socket, str) and socket in (f"unix:{control}", f"local:{control}"):
        yield ("control", "socket"), f"{shown(control)} is milter.socket too; write another path", Severity.ERROR
    if isinstance(socket, str) and socket.startswith("inet:"):
        host = socket.partition("@")[2].strip("[]")
        if host in ("0.0.0.0", "::"):  # noqa: S104 - what is warned about
            yield (
                ("milter", "socket"),
                f"{shown(socket)} can be reached from everywhere; whoever reaches it can have mail signed,"
                " so write the address of the network that the MTA is in",
                Severity.WARNING,
            )


def _deadlines(tables: Tables) -> Iterator[Found]:
    milter = _table(tables, "milter")
    soft, hard = _number(milter, "reload_soft_deadline", 300), _number(milter, "reload_hard_deadline", 600)
    if soft > hard:
        name = "reload_soft_deadline" if "reload_soft_deadline" in milter else "reload_hard_deadline"
        yield (
            ("milter", name),
            f"the soft deadline ({soft:g}) comes after the hard one ({hard:g}); write a soft deadline of at most"
            f" {hard:g}, or a hard one of at least {soft:g}",
            Severity.ERROR,
        )
    dns = _table(tables, "dns")
    query, message = _number(dns, "query_timeout", 2), _number(dns, "message_timeout", 8)
    if query > message:
        name = "query_timeout" if "query_timeout" in dns else "message_timeout"
        yield (
            ("dns", name),
            f"one query ({query:g} s) may take longer than a whole message ({message:g} s); write a query_timeout of at"
            f" most {message:g}",
            Severity.ERROR,
        )
    if dns.get("zone") and dns.get("nameservers"):
        yield ("dns", "nameservers"), "unused: with a zone file no name server is asked", Severity.WARNING


def _limits(tables: Tables) -> Iterator[Found]:
    limits = _table(tables, "limits")
    least, most = _number(limits, "min_rsa_bits", 1024), _number(limits, "max_rsa_bits", 8192)
    if 512 <= least < 1024:
        yield (
            ("limits", "min_rsa_bits"),
            f"{least:g}: keys below 1024 bits can be broken (RFC 8301 section 3.2); write 1024 or more",
            Severity.WARNING,
        )
    if least > most:
        name = "min_rsa_bits" if "min_rsa_bits" in limits else "max_rsa_bits"
        yield (
            ("limits", name),
            f"no RSA key has at least {least:g} and at most {most:g} bits; write a min_rsa_bits of at most {most:g}",
            Severity.ERROR,
        )


def _verifying(tables: Tables) -> Iterator[Found]:
    verifying = _table(tables, "verifying")
    for name, what in _RISKY_RESULTS.items():
        value = verifying.get(name)
        if value in ("reject", "discard"):
            yield ("verifying", name), f'{shown(value)}: this loses {what}; write "accept"', Severity.WARNING
    if verifying.get("on_temperror") in ("reject", "discard"):
        yield (
            ("verifying", "on_temperror"),
            f'{shown(verifying["on_temperror"])}: this loses mail whenever DNS does not answer; write "tempfail"',
            Severity.WARNING,
        )
    value = verifying.get("remove_forged")
    if isinstance(value, str) and value in _FORGEABLE:
        yield (
            ("verifying", "remove_forged"),
            f'{shown(value)}: a sender can forge {_FORGEABLE[value]} in your name (RFC 8601 section 5); write "all"',
            Severity.WARNING,
        )
    for name in ("remove_authserv_ids", "keep_from"):
        if value == "off" and verifying.get(name):
            yield ("verifying", name), 'unused: with remove_forged = "off" all fields are kept', Severity.WARNING


def _signed_fields(tables: Tables) -> Iterator[Found]:
    signing = _table(tables, "signing")
    always = {name.lower() for _, name in _names(signing, Coverage.OVERSIGNED)}
    if Coverage.OVERSIGNED not in signing:
        always = {name.decode().lower() for name in default_names(Coverage.OVERSIGNED)}
    for coverage in Coverage:
        seen: set[str] = set()
        for position, name in _names(signing, coverage):
            path: Path = ("signing", coverage.value, position)
            if name.lower() in seen:
                yield path, f"{shown(name)} is in this list already; leave one out", Severity.WARNING
            elif coverage is Coverage.OVERSIGNED_IF_PRESENT and name.lower() == "from":
                yield path, f"no effect: {shown(name)} is always oversigned; leave it out", Severity.WARNING
            elif coverage is Coverage.OVERSIGNED_IF_PRESENT and name.lower() in always:
                where = "oversigned_headers" if Coverage.OVERSIGNED in signing else "the default of oversigned_headers"
                message = f"no effect: {where} has {shown(name)} too, and prevails; write it into one of the two lists"
                yield path, message, Severity.WARNING
            seen.add(name.lower())


def _permissions(tables: Tables) -> Iterator[Found]:
    value = _table(tables, "signing").get("key_permissions")
    if value in ("warn", "off"):
        yield (
            ("signing", "key_permissions"),
            f'{shown(value)}: private keys that others can read or replace are used; write "strict"',
            Severity.WARNING,
        )


def _exporters(tables: Tables) -> Iterator[Found]:
    return check_exporters(_table(tables, "exporters"))
