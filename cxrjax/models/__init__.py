"""Networks: layers, weights read strictly, transfer (trunk and head), augmentation."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
