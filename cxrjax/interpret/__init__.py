"""What a network responds to and where it looks: objectives, dreams, maps, lungs."""

from cxrjax.base import lazy_modules

lazy_modules(__name__)
