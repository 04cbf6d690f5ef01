"""What the daemon works with, made of a checked configuration: policy, keys, resolver options."""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
from collections.abc import Callable, Collection

from pydantic import ValidationError

from phoenixdkim.config.exporter_users import user_faults
from phoenixdkim.config.faults import Fault, Severity, nearest, shown
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.model import Config
from phoenixdkim.config.signing_keys import Progress, load_keys, no_progress
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Result
from phoenixdkim.dkim.sign import SignOptions
from phoenixdkim.dns.options import ResolverOptions
from phoenixdkim.dns.zone import Zone, ZoneError
from phoenixdkim.exporters.users import identity, useradd
from phoenixdkim.keystore.identities import Identities
from phoenixdkim.policy import Disposition, Policy, SigningTable


def build(
    config: Config,
    *,
    uid_is_root: bool,
    loaded: Loaded,
    host_name: Callable[[], str] = socket.gethostname,
    key_names: Collection[str] | None = None,
    progress: Progress = no_progress,
    identities: Identities | None = None,
) -> tuple[Policy | None, ResolverOptions, tuple[Fault, ...]]:
    """Load the keys and make the policy.

    Args:
        config: the checked configuration.
        uid_is_root: the daemon is started as root and will become other users: they must exist.
        loaded: where ``config`` came from, to locate faults.
        host_name: default of ``verifying.authserv_id``.
        key_names: keys to load; None for all. A rule without any of them counts as one whose keys are missing.
        progress: is called with the name of each key before it is loaded, and with an empty one at the end.
        identities: is filled with what the files were that were read: keys, and the zone.

    Returns:
        The policy, None when there is an error; resolver options; all faults.
    """
    faults: list[Fault] = []
    owners = {os.geteuid()}
    if uid_is_root or os.geteuid() == 0:
        missing: list[Fault] = []
        owners |= _worker_user(config, loaded, missing)
        faults += missing if uid_is_root else ()
    faults += [loaded.fault(*found) for found in user_faults(config, root=uid_is_root)]
    identities = Identities() if identities is None else identities
    keys, key_faults = load_keys(config, loaded, frozenset(owners), identities, key_names, progress)
    faults += key_faults
    resolver = _resolver_options(config)
    if resolver.zone is not None:
        identities.add_file(resolver.zone)
        try:
            Zone(resolver.zone)
        except ZoneError as error:
            faults.append(loaded.fault(("dns", "zone"), f"{shown(resolver.zone)} can't be used: {error}"))
    name = config.verifying.authserv_id or host_name() or "localhost"
    if config.verifying.enabled and not config.verifying.authserv_id and "." not in name:
        message = (
            f"not set, and the host's name {shown(name)}, a substitute for the MTA's, has no domain; write a full one"
        )
        faults.append(loaded.fault(("verifying", "authserv_id"), message, Severity.WARNING))
    if any(fault.is_error for fault in faults):
        return None, resolver, tuple(faults)
    signing, verifying = config.signing, config.verifying
    header, _, body = signing.canonicalization.partition("/")
    policy = Policy(
        authserv_id=name.encode("ascii", "replace"),
        authserv_id_of_mta=not verifying.authserv_id,
        signing=signing.enabled and bool(signing.rules),
        verifying=verifying.enabled,
        table=SigningTable.of(keys.rules(config)),
        networks=tuple(ipaddress.ip_network(text) for text in signing.trusted),
        trust_authenticated=signing.trust_authenticated,
        trusted_macros={macro: frozenset(values) for macro, values in signing.trusted_macros.items()},
        required_macros={macro: frozenset(values) for macro, values in signing.required_macros.items()},
        limits=Limits(**config.limits.model_dump()),
        sign_options=SignOptions(
            Canonicalization(header),
            # RFC 6376 section 3.5: c= without a second part means simple for the body.
            Canonicalization(body or "simple"),
            tuple(field.encode() for field in signing.signed_headers),
            tuple(field.encode() for field in signing.oversigned_headers),
            tuple(field.encode() for field in signing.oversigned_if_present),
            signing.signature_ttl or None,
            signing.eight_bit,
        ),
        max_line=None if signing.max_line == "auto" else signing.max_line,
        length_policy=verifying.length_policy,
        from_policy=verifying.multiple_from,
        add_none=verifying.add_none,
        remove_forged=verifying.remove_forged,
        removed_ids=tuple(text.encode() for text in verifying.remove_authserv_ids),
        keep_from=tuple(ipaddress.ip_network(text) for text in verifying.keep_from),
        on_internal_error=Disposition(config.milter.on_internal_error),
        on_result={
            Result.PASS: Disposition.ACCEPT,
            Result.FAIL: verifying.on_fail,
            Result.PERMERROR: verifying.on_permerror,
            Result.TEMPERROR: verifying.on_temperror,
            Result.NONE: verifying.on_none,
            Result.POLICY: verifying.on_policy,
            Result.NEUTRAL: verifying.on_neutral,
        },
    )
    return policy, resolver, tuple(faults)


def _resolver_options(config: Config) -> ResolverOptions:
    return ResolverOptions(**{**config.dns.model_dump(), "zone": config.dns.zone or None})


def _worker_user(config: Config, loaded: Loaded, faults: list[Fault]) -> set[int]:
    """User id of the workers, which may own keys; a user that does not exist is a fault."""
    name = config.process.user
    try:
        return {identity(name).uid}
    except LookupError as error:
        near = nearest(name, [entry.pw_name for entry in pwd.getpwall()], 0.85)
        hint = f"did you mean '{near}'? Or make it" if near else "make it"
        faults.append(loaded.fault(("process", "user"), f"{error.args[0]}; {hint}: {useradd(name)}"))
        return set()


def faults_of_parts(loaded: Loaded, *, uid_is_root: bool, progress: Progress = no_progress) -> tuple[Fault, ...]:
    """What ``build`` would find in the tables that are valid, when the file as a whole is not."""
    if not loaded.tables:
        # Of a file that cannot be parsed, or is empty, the defaults say nothing.
        return ()
    parts: dict[str, object] = {}
    for name in ("process", "limits", "dns", "signing", "keys", "exporters"):
        value = loaded.tables.get(name)
        if not isinstance(value, dict):
            continue
        if name == "signing":
            value = {option: value[option] for option in ("key_permissions", "on_missing_key") if option in value}
        if name == "keys":
            value = {key: table for key, table in value.items() if _fits({"keys": {key: table}})}
        if _fits({name: value}):
            parts[name] = value
    found = build(
        Config.model_validate(parts),
        uid_is_root=uid_is_root,
        loaded=loaded,
        host_name=lambda: "a.b",
        progress=progress,
    )[2]
    return tuple(fault for fault in found if fault.is_error)


def _fits(tables: dict[str, object]) -> bool:
    try:
        Config.model_validate(tables)
    except ValidationError:
        return False
    return True
