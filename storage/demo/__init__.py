"""The demo: a real shop's orders, and simulated behaviour around them.

* `online_retail.parquet` — real, CC BY 4.0 (ATTRIBUTION.md); MAPPING.md says how it is loaded;
* `categories.csv` and `items` — the items' categories by a rule table;
* `simulate` — web events, visitors, experiments and ratings, made up with a fixed seed;
* `planted` and PLANTED.md — what the made-up part holds, so that tests can look for it;
* `sources` — how each part is described to whoever asks.
"""
