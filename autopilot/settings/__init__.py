"""The router's settings: declared once, validated and frozen."""

from autopilot.settings.loading import (
    DECLARED,
    Chosen,
    Setting,
    Settings,
    SettingsError,
    choose,
    load_settings,
    split_address,
)

__all__ = [
    "DECLARED",
    "Chosen",
    "Setting",
    "Settings",
    "SettingsError",
    "choose",
    "load_settings",
    "split_address",
]
