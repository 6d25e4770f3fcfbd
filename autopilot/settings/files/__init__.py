"""The files of settings that do not fit one variable: TOML, checked as a whole."""
