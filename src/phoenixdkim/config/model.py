"""The model of the configuration file.

Each option's docstring is its entry in the manual, in the JSON Schema and in the sample file. What needs more than one
option to judge is in ``crosscheck``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from phoenixdkim.config import values
from phoenixdkim.config.macros import macro_conditions
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.sign import EightBit
from phoenixdkim.dkim.signed_fields import Coverage, default_names
from phoenixdkim.dkim.verify import FromPolicy, LengthPolicy
from phoenixdkim.dns.options import ResolverOptions
from phoenixdkim.exporters.users import DEFAULT_UIDS
from phoenixdkim.keystore import OnMissingKey, Permissions
from phoenixdkim.log import Destination
from phoenixdkim.policy import Disposition, RemoveForged

# TOML has lists and texts only. The containers and enums are read from those; what is in them stays strict.
_Lax = Field(strict=False)


class Table(BaseModel):
    """Base of all tables."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        populate_by_name=False,
    )


class Milter(Table):
    """The connection to the MTA, and the processes that serve it."""

    socket: Annotated[str, AfterValidator(values.milter_socket)] = "unix:/run/phoenixdkim/milter.sock"
    """Where the MTA connects: ``unix:/path``, ``inet:port@address``, ``inet:port@[IPv6 address]``, or ``systemd`` for
    a socket passed by a socket unit. An IPv6 address is for IPv6 only, ``[::]`` too. A change takes a restart."""
    socket_mode: Annotated[str, AfterValidator(values.file_mode)] = "0660"
    """Permissions of a unix socket, in octal. A change takes a restart."""
    socket_group: str = ""
    """Group of a unix socket, for example the MTA's; empty: the group that the daemon runs with."""
    workers: int = Field(default=0, ge=0, le=256)
    """Worker processes; 0 for two a core."""
    max_sessions: int = Field(default=1000, ge=1, le=100_000)
    """Sessions of one worker beyond which messages are put off with a temporary failure. Each is an open file: the
    limit of these is raised to match, or a warning at the start says that it could not be."""
    on_internal_error: Literal["tempfail", "accept", "reject"] = "tempfail"
    """What happens to a message inside which something went wrong."""
    timeout: int = Field(default=7210, ge=10, le=86400)
    """Seconds that a worker waits for the MTA's next command. Longer than Postfix keeps a session."""
    reload_soft_deadline: float = Field(default=300.0, ge=0, le=86400)
    """Seconds after a reload until sessions with the old configuration are told to come again (421)."""
    reload_hard_deadline: float = Field(default=600.0, ge=1, le=86400)
    """Seconds after a reload until the old workers end, whatever is still open."""
    stop_timeout: float = Field(default=25.0, ge=0.1, le=3600)
    """Seconds that messages under way have to end when the daemon stops."""
    max_generations: int = Field(default=3, ge=2, le=20)
    """Generations of workers alive at one time; the oldest ends when a reload would make more."""


class Reload(Table):
    """Reload of the configuration (SIGHUP, SIGUSR1, ``phoenixdkim reload``)."""

    max_shrink: float = Field(default=0.5, ge=0, le=1)
    """Largest fraction of signing rules or keys that a reload may remove. A reload that removes more, or all rules, the
    ``[signing]`` table, the trusted networks or the trusted macros, is refused, so that an incomplete file does not
    stop signing. The value in force counts, not that of the new file. ``signing.enabled = false`` in the new file, or
    ``phoenixdkim reload --accept-shrink``, allows it."""


class Control(Table):
    """The control socket, for ``phoenixdkim reload`` and ``phoenixdkim check``."""

    socket: Annotated[str, AfterValidator(values.control_socket)] = "/run/phoenixdkim/control.sock"
    """Absolute path of the control socket; empty for none. Only root and the daemon's user can use it. If it cannot be
    created the daemon logs a warning and serves without it. A change takes a restart."""


class Process(Table):
    """Users that processes run as when the daemon is started as root."""

    user: str = Field(default="phoenixdkim", min_length=1)
    """User, by name or number, that the workers run as when the daemon is started as root; unused otherwise."""
    exporter_uids: Annotated[str, AfterValidator(values.uid_range)] = DEFAULT_UIDS
    """User ids, the first and the last, for exporters without a user of their own when the daemon is started as root.
    Each exporter gets one that has no account, no group and no process; its group has the same number. The id follows
    from the exporter's name, so it stays the same over restarts unless it is taken. The default is a range that is used
    neither for logins nor by systemd nor by containers. Files of an exporter that is removed may belong to a later one
    with the same id: give exporters that own files a user, ``phoenixdkim-NAME``."""


class LogTable(Table):
    """The log."""

    destination: Annotated[Destination, _Lax] = Destination.AUTO
    """Where lines go; ``auto`` is the journal when stderr is connected to it, else stderr."""
    level: Literal["error", "warning", "notice", "info", "debug"] = "info"
    """The least severity that is written. Summary lines of messages are ``info``."""
    facility: Literal[
        "mail", "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
    ] = "mail"
    """Syslog facility."""


class Rule(Table):
    """A rule: whose mail is signed with which keys. The most specific pattern that matches decides."""

    from_: Annotated[str, AfterValidator(values.author_pattern)] = Field(alias="from")
    """Author addresses: ``user@example.com``, ``*@example.com``, ``*@*.example.com`` for its sub-domains at any depth,
    or ``*`` for everyone. The more specific rule decides, whatever the order."""
    keys: Annotated[tuple[str, ...], _Lax] = Field(min_length=1, max_length=10)
    """Names of keys; each makes a signature, the first one's stands on top."""
    identity: Annotated[str, AfterValidator(values.identity)] = ""
    """Value of the i= tag, of the keys' domain or below it; empty for none."""


_Macros = Annotated[
    dict[str, Annotated[tuple[str, ...], _Lax]],
    AfterValidator(macro_conditions),
]
_FieldNames = Annotated[tuple[Annotated[str, AfterValidator(values.field_name)], ...], _Lax]


def _default_names(coverage: Coverage) -> tuple[str, ...]:
    return tuple(name.decode() for name in default_names(coverage))


class Signing(Table):
    """Signing of outgoing mail."""

    enabled: bool = True
    """Whether anything is signed. A ``[signing]`` table without rules is an error unless this is ``false``."""
    trusted: Annotated[tuple[Annotated[str, AfterValidator(values.network)], ...], _Lax] = ("127.0.0.0/8", "::1")
    """Networks whose mail is signed. Mail of other clients is signed only if they authenticated or a macro of
    ``trusted_macros`` matches. Where a content filter hands incoming mail back from 127.0.0.1, that address must not
    decide alone: see docs/postfix.md."""
    trust_authenticated: bool = True
    """Whether mail of clients that authenticated to the MTA is signed, wherever they are."""
    trusted_macros: _Macros = {}
    """Milter macros whose mail is signed, wherever the client is: name and accepted values, as in
    ``{ "{daemon_name}" = ["ORIGINATING"] }``. One match is enough; values are compared exactly, and an empty list
    accepts every value but an empty one. Only macros that the MTA sends at connect, HELO or MAIL."""
    required_macros: _Macros = {}
    """Macros that must all match, in addition to a trusted network, authentication or trusted macro; written as
    ``trusted_macros``. With ``{ "{daemon_name}" = ["ORIGINATING"] }`` no mail is signed that came in through
    another service, whoever sent it."""
    canonicalization: Annotated[str, AfterValidator(values.canonicalization)] = "relaxed/relaxed"
    """Canonicalization of header and body (RFC 6376 section 3.4). ``relaxed/relaxed`` holds when a hop changes white
    space within lines or at their ends."""
    signed_headers: _FieldNames = _default_names(Coverage.SIGNED)
    """Header fields that are signed when present. The defaults of this list and the next two, with a reason for each
    field: docs/reference/signed-fields.md."""
    oversigned_headers: _FieldNames = _default_names(Coverage.OVERSIGNED)
    """Header fields that are always named once more than they occur, so that none can be added: neither a second one
    nor, if the field is absent, a first one. From always is. A field that a later hop adds to mail must not be here."""
    oversigned_if_present: _FieldNames = _default_names(Coverage.OVERSIGNED_IF_PRESENT)
    """Header fields that are named once more than they occur when present, and not at all when absent: no second one
    can be added, but a hop may add the first one. ``oversigned_headers`` prevails for a field that is in both."""
    signature_ttl: int = Field(default=0, ge=0, le=31_536_000)
    """Seconds after which a signature expires (x=); 0 for never. Delivery may take five days."""
    max_line: Annotated[Literal["auto"] | int, BeforeValidator(values.max_line)] = "auto"
    """Octets of a line, without CRLF, that the MTA passes on unbroken, 78 to 100000. A message with a longer line in
    its body or in a signed field is left unsigned, as breaking the line would break the signature. ``auto`` means 990
    if the MTA shows itself as Sendmail (``L=990`` of its SMTP mailers), otherwise 998 (RFC 5321)."""
    eight_bit: Annotated[EightBit, _Lax] = EightBit.SIGN
    """What happens to a message with octets above 127 in its body: ``sign`` it, or ``leave`` it unsigned, for mail that
    goes to a relay without 8BITMIME, which would encode it after signing (RFC 6376 section 5.3)."""
    key_permissions: Annotated[Permissions, _Lax] = Permissions.STRICT
    """What happens when others can read or replace a private key's file: ``strict`` refuses, ``warn`` warns, ``off``
    does not look."""
    on_missing_key: Annotated[OnMissingKey, _Lax] = OnMissingKey.REFUSE
    """What happens when a private key cannot be used: its file is absent, unreadable or damaged, the key too short, or
    its permissions are refused. ``refuse`` refuses the start or reload. ``tempfail`` warns, and defers mail of trusted
    clients with 451 while no key of the rule for its author can be used; all other mail is processed."""
    rules: Annotated[tuple[Rule, ...], _Lax] = ()
    """Signing rules, each a table ``[[signing.rules]]``."""


class Key(Table):
    """A private key, the table ``[keys.NAME]``."""

    domain: Annotated[str, AfterValidator(values.domain)]
    """Signing domain (d=)."""
    selector: Annotated[str, AfterValidator(values.selector)]
    """Selector (s=). The key record is at SELECTOR._domainkey.DOMAIN."""
    file: Annotated[str, AfterValidator(values.absolute_file)]
    """Absolute path of the private key; symbolic links are followed. PEM (PKCS#1 or PKCS#8; RSA or Ed25519), or base64
    as dkimpy and rspamd write Ed25519 keys. The key decides the algorithm."""


class Verifying(Table):
    """Verification of incoming mail."""

    enabled: bool = True
    """Whether mail that is not signed by us is verified."""
    authserv_id: Annotated[str, AfterValidator(values.authserv_id)] = ""
    """Our name in Authentication-Results (RFC 8601 section 2.5). Empty: the MTA's own name (its macro ``j``, which is
    ``myhostname`` in Postfix), or the host's name if the MTA sends none that is valid. Fields that claim either of the
    two are removed."""
    length_policy: Annotated[LengthPolicy, _Lax] = LengthPolicy.POLICY
    """What is made of text after the part of the body that l= covers: result ``policy``, ``accept`` it, or ``report``
    it beside the result."""
    multiple_from: Annotated[FromPolicy, _Lax] = FromPolicy.POLICY
    """What is made of a message with several From fields, of which a reader may show any: result ``policy`` or
    ``permerror`` for each signature, or ``report`` it beside the result. Such a message is never signed."""
    on_fail: Annotated[Disposition, _Lax] = Disposition.ACCEPT
    """What happens to a message with result fail. RFC 6376 section 6.1 advises to treat it as unsigned."""
    on_permerror: Annotated[Disposition, _Lax] = Disposition.ACCEPT
    """What happens to a message with result permerror: no key, or a signature that can't be evaluated."""
    on_temperror: Annotated[Disposition, _Lax] = Disposition.ACCEPT
    """What happens to a message with result temperror: its key could not be had now."""
    on_none: Annotated[Disposition, _Lax] = Disposition.ACCEPT
    """What happens to a message without signature."""
    on_policy: Annotated[Disposition, _Lax] = Disposition.ACCEPT
    """What happens to a message with result policy: signed, but not as we accept it."""
    on_neutral: Annotated[Disposition, _Lax] = Disposition.ACCEPT
    """What happens to a message with result neutral."""
    add_none: bool = True
    """Whether a message without signature gets Authentication-Results too."""
    remove_forged: Annotated[RemoveForged, _Lax, BeforeValidator(values.remove_forged)] = RemoveForged.ALL
    """Which Authentication-Results fields that came with a message and claim our name are removed (RFC 8601 section 5),
    whether the message is signed, verified or neither: ``all``; ``own``, for a host whose other filters run before
    this one under the same name: fields with a clause of ``dkim`` or a method derived from it (``dkim-adsp``,
    ``dkim-atps``), with no clause, or that cannot be parsed; fields of other methods only (``spf``, ``dmarc``, ``arc``,
    ...) are kept, so a sender can forge them; ``off``: none."""
    remove_authserv_ids: Annotated[tuple[Annotated[str, AfterValidator(values.other_authserv_id)], ...], _Lax] = ()
    """Further authserv-ids whose Authentication-Results are removed in full, such as those of this site's other hosts
    (RFC 8601 section 5), unless ``remove_forged`` is ``off``; all others are kept."""
    keep_from: Annotated[tuple[Annotated[str, AfterValidator(values.network)], ...], _Lax] = ()
    """Networks whose mail keeps its Authentication-Results, whatever name they claim: hosts of this site that verify
    mail before this one does, and a content filter whose mail passes this milter a second time."""


_LIMITS: Final = Limits()


class LimitsTable(Table):
    """Bounds on work. They hold before anything is computed."""

    max_signatures: int = Field(default=_LIMITS.max_signatures, ge=1, le=100)
    """Signatures evaluated in a message, from the top; each costs a look-up and a verification."""
    max_header_fields: int = Field(default=_LIMITS.max_header_fields, ge=20, le=100_000)
    """Fields of a message's header."""
    max_header_octets: int = Field(default=_LIMITS.max_header_octets, ge=4096, le=16_777_216)
    """Octets of a message's header."""
    max_signature_octets: int = Field(default=_LIMITS.max_signature_octets, ge=1024, le=1_048_576)
    """Octets of one DKIM-Signature field's value."""
    max_tags: int = Field(default=_LIMITS.max_tags, ge=16, le=1000)
    """Tags of a signature or key record."""
    max_signed_fields: int = Field(default=_LIMITS.max_signed_fields, ge=16, le=10_000)
    """Names in the h= tag."""
    max_key_records: int = Field(default=_LIMITS.max_key_records, ge=1, le=100)
    """TXT records at the name of one key."""
    max_key_record_octets: int = Field(default=_LIMITS.max_key_record_octets, ge=512, le=65_536)
    """Octets of a key record."""
    min_rsa_bits: int = Field(default=_LIMITS.min_rsa_bits, ge=512, le=4096)
    """Least bits of an RSA key, to verify and to sign; below 1024 goes against RFC 8301 section 3.2. A key that
    signs has at least 1024 in any case."""
    max_rsa_bits: int = Field(default=_LIMITS.max_rsa_bits, ge=2048, le=16_384)
    """Most bits of an RSA key that is computed with; the cost grows with the third power."""
    max_exponent_bits: int = Field(default=_LIMITS.max_exponent_bits, ge=17, le=256)
    """Most bits of an RSA key's public exponent; 65537 has 17."""
    clock_drift: int = Field(default=_LIMITS.clock_drift, ge=0, le=86_400)
    """Seconds by which t= may lie in the future and x= in the past."""


_DNS: Final = ResolverOptions()


class Dns(Table):
    """Look-up of key records."""

    nameservers: Annotated[tuple[Annotated[str, AfterValidator(values.nameserver)], ...], _Lax] = ()
    """Recursive name servers by address, as in ``127.0.0.1:53``, in order of preference; none for those of
    ``resolv_conf``."""
    zone: Annotated[str, AfterValidator(values.optional_file)] = ""
    """A zone file with all key records there are, instead of the network: for tests and the demo."""
    query_timeout: float = Field(default=_DNS.query_timeout, ge=0.05, le=60)
    """Seconds for the first attempt at a server; the second has twice as long."""
    message_timeout: float = Field(default=_DNS.message_timeout, ge=0.1, le=300)
    """Seconds for all keys of a message."""
    max_answer_octets: int = Field(default=_DNS.max_answer_octets, ge=1232, le=65_535)
    """Octets of one answer of a name server that is read into records; one that is made to hurt takes up to 20
    microseconds an octet."""
    max_concurrent: int = Field(default=_DNS.max_concurrent, ge=1, le=10_000)
    """Questions of one worker on the network at one time."""
    cache_size: int = Field(default=_DNS.cache_size, ge=0, le=1_000_000)
    """Keys that a worker keeps. A name without a key counts as one."""
    max_ttl: float = Field(default=_DNS.max_ttl, ge=0, le=604_800)
    """The longest that a key is kept, in seconds."""
    max_negative_ttl: float = Field(default=_DNS.max_negative_ttl, ge=0, le=86_400)
    """The longest that the absence of a key is kept, in seconds."""
    failure_ttl: float = Field(default=_DNS.failure_ttl, ge=0, le=300)
    """How long it is kept that a name could not be looked up, in seconds."""
    recheck_after: float = Field(default=_DNS.recheck_after, ge=0, le=86_400)
    """A kept key that is older than this, in seconds, and does not verify a signature whose body hash is right is asked
    for anew, in case it was replaced; so at most once in that time. 0 for never. The name server may still have the old
    record: it keeps it for the record's time to live."""
    dnssec_probe: Annotated[str, AfterValidator(values.dnssec_probe)] = _DNS.dnssec_probe
    """A name in a signed zone. A name server that vouches for its SOA record validates, so keys that it does not vouch
    for count as ``insecure``; without a probe, or when it fails, they count as ``unknown``. It is put by a thread of
    its own, when a name server has vouched for nothing in the last hour, and delays no message. Empty for none."""
    resolv_conf: Annotated[str, AfterValidator(values.absolute_file)] = _DNS.resolv_conf
    """File with ``nameserver`` lines (resolv.conf(5)), for when ``nameservers`` is empty. It is read again when it has
    changed."""


class Config(Table):
    """The configuration file."""

    milter: Milter = Milter()
    process: Process = Process()
    reload: Reload = Reload()
    control: Control = Control()
    log: LogTable = LogTable()
    signing: Signing = Signing(enabled=False)
    """Without this table nothing is signed."""
    keys: dict[str, Key] = Field(default_factory=dict)
    """Private keys by name, each a table ``[keys.NAME]``."""
    verifying: Verifying = Verifying()
    limits: LimitsTable = LimitsTable()
    dns: Dns = Dns()
    exporters: dict[str, dict[str, object]] = Field(default_factory=dict)
    """Exporters by name, up to 100, each a table ``[exporters.NAME]``; the exporter defines its options. A date is not
    accepted as a value: write it as text."""
