"""What passes between a service manager and the router: sockets one way, its state the other."""
