"""The conversation: parsing, dispatch, rendering and the surfaces."""
