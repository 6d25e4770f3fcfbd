"""What a relayed event and a request cost the router, beside other proxies: `make bench`."""
