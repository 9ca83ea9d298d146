"""Stand-in repositories for testers and for our own tests: real servers, strict, and able to misbehave on order.

`arrivals.py` writes down every arrival before anything else happens; `faults.py` is the list of misbehaviours;
`server.py` runs a stand-in in-process or for `gateway simulate`. One file per repository; they may name programmes.
"""
