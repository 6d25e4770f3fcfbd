"""The control plane: the platform's two feeds, their freshness and the snapshot made from them."""
