"""Pure statistics: frames and arrays in, frames and arrays out. Formulas name their source."""
