"""Room deliver: one document, one destination, once, in order.

`dispatcher.py` owns a lane per destination, `lane.py` the life of one exchange, `decide.py` the decisions,
`steps.py` what is committed; one file per wire protocol, found by `wires.py`.
"""
