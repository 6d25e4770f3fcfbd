"""The router's settings: declared once, validated and frozen."""

from autopilot.settings.loading import (
    DECLARED,
    HIDDEN,
    Chosen,
    EffectiveSetting,
    Setting,
    Settings,
    SettingsError,
    choose,
    effective_settings,
    load_settings,
    split_address,
)

__all__ = [
    "DECLARED",
    "HIDDEN",
    "Chosen",
    "EffectiveSetting",
    "Setting",
    "Settings",
    "SettingsError",
    "choose",
    "effective_settings",
    "load_settings",
    "split_address",
]
