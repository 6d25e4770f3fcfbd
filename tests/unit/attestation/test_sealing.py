"""Tests of sealed requests and plain replies, with vectors of the platform's own package."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.sealing import (
    InstanceKey,
    Purpose,
    ReplyError,
    ReplyFault,
    ResponseKey,
    UnsealableError,
    derive,
    open_reply,
    seal,
    strict_base64,
)
from tests.unit.attestation.sealed import (
    instance_key,
    open_request,
    read_request,
    response_key,
    sealed_reply,
    vectors,
)

BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":false}'


class RequestTests(SynchronousTestCase):
    """Requests, as an instance opens them."""

    def test_vectors(self) -> None:
        """The key of each request of the official package opens what the package sealed."""
        for each in vectors()["requests"]:
            secret = each["shared_secret_hex"]
            blob = b64decode(each["blob_b64"])
            read = read_request(blob, each["instance"])
            self.assertEqual(len(b64decode(read.pop("e2e_response_pk"))), 1184)
            self.assertEqual(read, each["client_body"])
            cipher = derive(bytes.fromhex(secret), blob[:1088], Purpose.REQUEST)
            plain = cipher.decrypt(blob[1088:1100], blob[1100:], None)
            self.assertEqual(cipher.encrypt(blob[1088:1100], plain, None), blob[1100:])
            if "gzip_b64" in each:
                self.assertEqual(plain, b64decode(each["gzip_b64"]))
        self.assertEqual(len(vectors()["requests"]), 8)

    def test_broken_vectors(self) -> None:
        """The tests' instance opens exactly the broken requests that a real one opens."""
        for each in vectors()["bad_requests"]:
            try:
                open_request(b64decode(each["blob_b64"]), each["instance"])
                opened = True
            except (InvalidTag, ValueError):
                opened = False
            self.assertEqual(opened, each["instance_can_open"], each["name"])
        self.assertEqual(len(vectors()["bad_requests"]), 10)

    def test_layout(self) -> None:
        """The caller's bytes stay as they are, and the response key is the last member."""
        sealed = seal(BODY, instance_key())
        plain = gzip.decompress(open_request(sealed.blob))
        self.assertEqual(plain[: len(BODY) - 1], BODY[:-1])
        member = b',"e2e_response_pk":"%b"}' % sealed.response_key.text
        self.assertEqual(plain[len(BODY) - 1 :], member)
        self.assertEqual(len(b64decode(sealed.response_key.text)), 1184)

    def test_unusual_bodies(self) -> None:
        """White space and an empty object give valid JSON too."""
        for body in (b"{}", b" { \t}\r\n", b'{"a":{}}', b'{"a": 1 } \n', b'{"{":[]}'):
            sealed = seal(body, instance_key())
            read = read_request(sealed.blob)
            self.assertEqual(read.pop("e2e_response_pk"), sealed.response_key.text.decode())
            self.assertEqual(read, json.loads(body))

    def test_size(self) -> None:
        """The size does not depend on what the prompt repeats: nothing is compressed."""
        alike, mixed = (b'{"a":"%b"}' % text for text in (b"x" * 4000, bytes(range(97, 117)) * 200))
        sizes = {len(seal(body, instance_key()).blob) for body in (alike, mixed)}
        self.assertEqual(len(sizes), 1)
        self.assertGreater(sizes.pop(), 4000 + 1184)

    def test_fresh(self) -> None:
        """Each attempt has a response key, a secret and a nonce of its own."""
        first, second = seal(BODY, instance_key()), seal(BODY, instance_key())
        self.assertNotEqual(first.response_key.text, second.response_key.text)
        self.assertNotEqual(first.blob[:1088], second.blob[:1088])
        self.assertNotEqual(first.blob[1088:1100], second.blob[1088:1100])
        reply = sealed_reply(first.response_key.text, gzip.compress(b"{}"))
        self.assertEqual(open_reply(reply, first.response_key), b"{}")
        with self.assertRaises(ReplyError):
            open_reply(reply, second.response_key)

    def test_one_instance(self) -> None:
        """No other instance opens a request."""
        with self.assertRaises(InvalidTag):
            open_request(seal(BODY, instance_key("A")).blob, "B")

    def test_own_response_key(self) -> None:
        """A body that names a response key is not sealed, however it spells the name."""
        for body in (
            b'{"model":"m","e2e_response_pk":"x"}',
            b'{"e2e_response_pk":null,"model":"m"}',
            b'{"e2e_response_p\\u006b":1}',
        ):
            with self.assertRaisesRegex(UnsealableError, "^the body has a member e2e_response_pk$"):
                seal(body, instance_key())
        nested = b'{"a":{"e2e_response_pk":"x"}}'
        self.assertEqual(
            read_request(seal(nested, instance_key()).blob)["a"], {"e2e_response_pk": "x"}
        )

    def test_no_object(self) -> None:
        """Whatever is not one JSON object is not sealed, and not quoted."""
        deep = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
        for body in (b"", b"[]", b'"canary"', b"{canary", b"{}{}", b'{"a":1}x', b"null", deep):
            with self.assertRaisesRegex(UnsealableError, "^the body is not a JSON object$"):
                seal(body, instance_key())

    def test_keys(self) -> None:
        """A key of a wrong length, modulus or spelling is refused, and not quoted."""
        good = instance_key().text
        for text in (
            "",
            "canary",
            good[:-4],
            good + "AAAA",
            good + "\n",
            " " + good,
            b64encode(b"\xff" * 1184).decode(),
            "é" * 1184,
            "\ud800",
        ):
            with self.assertRaisesRegex(
                UnsealableError, "^not an ML-KEM-768 public key in base64$"
            ):
                InstanceKey(text)

    def test_repr(self) -> None:
        """No representation shows key material or content."""
        sealed = seal(BODY, instance_key())
        self.assertEqual(repr(instance_key()), "InstanceKey()")
        self.assertEqual(repr(sealed), "SealedRequest(response_key=ResponseKey())")


class ReplyTests(SynchronousTestCase):
    """Plain replies."""

    def test_vectors(self) -> None:
        """Every vector gives its exact bytes."""
        for each in vectors()["responses"]:
            blob = b64decode(each["blob_b64"])
            self.assertEqual(
                open_reply(blob, response_key(each["response_key"])),
                each["plain_json_text"].encode(),
            )
            cipher = derive(bytes.fromhex(each["shared_secret_hex"]), blob[:1088], Purpose.REPLY)
            self.assertEqual(
                gzip.decompress(cipher.decrypt(blob[1088:1100], blob[1100:], None)),
                each["plain_json_text"].encode(),
            )
        self.assertEqual(len(vectors()["responses"]), 2)

    def test_broken_vectors(self) -> None:
        """Each broken reply is refused for its own reason."""
        expected = {
            "tag_flipped": ReplyFault.BAD_SEAL,
            "kem_flipped": ReplyFault.BAD_SEAL,
            "truncated_tail": ReplyFault.BAD_SEAL,
            "shorter_than_header": ReplyFault.TOO_SHORT,
            "empty": ReplyFault.TOO_SHORT,
            "for_other_key": ReplyFault.BAD_SEAL,
            "info_of_stream_used": ReplyFault.BAD_SEAL,
            "opens_but_not_gzip": ReplyFault.NOT_GZIP,
            "opens_but_not_json": ReplyFault.NOT_AN_OBJECT,
            "opens_but_json_array": ReplyFault.NOT_AN_OBJECT,
            "gzip_bomb_8_MiB": ReplyFault.TOO_LARGE,
            "plain_json_instead_of_blob": ReplyFault.TOO_SHORT,
        }
        found = {}
        for each in vectors()["bad_responses"]:
            with self.assertRaises(ReplyError) as caught:
                open_reply(b64decode(each["blob_b64"]), response_key(), limit=1024 * 1024)
            found[each["name"]] = caught.exception.fault
        self.assertEqual(found, expected)

    def test_limit(self) -> None:
        """A reply of the limit passes, and one byte more does not."""
        key = ResponseKey()
        reply = sealed_reply(key.text, gzip.compress(b'{"a":1}'))
        self.assertEqual(open_reply(reply, key, limit=7), b'{"a":1}')
        with self.assertRaises(ReplyError) as caught:
            open_reply(reply, key, limit=6)
        self.assertIs(caught.exception.fault, ReplyFault.TOO_LARGE)

    def test_memory(self) -> None:
        """A reply that expands without bound takes no more memory than the limit allows."""
        key, limit = ResponseKey(), 100_000
        reply = sealed_reply(key.text, gzip.compress(bytes(32 * 1024 * 1024)))
        tracemalloc.start()
        try:
            with self.assertRaises(ReplyError) as caught:
                open_reply(reply, key, limit)
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertIs(caught.exception.fault, ReplyFault.TOO_LARGE)
        self.assertEqual(str(caught.exception), "too_large")
        self.assertLess(peak, 10 * limit)

    def test_one_member(self) -> None:
        """A reply is one complete gzip member."""
        key, member = ResponseKey(), gzip.compress(b"{}")
        for plain in (member + member, member + b"x", member[:-1], b"", zlib.compress(b"{}")):
            with self.assertRaises(ReplyError) as caught:
                open_reply(sealed_reply(key.text, plain), key)
            self.assertIs(caught.exception.fault, ReplyFault.NOT_GZIP, plain)

    def test_shortest(self) -> None:
        """The shortest seal is opened, and a shorter text is not tried."""
        key = ResponseKey()
        shortest = sealed_reply(key.text, b"")
        self.assertEqual(len(shortest), 1116)
        for blob, fault in ((shortest, ReplyFault.NOT_GZIP), (shortest[:-1], ReplyFault.TOO_SHORT)):
            with self.assertRaises(ReplyError) as caught:
                open_reply(blob, key)
            self.assertIs(caught.exception.fault, fault)

    @settings(max_examples=50)
    @given(st.data())
    def test_flipped_bits(self, data: st.DataObject) -> None:
        """A reply with any bit flipped does not open."""
        blob = bytearray(b64decode(vectors()["responses"][0]["blob_b64"]))
        bit = data.draw(st.integers(0, len(blob) * 8 - 1))
        blob[bit // 8] ^= 1 << bit % 8
        with self.assertRaises(ReplyError) as caught:
            open_reply(bytes(blob), response_key())
        self.assertIs(caught.exception.fault, ReplyFault.BAD_SEAL)


class Base64Tests(SynchronousTestCase):
    """Base64 in one spelling."""

    def test_spellings(self) -> None:
        """Every other spelling of the same bytes is refused."""
        self.assertEqual(strict_base64(b"AQ=="), b"\x01")
        for text in (b"AQ", b"AQ=", b"AR==", b"AQ==\n", b"A Q==", b"AQ===", b"-_==", b"=AQ="):
            with self.assertRaises(ValueError):
                strict_base64(text)
