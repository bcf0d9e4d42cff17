"""P vs NF: DESCRIPTION

python -m experiments.p_vs_nf --data_dir=nih --seeds=10
"""

from cxrjax.types import ExperimentConfig
from experiments import _cli

CONFIG = ExperimentConfig(name="p_vs_nf", negative_class="NF")

if __name__ == "__main__":
    _cli.main(CONFIG, __doc__ or "")
