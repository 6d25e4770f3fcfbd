"""Tests of the settings of proxies: their spellings, their forms, and what is never shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import (
    Settings,
    SettingsError,
    choose,
    effective_settings,
    load_settings,
    settings_warnings,
)
from autopilot.settings.proxies import Exemptions, ProxyUrl, has_effect

ACCEPTED = (
    ("http://proxy.test:3128", "http://proxy.test:3128"),
    ("HTTP://proxy.test:3128/", "http://proxy.test:3128"),
    ("proxy.test:3128", "http://proxy.test:3128"),
    ("me:hunter2@proxy.test:3128", "http://me:hunter2@proxy.test:3128"),
    ("http://proxy.test", "http://proxy.test"),
    ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
    ("http://192.0.2.1:3128", "http://192.0.2.1:3128"),
    ("http://me:hun%2Fter2@proxy.test", "http://me:hun%2Fter2@proxy.test"),
    ("http://me:hunter@2@proxy.test", "http://me:hunter@2@proxy.test"),
)
REFUSED = (
    ("socks5://me:hunter2@proxy.test:1080", "socks5"),
    ("socks5h://proxy.test", "socks5h"),
    ("https://me:hunter2@proxy.test:443", "https"),
    ("hunter2://proxy.test", "another scheme"),
    ("http://", "no valid host"),
    ("http://me:hunter2@", "no valid host"),
    ("http://me:hunter2@:3128", "no valid host"),
    ("http://me:hunter2@proxy.test:0", "no valid host"),
    ("http://me:hunter2@proxy.test:99999", "no valid host"),
    ("http://me:hunter2@proxy.test:", "no valid host"),
    ("http://me:hunter2@-proxy.test", "no valid host"),
    ("http://me:hun/ter2@proxy.test", "password"),
    ("http://me:hun?ter2@proxy.test", "password"),
    ("http://me:hun#ter2@proxy.test", "password"),
    ("http://me:hunter2@proxy.test/path", "path"),
    ("http://me:hun ter2@proxy.test", "not allowed"),
    ("http://me:hunter2@prox\u00fc.test", "not allowed"),
    ("http://me:hunter2\\@proxy.test", "not allowed"),
    ("http://m%3Ae:hunter2@proxy.test", "colon"),
    ("http://me:hunter2%0D%0AX@proxy.test", "control"),
)


def problem(text: str) -> str:
    """Return the one line about this proxy, or nothing."""
    try:
        load_settings({}, {"HTTPS_PROXY": text}, {})
    except SettingsError as wrong:
        (line,) = wrong.problems
        return line
    return ""


class UrlTests(SynchronousTestCase):
    """The URL of a proxy."""

    def test_accepted(self) -> None:
        """An http URL is accepted, and one without a scheme is one."""
        for text, value in ACCEPTED:
            for name in ("HTTPS_PROXY", "HTTP_PROXY"):
                settings = load_settings({}, {name: text}, {})
                self.assertEqual(getattr(settings, name.lower()), value)
                self.assertEqual(ProxyUrl().parse(ProxyUrl().show(value)), value)

    def test_refused(self) -> None:
        """Any other is one line that names the setting and the fault, and no credentials."""
        for text, fault in REFUSED:
            line = problem(text)
            self.assertRegex(line, r"\AHTTPS_PROXY: [\x20-\x7e]{10,200}\Z", text)
            self.assertIn(fault, line, text)
            for secret in ("hun", "ter2", "me:"):
                self.assertNotIn(secret, line, text)

    @given(st.text(max_size=40))
    def test_no_text_is_repeated(self, text: str) -> None:
        """Whatever surrounds a password, no error repeats it."""
        for url in (f"http://hunter2{text}", f"{text}hunter2@p", f"hunter2{text}@p:x"):
            self.assertNotIn("hunter2", problem(url))

    def test_hidden(self) -> None:
        """The effective settings show the proxy without credentials, the representation nothing."""
        environ = {"HTTPS_PROXY": "http://me:hunter2@a.test:1", "http_proxy": "b.test:2"}
        settings = load_settings({}, environ, {})
        self.assertNotIn("hunter2", repr(settings))
        shown = {each.name: each for each in effective_settings(settings, choose({}, environ, {}))}
        self.assertEqual(shown["HTTPS_PROXY"].value, "http://********@a.test:1")
        self.assertEqual(shown["HTTP_PROXY"].value, "http://b.test:2")
        self.assertEqual(shown["HTTP_PROXY"].origin, "environment")
        self.assertEqual(shown["NO_PROXY"].value, "")
        self.assertEqual(ProxyUrl().hide(None), "")


class SpellingTests(SynchronousTestCase):
    """Upper and lower case."""

    def test_both(self) -> None:
        """Lower case wins over upper case, as with curl; an empty text is not set."""
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
            field = name.lower()
            for environ, expected in (
                ({name: "a"}, "a"),
                ({field: "b"}, "b"),
                ({name: "a", field: "b"}, "b"),
                ({name: "a", field: " "}, "a"),
            ):
                value = getattr(load_settings({}, environ, {}), field)
                self.assertIn(value, (f"http://{expected}", (expected,)))

    def test_sources(self) -> None:
        """The source counts before the spelling."""
        option, upper, lower = {"NO_PROXY": "a"}, {"NO_PROXY": "b"}, {"no_proxy": "c"}
        self.assertEqual(load_settings(option, lower, lower).no_proxy, ("a",))
        self.assertEqual(load_settings({}, upper, lower).no_proxy, ("b",))
        self.assertEqual(load_settings({}, {}, lower).no_proxy, ("c",))

    def test_others(self) -> None:
        """No other setting is read in lower case, and ALL_PROXY not at all."""
        environ = {"max_attempts": "2", "all_proxy": "http://p", "ALL_PROXY": "http://p"}
        self.assertEqual(load_settings({}, environ, {}), Settings())


class ExemptionTests(SynchronousTestCase):
    """The list of servers without a proxy."""

    def test_items(self) -> None:
        """Items are separated by commas and blanks, as other programs accept them."""
        settings = load_settings({}, {"NO_PROXY": " a.test, b.test c.test,,a.test\t*"}, {})
        self.assertEqual(settings.no_proxy, ("a.test", "b.test", "c.test", "*"))
        self.assertEqual(Exemptions().show(settings.no_proxy), "a.test,b.test,c.test,*")

    def test_refused(self) -> None:
        """What is not printable ASCII is refused."""
        for text in ("b\u00fccher.test", "a\0b"):
            with self.assertRaises(SettingsError):
                load_settings({}, {"NO_PROXY": text}, {})
        for value in (("",), ("a b",), ("a,b",), (1,), "a"):
            with self.assertRaises(SettingsError):
                Settings(no_proxy=value)  # type: ignore[arg-type]

    def test_without_effect(self) -> None:
        """An item that no server matches is no fault, but a warning if there is a proxy."""
        good = (
            *("*", "a.test", ".a.test", "*.a.test", "a.test:80", "10.0.0.0/8", "10.1.2.3/8"),
            *("10.0.0.1:80", "::1", "fd00::/8", "[::1]", "[::1]:80", "[fd00::]/8", "localhost"),
        )
        bad = (
            *("10.*", "10.0.0.0/99", "169.254", "<local>", "a.test:http", "a.test:0", "[x]", "."),
            *("http://a.test", "*.", "a*.test"),
        )
        self.assertEqual([item for item in good if not has_effect(item)], [])
        self.assertEqual([item for item in bad if has_effect(item)], [])
        given = Settings(https_proxy="http://p", no_proxy=("a.test", "10.*"))
        (warning,) = settings_warnings(given)
        self.assertRegex(warning, r"\ANO_PROXY: '10\.\*' has no effect; give a host name, .+\Z")
        self.assertEqual(settings_warnings(Settings(no_proxy=("10.*",))), ())
