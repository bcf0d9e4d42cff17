"""Which networks there are: one record each.

To add one, write a module such as this one and `register` a `Model` that names it:

    class Net(staged.Staged):                              # stages, num_classes and dtype are attributes
        def compute(self, stage, x, run): ...              # what a stage computes, before its ReLU
        def finish(self, stage, x, run): ...               # what the next stage reads: pooling, flattening
        def windows(self, stage) -> tuple[Window, ...]: ...   # only where a stage has a map
"""

from __future__ import annotations

import dataclasses

from cxrjax.base import InputError, did_you_mean
from cxrjax.models.model import CAFFE, TORCHVISION, Model, Preprocessing

_MODELS: dict[str, Model] = {}


def register(model: Model) -> Model:
    """Adds a network under its name, or replaces the one of that name; returns it."""
    _MODELS[model.name] = model
    return model


def names() -> tuple[str, ...]:
    """Names of all registered networks."""
    return tuple(_MODELS)


def get(name: str) -> Model:
    """The network of that name.

    Raises:
      InputError: if there is none, listing those that there are.
    """
    if name not in _MODELS:
        raise InputError(f"model must be one of {', '.join(_MODELS)}, got {name!r}{did_you_mean(name, _MODELS)}")
    return _MODELS[name]


ALEXNET = register(
    Model(
        name="alexnet",
        label="AlexNet",
        description="one tower (Krizhevsky 2014, arXiv:1404.5997; torchvision's)",
        module="cxrjax.models.alexnet:AlexNet",
        options=(("variant", "torchvision"),),
        stages=("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"),
        dense=("fc6", "fc7", "fc8"),
        cam_stage="conv5",
        retrain_from="fc6",
        dreamt=("conv2", "conv3", "conv5", "fc7"),
        crop=227,
        source=256,
        smallest=63,
        preprocessing=TORCHVISION,
        dropout=0.5,
        dropped=("fc6", "fc7"),
        foreign_names=(
            *(("conv1", "features.0"), ("conv2", "features.3"), ("conv3", "features.6"), ("conv4", "features.8")),
            *(("conv5", "features.10"), ("fc6", "classifier.1"), ("fc7", "classifier.4"), ("fc8", "classifier.6")),
        ),
    )
)
ALEXNET_CAFFE = register(
    dataclasses.replace(
        ALEXNET,
        name="alexnet-caffe",
        description="as of 2012 (Krizhevsky, Sutskever & Hinton, NeurIPS 2012; bvlc_alexnet)",
        options=(("variant", "caffe"),),
        preprocessing=CAFFE,
        foreign_names=(),
    )
)
RESNET18 = register(
    Model(
        name="resnet18",
        label="ResNet-18",
        description="18 layers (He et al. 2015, arXiv:1512.03385; torchvision's)",
        module="cxrjax.models.resnet:ResNet",
        options=(("blocks", (2, 2, 2, 2)), ("bottleneck", False)),
        stages=("stem", "layer1", "layer2", "layer3", "layer4", "fc"),
        dense=("fc",),
        cam_stage="layer4",
        retrain_from="fc",
        dreamt=("layer1", "layer2", "layer3", "layer4"),
        crop=224,
        source=256,
        smallest=1,
        global_pooling=True,
        preprocessing=TORCHVISION,
        foreign_names=(
            *((r"stem\.conv", "conv1"), (r"stem\.norm", "bn1")),
            *((r"(.*)\.conv(\d)\.conv", r"\1.conv\2"), (r"(.*)\.conv(\d)\.norm", r"\1.bn\2")),
            *((r"(.*)\.downsample\.conv", r"\1.downsample.0"), (r"(.*)\.downsample\.norm", r"\1.downsample.1")),
        ),
    )
)
RESNET50 = register(
    dataclasses.replace(
        RESNET18,
        name="resnet50",
        label="ResNet-50",
        description="50 layers (He et al. 2015, arXiv:1512.03385; torchvision's, strides in the 3x3 convolutions)",
        options=(("blocks", (3, 4, 6, 3)), ("bottleneck", True)),
    )
)
DENSENET121 = register(
    Model(
        name="densenet121",
        label="DenseNet-121",
        description="121 layers (Huang et al. 2016, arXiv:1608.06993; torchvision's)",
        module="cxrjax.models.densenet:DenseNet",
        stages=(
            *("stem", "block1", "transition1", "block2", "transition2", "block3", "transition3"),
            *("block4", "classifier"),
        ),
        dense=("classifier",),
        cam_stage="block4",
        retrain_from="classifier",
        dreamt=("transition1", "transition2", "transition3", "block4"),
        crop=224,
        source=256,
        smallest=29,
        global_pooling=True,
        preprocessing=TORCHVISION,
        foreign_names=(
            (r"stem\.(conv|norm)", r"features.\g<1>0"),
            (r"block4\.norm5", "features.norm5"),
            (r"block(.*)", r"features.denseblock\1"),
            (r"transition(.*)", r"features.transition\1"),
        ),
        older_names=((r"(.*\.denselayer\d+\.(?:norm|conv))\.(\d\..*)", r"\1\2"),),
    )
)
DENSENET121_XRV = register(
    dataclasses.replace(
        DENSENET121,
        name="densenet121-xrv",
        description="121 layers (Huang et al. 2016, arXiv:1608.06993) as torchxrayvision has it (Cohen et al. 2021, "
        "arXiv:2111.00595): one channel, -1024..1024, 18 findings",
        preprocessing=Preprocessing((1024.0,), (1.0,), 2048.0, "L"),
        passed_over=("op_threshs",),
        num_classes=18,
    )
)
_VGG16_CONVOLUTIONS = tuple(f"conv{i + 1}_{j + 1}" for i, count in enumerate((2, 2, 3, 3, 3)) for j in range(count))
VGG16 = register(
    Model(
        name="vgg16",
        label="VGG16",
        description="13 convolutions and 3 dense layers (Simonyan & Zisserman 2014, arXiv:1409.1556; torchvision's)",
        module="cxrjax.models.vgg:VGG",
        stages=(*_VGG16_CONVOLUTIONS, "fc6", "fc7", "fc8"),
        dense=("fc6", "fc7", "fc8"),
        cam_stage="conv5_3",
        retrain_from="fc6",
        dreamt=("conv2_2", "conv3_3", "conv4_3", "conv5_3"),
        crop=224,
        source=256,
        smallest=32,
        preprocessing=TORCHVISION,
        dropout=0.5,
        dropped=("fc7", "fc8"),
        foreign_names=(
            *zip(
                _VGG16_CONVOLUTIONS,
                (f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
                strict=True,
            ),
            *(("fc6", "classifier.0"), ("fc7", "classifier.3"), ("fc8", "classifier.6")),
        ),
    )
)
GOOGLENET = register(
    Model(
        name="googlenet",
        label="GoogLeNet",
        description="22 layers with BatchNorm (Szegedy et al. 2014, arXiv:1409.4842; torchvision's)",
        module="cxrjax.models.googlenet:GoogLeNet",
        stages=("conv1", "conv2", "conv3", "3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "fc"),
        dense=("fc",),
        cam_stage="5b",
        retrain_from="fc",
        dreamt=("3b", "4c", "4e", "5b"),
        crop=224,
        source=256,
        smallest=15,
        global_pooling=True,
        # torchvision's `transform_input` brings pixels that were prepared for its other networks to these.
        preprocessing=Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "RGB"),
        dropout=0.2,
        dropped=("fc",),
        foreign_names=(
            (r"(conv\d)\.norm", r"\1.bn"),
            (r"(\d.)\.branch1\.conv", r"inception\1.branch1.conv"),
            (r"(\d.)\.branch1\.norm", r"inception\1.branch1.bn"),
            (r"(\d.)\.(branch\d)_(\d)\.conv", r"inception\1.\2.\3.conv"),
            (r"(\d.)\.(branch\d)_(\d)\.norm", r"inception\1.\2.\3.bn"),
        ),
        passed_over=(r"aux\d\..*",),
    )
)
EFFICIENTNET_LITE0 = register(
    Model(
        name="efficientnet-lite0",
        label="EfficientNet-Lite0",
        description="without squeeze and excitation, with stochastic depth up to 0.2 (Tan & Le 2019, arXiv:1905.11946; "
        "TensorFlow's)",
        module="cxrjax.models.efficientnet:EfficientNetLite",
        stages=("stem", *(f"block{i}" for i in range(1, 8)), "top", "classifier"),
        dense=("classifier",),
        cam_stage="top",
        retrain_from="classifier",
        dreamt=("block3", "block5", "block6", "top"),
        crop=224,
        source=256,
        smallest=1,
        global_pooling=True,
        preprocessing=Preprocessing((127.0, 127.0, 127.0), (128.0, 128.0, 128.0), 255.0, "RGB"),
        dropout=0.2,
        dropped=("classifier",),
        foreign_names=(
            *((r"stem\.conv", "_conv_stem"), (r"stem\.norm", "_bn0"), (r"top\.conv", "_conv_head")),
            *((r"top\.norm", "_bn1"), ("classifier", "_fc")),
            (r"block\d\.(\d+)\.(\w+)\.conv", r"_blocks.\1._\2_conv"),
            (r"block\d\.(\d+)\.expand\.norm", r"_blocks.\1._bn0"),
            (r"block\d\.(\d+)\.depthwise\.norm", r"_blocks.\1._bn1"),
            (r"block\d\.(\d+)\.project\.norm", r"_blocks.\1._bn2"),
        ),
    )
)
