"""Whether PyTorch can be used here, and which one."""
from __future__ import annotations

import importlib.util

import numpy as np


def torch_state() -> tuple[str, str]:
    """The device it works on, 'cuda', 'cpu' or '', and its versions or what is wrong with it."""
    if importlib.util.find_spec('torch') is None:
        return '', 'none'
    try:
        import torch
        x = torch.tensor(np.ones((8, 8), np.float32))
        if not torch.cuda.is_available():
            return 'cpu', f'{torch.__version__} without CUDA'
        float((x.cuda() @ x.cuda()).sum())
        return 'cuda', (f'{torch.__version__}, CUDA {torch.version.cuda}, '
                        f'cuDNN {torch.backends.cudnn.version()}')
    except Exception as error:  # built for another NumPy, another driver, another GPU
        return '', f'unusable: {type(error).__name__}: {(str(error).splitlines() or [""])[0][:120]}'
