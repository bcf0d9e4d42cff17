"""Networks: records, layers, weights read strictly, transfer (trunk and head).

Public: `registry` (`register`, `get`), `model` (`Model`), `staged` (`Staged`, which networks are), `transfer`
(`build_transfer_model`, `forward`), `pretrained` (`load_weights`, `save_weights`, `from_state_dict`), `convert`
(`read`), `sources` (of weights), `augment` (`crop_flip`, `normalise`), the networks `alexnet`, `densenet`,
`efficientnet`, `googlenet`, `resnet`, `vgg`, and `unet`, which outlines lungs.
Internal: `convolutions`, `layers`, `foreign_files`, `numpy_pickle`, `torch_files`, `torch_pickle`.
To add a network see `registry`.
"""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
