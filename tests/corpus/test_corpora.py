"""The corpus itself: files that cannot be parsed or that state too little are errors."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.corpus import strict
from tests.corpus.corpora import REQUESTS, RESPONSES, Case, CorpusError, Ending, Kind
from tests.corpus.expected import Answer, Fate, How, Outcome, Then, Verdict

FACTS = b"tries: x\nsource: y\noutcome: answered 200, kept\n"
SENDS = FACTS + b"--- client sends\n"
GOOD = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


class FormatTests(SynchronousTestCase):
    """Parsing of files."""

    def read(self, data: bytes, name: str = "a_case.case", kind: Kind = REQUESTS) -> Case:
        """Parse one file."""
        return kind.read(name, data)

    def test_bytes(self) -> None:
        """Every notation represents the right bytes."""
        section = self.read(
            SENDS + b"a\\r\\n\n b \\\\\\t\\x00\\xff\n@repeat 3 \\n-\n@read\nc # d\n@reset\n"
        ).sections["client sends"]
        self.assertEqual(section.reads, (b"a\r\n b \\\t\0\xff\n-\n-\n-", b"c # d"))
        self.assertEqual(section.whole, b"".join(section.reads))
        self.assertIs(section.ending, Ending.RESET)

    def test_facts(self) -> None:
        """The facts of a file."""
        data = b"field: A: b\nfield: C: d\nabsent: e\n" + FACTS + b"--- upstream sends\nx\n"
        case = self.read(data, kind=RESPONSES)
        self.assertEqual((case.name, case.fact("tries"), case.fact("two")), ("a_case", "x", ""))
        self.assertEqual(case.facts["field"], ("A: b", "C: d"))
        self.assertEqual(case.sections["upstream sends"].reads, (b"x",))

    def test_malformed(self) -> None:
        """Any unknown text is an error that names the file."""
        for data in (
            b"",
            SENDS,
            SENDS + b"a",
            SENDS + b"a\n\n",
            SENDS + b"a \n",
            SENDS + b"a\r\n",
            SENDS + b"a\tb\n",
            SENDS + b"\xc3\xa9\n",
            SENDS + b"\\q\n",
            SENDS + b"\\x0\n",
            SENDS + b"\\xFG\n",
            SENDS + b"a\\\n",
            SENDS + b"@repeat 0 a\n",
            SENDS + b"@repeat x a\n",
            SENDS + b"@repeat 5\n",
            SENDS + b"@reed\na\n",
            SENDS + b"a\n@read\n",
            SENDS + b"@read\na\n",
            SENDS + b"@close\na\n",
            SENDS + b"a\n--- client sends\na\n",
            SENDS + b"a\n--- client gets\na\n",
            SENDS + b"a\n--- upstream gets\n@read\na\n",
            SENDS + b"a\n--- upstream gets\na\n@close\n",
            FACTS,
            FACTS + b"--- upstream gets\na\n",
            FACTS + b"tries: again\n--- client sends\na\n",
            FACTS + b"reused: yes\n--- client sends\na\n",
            FACTS + b"nonsense\n--- client sends\na\n",
            FACTS.replace(b"source: y\n", b"") + b"--- client sends\na\n",
        ):
            with self.assertRaisesRegex(CorpusError, "requests/a_case.case: "):
                self.read(data)
        for name in ("A.case", "a", "a.txt", "a_.case", "a.case~", ".case", "a.b.case"):
            with self.assertRaises(CorpusError):
                self.read(SENDS + b"a\n", name)

    def test_outcomes(self) -> None:
        """Expected outcomes are parsed exactly."""
        self.assertEqual(
            Outcome.of("continue, relayed, refused 400 bad_request"),
            Outcome(
                (
                    Answer(How.CONTINUE, 100),
                    Answer(How.RELAYED, 200),
                    Answer(How.REFUSED, 400, "bad_request"),
                ),
                Then.CLOSED,
            ),
        )
        self.assertEqual(Outcome.of("waiting"), Outcome((), Then.WAITING))
        self.assertEqual(Outcome.of("abandoned, relayed, left").relays, 2)
        for text in ("", "kept, kept", "relayed", "relayed 2, kept", "refused 400, kept"):
            with self.assertRaises(CorpusError):
                Outcome.of(text)
        self.assertEqual(Verdict.of("cut 200 with error event").error_event, True)
        self.assertEqual(Verdict.of("failed 502 x"), Verdict(Fate.FAILED, 502, "x"))
        for text in ("", "answered", "answered 20", "failed 502", "answered 200 x", "cut 200 with"):
            with self.assertRaises(CorpusError):
                Verdict.of(text)


class StrictTests(SynchronousTestCase):
    """The strict parser rejects what it should."""

    def test_good(self) -> None:
        """Complete requests, and the bytes after them."""
        found, rest = strict.requests(GOOD + GOOD + GOOD[:-1])
        self.assertEqual([each.body for each in found], [b"hi"] * 2)
        self.assertEqual(rest, GOOD[:-1])

    def test_bad(self) -> None:
        """Requests that two servers could parse differently."""
        for good, bad in (
            (b"Host: h\r\n", b""),
            (b"Host: h\r\n", b"Host: h\r\nhost: i\r\n"),
            (b"Host: h\r\n", b"Host: h\nX: y\r\n"),
            (b"Host: h\r\n", b"Host: h\rX: y\r\n"),
            (b"Host: h\r\n", b"Host : h\r\n"),
            (b"Host: h\r\n", b"Host: h\r\n X: y\r\n"),
            (b"Host: h\r\n", b"Host: h\0\r\n"),
            (b"Content-Length: 2\r\n", b""),
            (b"Content-Length: 2\r\n", b"Content-Length: 2\r\nContent-Length: 2\r\n"),
            (b"Content-Length: 2\r\n", b"Content-Length: +2\r\n"),
            (b"Content-Length: 2\r\n", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
            (b"/a HTTP", b"/a b HTTP"),
            (b"/a HTTP", b"a HTTP"),
            (b"HTTP/1.1", b"HTTP/1.0"),
        ):
            with self.assertRaises(AssertionError):
                strict.requests(GOOD.replace(good, bad))


class FilesTests(SynchronousTestCase):
    """Required contents of every file."""

    def test_requests(self) -> None:
        """A file states the upstream request exactly if there is one."""
        cases = REQUESTS.cases()
        self.assertGreater(len(cases), 300)
        for case in cases:
            own = Outcome.of(case.fact("outcome"))
            twisted = Outcome.of(case.fact("twisted") or case.fact("outcome"))
            wanted = set()
            if own.relays or twisted.relays:
                wanted = {"upstream gets" if own.relays else "upstream gets over twisted"}
            self.assertEqual(
                wanted <= case.sections.keys() and bool(wanted),
                len(case.sections) > 1,
                case.name,
            )
            self.assertIn(case.fact("platform"), ("", "silent"), case.name)
            ending = case.sections["client sends"].ending
            self.assertEqual(own.then is Then.LEFT, ending is not Ending.NOTHING, case.name)

    def test_one_request_is_one(self) -> None:
        """No file has more responses than requests; an HTTP error closes the connection."""
        for case in REQUESTS.cases():
            own = Outcome.of(case.fact("outcome"))
            twisted = Outcome.of(case.fact("twisted") or case.fact("outcome"))
            sent = int(case.fact("requests", "1"))
            self.assertLessEqual(max(own.final, twisted.relays), sent, case.name)
            for answer in own.answers:
                malformed = answer.code == "bad_request"
                self.assertTrue(answer.how is How.REFUSED or not malformed, case.name)

    def test_responses(self) -> None:
        """A file states the client's response unless there is none."""
        cases = RESPONSES.cases()
        self.assertGreater(len(cases), 180)
        for case in cases:
            verdict = Verdict.of(case.fact("outcome"))
            if case.fact("two"):
                Verdict.of(case.fact("two"))
            self.assertIn(case.fact("request"), ("", "stream"), case.name)
            answered = verdict.fate is Fate.ANSWERED
            self.assertEqual(case.fact("reused") in ("yes", "no", "either"), answered, case.name)
            if verdict.fate is Fate.FAILED:
                self.assertEqual(
                    (len(case.sections), case.facts.keys() & {"field", "absent"}), (1, set())
                )
