"""The arrays that the compiled loops take, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Words = NDArray[np.uint64]
Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
