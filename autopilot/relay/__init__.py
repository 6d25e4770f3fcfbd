"""The data plane: a request is planned, sent, judged, and its answer relayed.

`proxy` takes a request, and has it planned; `exchange` is its way from the plan to the record,
whose transitions are data in `exchange_states`. By question:

* when an error response leads to another try: `exchange_retries`, by `routing.retry_policy`;
* when an attempt is given up: `attempt_deadlines`;
* when a 2xx is committed: `commit`;
* what a client sees when a stream breaks: `stream_break`;
* what the router says by itself: `errors`;
* what a record holds: `observability.records`, filled in `exchange_base`.
"""
