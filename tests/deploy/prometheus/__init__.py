"""Prometheus and Grafana: the router's metrics, alert rules and dashboard."""
