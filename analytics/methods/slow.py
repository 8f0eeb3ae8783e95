"""The libraries that load slowly: whoever needs one imports it where it is used, not before."""

from importlib import import_module

SLOW = (
    "analytics.methods.compiled",
    "mlxtend.frequent_patterns",
    "mlxtend.frequent_patterns.fpcommon",
    "mlxtend.frequent_patterns.fpgrowth",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.calibration",
    "sklearn.cluster",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.kernel_approximation",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.neighbors",
    "sklearn.pipeline",
    "sklearn.svm",
    "sklearn.tree",
)


def load_all() -> None:
    """Load them before they are used, in a process that bears those that answer."""
    for name in SLOW:
        import_module(name)
