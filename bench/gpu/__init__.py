"""Parts of bench/gpu_check.py: kernels through the C API, float64 references, timing."""
