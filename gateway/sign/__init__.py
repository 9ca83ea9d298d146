"""Room sign: keys, trust, revocation, canonical bytes, and every signature format that goes out or comes in.

One file touches private keys (`keys.py`); everything else holds a `KeyHandle` that signs and shows only what is
public. Every verification takes algorithm and key from our configuration, never from the message.
"""
