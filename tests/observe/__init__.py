"""Tests of ``autopilot.observe``."""
