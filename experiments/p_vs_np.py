"""P vs NP: DESCRIPTION

python -m experiments.p_vs_np --data_dir=nih --seeds=10
"""

from cxrjax.types import ExperimentConfig
from experiments import _cli

CONFIG = ExperimentConfig(name="p_vs_np", negative_class="NP")

if __name__ == "__main__":
    _cli.main(CONFIG, __doc__ or "")
