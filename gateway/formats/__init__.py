"""The only parsers and writers of the gateway. Every dangerous constructor lives here, once."""
