"""The conversation: parsing, dispatch, rendering and the surfaces."""

VERSION = "0.1.0"
