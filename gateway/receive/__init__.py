"""From the wire to the store: who is calling, what they sent, what they are answered.

`server` and `mllp` hold the sockets, `framing` the byte protocol without any, `identity` says who calls, `acceptance`
decides and builds commits without doing them, `door` does them in the right order, `answers` puts findings into
words, `callbacks` tells later what became of it.
"""
