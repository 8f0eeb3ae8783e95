"""Statistics of experiments, on sums: numbers in, plain numbers and named states out.

Read in this order: moments (what the store hands over), arms (one variant's estimate and its
error: mean, ratio, clustered quantile, CUPED, strata), comparison (treatment against control, with
the lift), regimes (how strict a look must be), guardrails, health, verdict. Nothing here returns
NaN: what is unknown is None, or an Unknown with its reason.
"""
