"""What Prometheus and Grafana make of the router: its metrics, alert rules and dashboard."""
