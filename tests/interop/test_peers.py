"""The peers themselves: they agree with each other, and tell right from wrong.

Debian 12's Mail::DKIM knows no Ed25519: such signatures are "invalid" to it, and dkimpy alone verifies them.
"""

from interop.peers import KeyPair, dkimpy_sign, dkimpy_verify, mail_dkim_verify

RAW = b"From: a@example.com\r\nSubject: x\r\n\r\nbody\r\n"


def test_mail_dkim_and_dkimpy_tell_right_from_wrong(tmp_path):
    keys = [KeyPair.rsa("example.com"), KeyPair.ed25519("example.com")]
    signed = dkimpy_sign(dkimpy_sign(RAW, keys[0], b"simple/simple"), keys[1])
    tampered = signed.replace(b"body", b"b0dy")
    answers = mail_dkim_verify([signed, tampered, RAW], keys, tmp_path)
    assert answers[0][1:] == ["example.com/rsa/rsa-sha256=pass"]
    assert answers[0][0].startswith("example.com/ed/ed25519-sha256=")
    assert answers[1][1].startswith("example.com/rsa/rsa-sha256=fail (")
    assert answers[2] == ["none"]
    assert dkimpy_verify(signed, keys) == [True, True]
    assert dkimpy_verify(tampered, keys) == [False, False]
    assert dkimpy_verify(RAW, keys) == []
