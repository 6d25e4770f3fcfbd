"""The router's settings: declared once, validated and frozen."""

from autopilot.settings.loading import (
    DECLARED,
    HIDDEN,
    NO_PORT,
    Chosen,
    EffectiveSetting,
    Setting,
    Settings,
    SettingsError,
    UsualAddress,
    changed_settings,
    choose,
    effective_settings,
    load_settings,
    only,
    split_address,
)
from autopilot.settings.warnings import misspelled, settings_warnings

__all__ = [
    "DECLARED",
    "HIDDEN",
    "NO_PORT",
    "Chosen",
    "EffectiveSetting",
    "Setting",
    "Settings",
    "SettingsError",
    "UsualAddress",
    "changed_settings",
    "choose",
    "effective_settings",
    "load_settings",
    "misspelled",
    "only",
    "settings_warnings",
    "split_address",
]
