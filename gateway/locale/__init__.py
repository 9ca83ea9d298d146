"""gettext catalogues, made from gateway/codes/ by build.py."""
