"""Mistakes on the command line: one line on standard error, exit status 2, and nothing is written."""

import dataclasses
import getpass
import importlib
from pathlib import Path

import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import flag
from experiments import __main__ as command
from experiments import _cli, deep_dream, predict
from tests.experiments.commands import mistake

_FAST = "--data_dir={store} --weights=random --retrain_from=fc8 --seeds=2 --epochs=1 --out=out --small_ok"
_TABLE = "--data_dir={store} --weights=random --seeds=2 --epochs=2 --out=out --small_ok"
_PREDICT = "--run={run} {films}"

# (program, its flags, what its line says)
MISTAKES = [
    ("p_vs_nf", f"{_FAST} --data_dir=nowhere", "nowhere does not exist"),
    ("p_vs_nf", f"{_FAST} --weights=nowhere", "nowhere"),
    ("p_vs_nf", f"{_FAST} --split_by=hospital", "split_by"),
    ("p_vs_nf", "--seds=3", "there is no flag --seds; did you mean --seeds? (--help lists the flags)"),
    ("p_vs_nf", "--learning-rate=0.1", "no flag --learning-rate; did you mean --learning_rate?"),
    ("p_vs_nf", "-epoch=3", "did you mean --epochs?"),
    ("p_vs_nf", "--noflop", "did you mean --noflip?"),
    ("p_vs_nf", "--noseeds", "did you mean --seeds?"),
    ("p_vs_nf", "--zzz", "there is no flag --zzz (--help lists the flags)"),
    ("p_vs_nf", "--recipe=postr", "finetune, probe; did you mean poster?"),
    ("p_vs_nf", "--model=resnet81", "got 'resnet81'; did you mean resnet18?"),
    ("train", "--task=p_vs_nff", "got 'p_vs_nff'; did you mean p_vs_nf?"),
    ("readings", "--augmentbank=4", "did you mean --augment_bank?"),
    ("compile_for", "--compiler=nowhere", "--compiler=nowhere lacks jax-cuda12-plugin, jax-cuda12-pjrt, nvidia-"),
    ("compile_for", "--dtypes=float16", "--dtypes must be of float32,bfloat16, got 'float16'"),
    ("p_vs_nf", f"{_FAST} --learning_rate=0", "--learning_rate must be above 0, got 0"),
    ("p_vs_nf", "--recipe=probe --learning_rate=0.1", "--learning_rate=0.1: --head=linear is solved, not stepped"),
    ("p_vs_nf", "--recipe=probe --weights=random --retrain_from=all", "a linear head needs a stage before it"),
    ("p_vs_nf", f"{_FAST} --val_fraction=1", "--val_fraction must be above 0 and below 1, got 1"),
    ("p_vs_nf", f"{_FAST} --negatives=5000", "more negatives than there are: "),
    ("p_vs_nf", f"{_FAST} --negatives=5000 --dry_run", "more negatives than there are: "),
    ("p_vs_nf", f"{_FAST} --out=file --dry_run", "--out=file is a file"),
    ("p_vs_nf", f"{_FAST} --external_dir=nowhere --dry_run", "nowhere does not exist"),
    ("p_vs_nf", f"{_FAST} --external_dir=films", "--external_dir holds no image of pneumonia and none of no finding"),
    ("readings", f"{_TABLE} --data_dir=nowhere --dry_run", "nowhere does not exist"),
    ("prepare", "--source=films --out=file --dry_run", "file is a file; a store is a folder"),
    ("p_vs_nf", f"{_FAST} --negatives=few", "whole number above 0"),
    ("p_vs_nf", f"{_FAST} --negatives=9 --sampling=all", "--negatives must be auto, got 9"),
    (
        "p_vs_nf",
        f"{_FAST} --match=view --sampling=oversample",
        "oversample: p_vs_nf --match=view draws as many",
    ),
    ("chestxray14", f"{_FAST} --sampling=oversample", "--sampling=oversample: chestxray14 takes all labelled images"),
    ("p_vs_nf", f"{_FAST} --rotation=181", "rotation"),
    ("p_vs_nf", f"{_FAST} --rotation=nan", "--rotation=nan: must be a number from 0 to 180 (--help"),
    ("p_vs_nf", f"{_FAST} --external_dir=nowhere", "nowhere does not exist"),
    ("p_vs_nf", f"{_FAST} --retrain_from=conv1 --augment_bank=1", "needs frozen layers"),
    ("p_vs_nf", f"{_FAST} --model=vgg19", "model must be one of alexnet, alexnet-caffe, "),
    ("p_vs_nf", f"{_FAST} --model=resnet18", "--retrain_from must be head (fc), all or one of stem, layer1, "),
    ("p_vs_nf", f"{_FAST} --retrain_from=layer9", "--retrain_from must be head (fc6), all or one of conv1, "),
    ("p_vs_nf", f"{_FAST} --image_size=100", "--image_size must be 0 or from 224 to 512, got 100"),
    ("p_vs_nf", f"{_FAST} --image_size=513", "image_size"),
    ("p_vs_nf", f"{_FAST} --image_size=448", "--size=512"),
    ("p_vs_nf", f"{_FAST} --batch_norm=train", "--batch_norm=train: AlexNet has no BatchNorm from fc8 on"),
    ("p_vs_nf", f"{_FAST} --lse_r=10", "lse_r=10: AlexNet has no global average pooling; resnet18, resnet50, densenet"),
    ("p_vs_nf", "--model=resnet18 --weights=random --lse_r=2000", "lse_r must be 0, or from 0.001 to 1000, got 2000"),
    (
        "p_vs_nf",
        "--recipe=probe --model=resnet18 --weights=random --retrain_from=layer4 --lse_r=10",
        "lse_r=10 pools what fc reads; a linear head from layer4 averages",
    ),
    ("p_vs_nf", "--model=resnet50", "weights/resnet50-imagenet: no such folder of weights"),
    ("chexnet", "", "weights/densenet121-imagenet: no such folder of weights"),
    ("sample_size", f"{_TABLE} --retrain_from=layer9", "--retrain_from must be head (fc6), all or one of conv1, "),
    ("p_vs_np", f"{_FAST} --epochs=0", "epochs"),
    ("p_vs_nf", f"{_FAST} --test=boxes", "--test=boxes needs boxes of pneumonia (BBox_List_2017.csv)"),
    ("p_vs_nf", f"{_FAST} --test=offical", "offical must be official, boxes, a share or a file: No such file"),
    ("p_vs_nf", f"{_FAST} --labels=file", "file cannot be read as a table"),
    ("p_vs_nf", f"{_FAST} --labels=nowhere.csv", "nowhere.csv cannot be read as a table: No such file"),
    ("p_vs_nf", f"{_FAST} --labels_for=training", "--labels_for=training needs --labels: a table of other labels"),
    ("p_vs_nf", f"{_FAST} --match=view --negatives=9", "--match=view draws as many as positives"),
    ("p_vs_nf", f"{_FAST} --nosmall_ok", "fewer than 20 of a class; --small_ok allows that"),
    ("evaluate", "", "--predictions and --data_dir must be given"),
    ("evaluate", "--predictions=nowhere.csv --data_dir={store}", "--predictions=nowhere.csv must be a file"),
    ("evaluate", "--predictions=file --data_dir={store} --labels=nowhere.csv", "nowhere.csv cannot be read as a table"),
    ("train", _FAST, "--task, or --positive and --negative must be given"),
    ("train", f"{_FAST} --task=p_vs_nf --positive=Mass", "are two questions"),
    ("train", f"{_FAST} --task=p_vs_xx", "the task must be one of p_vs_nf, "),
    ("train", f"{_FAST} --positive=mass --negative=lung_mass", "must be two findings"),
    ("train", f"{_FAST} --positive=Unicorn", "the data hold no image of unicorn (view: all) among their "),
    ("chestxray14", f"{_FAST} --negatives=5", "--negatives=5: chestxray14 takes all labelled images"),
    ("chestxray14", _FAST, "the data hold no image of consolidation (view: all) among their "),
    ("p_vs_nf", f"{_FAST} --data_dir=~nobody_here/nih", "--data_dir=~nobody_here/nih: no such home folder is known"),
    ("readings", f"{_TABLE} --reuse={{run}},~nobody_here/x", "--reuse=~nobody_here/x: no such home folder is known"),
    ("predict", "--run={run} ~nobody_here/a.png", "~nobody_here/a.png: no such home folder is known"),
    ("readings", f"{_TABLE} --rows=lateral", "--rows must be of base,"),
    ("readings", f"{_TABLE} --task=p_vs_all", "task"),
    ("readings", f"{_TABLE} --seeds=0", "seeds"),
    ("readings", f"{_TABLE} --reuse=nowhere", "nowhere must be the folder of a finished run, and there is no such"),
    ("readings", f"{_TABLE} --data_dir=nowhere", "nowhere does not exist"),
    ("readings", f"{_TABLE} --weights=nowhere", "nowhere: no such folder of weights"),
    ("readings", f"{_TABLE} --out=file", "file must be a folder"),
    ("networks", "--data_dir={store} --weights_dir=none --out=out", "none/alexnet-imagenet: no such folder of weights"),
    ("networks", "--data_dir={store} --sizes=big --out=out", "--sizes must be whole numbers above 0 with commas"),
    ("networks", "--head=deep", "head"),
    ("imbalance", f"{_TABLE} --ratios=few", "--ratios must be numbers from 0 on with commas between them, got 'few'"),
    ("imbalance", f"{_TABLE} --rows=all_smote", "--rows must be of all_baseline,all_over,"),
    ("imbalance", f"{_TABLE} --task=chestxray14", "has many labels; this table is of one question"),
    ("lakhani", "--data_dir=nowhere --out=out", "nowhere does not exist"),
    ("lakhani", "--data_dir={store} --rows=vgg16 --out=out", "--rows must be of alexnet_untrained,"),
    ("p_vs_np", f"{_FAST} --train_ratio=-1", "train_ratio"),
    ("p_vs_np", f"{_FAST} --train_ratio=0.01", "--train_ratio=0.01 must be "),
    ("p_vs_np", f"{_FAST} --start_from=nowhere", "nowhere must be the folder of a finished run"),
    (
        "p_vs_np",
        f"{_FAST} --start_from={{run}} --floors",
        "cannot be combined with --floors, --split_by=both or --head=linear",
    ),
    (
        "chestxray14",
        f"{_FAST} --train_ratio=5",
        "--train_ratio=5.0 is for tasks of two classes; chestxray14 has many labels",
    ),
    ("sample_size", f"{_TABLE} --sizes=half", "--sizes must hold whole numbers above 0"),
    ("sample_size", f"{_TABLE} --fix=images", "fix"),
    ("sample_size", f"{_TABLE} --sizes=1", "no size can be trained on"),
    ("sample_size", f"{_TABLE} --retrain_from=conv1", "--augment_bank=4 needs frozen layers"),
    ("sample_size", f"{_TABLE} --data_dir=nowhere", "nowhere does not exist"),
    ("compare", "{run}", "two folders of finished runs, or tables of scores, must be given, got 1"),
    ("compare", "{run} {run}/nothing", "nothing must be the folder of a finished run, and there is no such folder"),
    ("compare", "{run} {run} --out={run}/results.csv", "is inside one of the two, which are never changed"),
    ("compare", "file file", "--data_dir must be given: it has the labels of the images that file scores"),
    ("compare", "file file --data_dir=nowhere", "nowhere does not exist"),
    ("compare", "{run} file", "file cannot be read as a table"),
    ("compare", "{run} file --task=p_vs_nf", "--task is for two tables of scores"),
    ("compare", "{run} {run} --set=test", "has no such images; it was trained without --test"),
    ("compare", "file file --data_dir={store} --set=test", "--set=test is for a run"),
    ("compare", "{run} {run} --logits", "--logits is for a table of scores"),
    ("compare", "{run} {run} --html={run}/x.html", "x.html is inside one of the two, which are never changed"),
    ("compare", "{run} file --html=x.html", "--html=x.html is of two finished runs; file is a table of scores"),
    ("export", "--run={run}", "--run and --out must be given"),
    ("export", "--run=nowhere --out=out", "nowhere must be the folder of a finished run"),
    ("export", "--run={run} --out=films", "--out=films exists already; give another folder, or --overwrite"),
    ("export", "--run={run} --out=films --overwrite", "only a folder of the same kind is overwritten"),
    ("export", "--run={run} --out=file", "--out=file is a file; it must be a folder or not exist"),
    ("export", "--run={run} --out={run}/x", "lies in --run="),
    ("export", "--run={run} --out=out --weights=gone", "needs the weights that it was trained from: gone"),
    ("ensemble", "--runs={run},{run}", "--runs and --out must be given"),
    ("ensemble", "--runs={run},nowhere --out=out", "held no images out: train it with --test"),
    ("ensemble", "--runs=nowhere,{run} --out=out", "nowhere must be the folder of a finished run"),
    ("ensemble", "--runs=films,{run} --out={run}/both", "lies in one of the runs, whose files are never changed"),
    ("recalibrate", "", "--run, and --labels or --data_dir must be given"),
    ("recalibrate", "--run=nowhere --labels=films", "nowhere must be the folder of a finished run"),
    ("recalibrate", "--run={run} --labels=films --n=0", "--n must be whole numbers above 0"),
    ("recalibrate", "--run={run} --labels=nowhere", "nowhere does not exist"),
    ("recalibrate", "--run={run} --labels=films --out={films}/new", "lies in --labels="),
    ("recalibrate", "--run={run} --labels={store}", "local images must leave 20 of other patients"),
    ("predict", f"{_PREDICT} --recalibration=file", "--recalibration=file must be a recalibration.json"),
    ("report", "", "--run must be given"),
    ("report", "--run=nowhere", "must be the folder of a finished run, and there is no such folder"),
    ("predict", "--run={run}", "--run or --ensemble and at least one image or folder must be given"),
    ("predict", "a.png", "--run or --ensemble and at least one image or folder must be given"),
    ("predict", "--run={films} {films}/a.png", "must be the folder of a finished run, and it holds no config.json"),
    ("predict", "--run={run} {films}/nowhere.png", "nowhere.png does not exist"),
    ("predict", "--ensemble={run} {films}/a.png", "experiments.ensemble wrote, and it holds no ensemble.json"),
    ("predict", "--run={run} --ensemble={run} {films}/a.png", "--run or --ensemble, not both"),
    ("predict", "--ensemble={run} --weights=w {films}/a.png", "--weights goes with --run"),
    ("predict", "--run={run} {run}/checkpoints", "checkpoints holds no image"),
    ("predict", f"{_PREDICT} --threshold=2", "--threshold must be a number from 0 to 1, or chosen, got '2'"),
    ("predict", f"{_PREDICT} --threshold=nan", "or chosen, got 'nan'"),
    ("predict", f"{_PREDICT} --threshold=best", "or chosen, got 'best'"),
    ("predict", f"{_PREDICT} --weights=gone", "needs the weights that it was trained from: gone"),
    ("predict", f"{_PREDICT} --out={{films}}/a.png", "a.png is one of the images"),
    ("predict", f"{_PREDICT} --out={{films}}/no/x.csv", "must be a file in a folder that exists"),
    ("predict", f"{_PREDICT} --out={{films}}", "must be a file in a folder that exists"),
    ("deep_dream", "", "--run must be given"),
    ("deep_dream", "--run=a,b,c", "--run must be given"),
    ("deep_dream", "--run=nowhere", "nowhere must be the folder of a finished run"),
    ("deep_dream", "--run=nowhere --iterations=0", "iterations"),
    ("where_it_looks", "", "--run must be given"),
    ("where_it_looks", "--run=nowhere", "nowhere must be the folder of a finished run"),
    ("where_it_looks", "--run=nowhere --methods=guess", "--methods must be of gradient,smooth_grad"),
    ("where_it_looks", "--run=nowhere --methods=none --nodreams", "leaves nothing to measure"),
    ("prepare", "--source=nowhere --out=x", "nowhere does not exist"),
    ("prepare", "--out=x", "--source and --out must be given"),
    ("prepare", "--source=. --out=x --fit=zoom", "fit"),
    ("prepare", "--source=. --out=x --size=3", "size"),
    ("prepare", "--source=. --out=x --crop=heart", "crop"),
    ("prepare", "--source=. --out=x --classes=A", "--classes must be NAME=VALUE"),
    ("prepare", "--source=. --out=x --columns=who=a", "--columns knows path, label"),
    ("prepare", "--source=. --out=x --patient_regex=(", "must be a regular expression, got '('"),
    ("doctor", "--clear_cach", "did you mean --clear_cache?"),
    ("doctor", "--weights_dir=~nobody_here", "~nobody_here: no such home folder is known"),
    ("describe", "--data_dir=nowhere --out=out", "nowhere does not exist"),
    ("describe", "--data_dir={store} --out={store}/sub", "lies in --data_dir"),
    ("describe", "--data_dir={store} --out=file", "--out=file is a file"),
    ("convert_weights", "--source=keras", "--source=keras"),
    ("convert_weights", "--source=caffe", "--source=caffe needs --file"),
    ("convert_weights", "--file=no-such-file", "no-such-file: cannot be read: No such file or directory"),
    ("convert_weights", "--out=films", "--out=films exists already"),
    ("benchmark_step", "--repeats=4", "repeats"),
    ("benchmark_step", "--seeds=1,0", "--seeds must be whole numbers above 0"),
    ("benchmark_step", "--batch_sizes=", "--batch_sizes must be whole numbers above 0"),
    ("benchmark_step", "--parts=head,nose", "--parts must be of trunk,head,step,dream,evaluation, got 'nose'"),
    ("benchmark_step", "--compare=tf", "compare"),
    (
        "benchmark_step",
        "--compare=torch --model=resnet18 --lse_r=10",
        "--lse_r=10 cannot be combined with --compare=torch",
    ),
    ("benchmark_step", "--out=file", "--out=file cannot be made a folder"),
    ("benchmark_step", "--weights=/nowhere", "/nowhere"),
    ("benchmark_step", "--model=resnet", "model must be one of alexnet,"),
    ("benchmark_step", "--retrain_from=fc9", "--retrain_from must be head (fc6), all or one of conv1,"),
    ("benchmark_step", "--image_size=30", "--image_size must be 0 or 63 or more for AlexNet, got 30"),
    ("benchmark_networks", "--models=resnet18,resnet", "--models must be of alexnet,"),
    ("benchmark_networks", "--repeats=0", "repeats"),
    ("benchmark_networks", "--image_size=30", "--image_size must be 0 or 63 or more for AlexNet, got 30"),
    ("benchmark_networks", "--out=file", "--out=file cannot be made a folder"),
    ("benchmark_dream", "--octaves=0", "octaves"),
    ("train_lungs", "", "--masks must be given"),
    ("train_lungs", "--masks=films", "sources.csv is no file"),
    ("train_lungs", "--masks=films --folds=1", "folds"),
    ("train_lungs", "--masks=films --out=films/x", "lies in --masks=films"),
    ("benchmark_prepare", "", "--source must be given"),
    ("benchmark_prepare", "--source=nowhere", "nowhere does not exist"),
]


@pytest.fixture
def places(tmp_path, monkeypatch, small_phantom, request):
    """A working directory with a file and a film; gives what stands for {films}, {store} and {run}."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("films").mkdir()
    Image.fromarray(small_phantom.images[0]).save("films/a.png")

    class Places(dict):
        def __missing__(self, name):
            return request.getfixturevalue({"store": "small_store", "run": "small_run"}[name])

    return Places(films=tmp_path / "films")


@pytest.mark.parametrize(("program", "flags", "message"), MISTAKES)
def test_a_mistake_is_one_line(program, flags, message, places, capsys):
    words = flags.format_map(places).split()
    assert message in mistake(capsys, program, *words)
    made = {"cache"} | ({"runs"} if program.startswith("benchmark") else set())  # these try their folder first
    assert {path.name for path in Path().iterdir()} - made == {"file", "films"}
    assert [path.name for path in Path("films").iterdir()] == ["a.png"]


def test_every_program_has_a_mistake_in_the_table():
    assert {program for program, _, _ in MISTAKES} == set(command.questions())


# What `_cli.parse` refuses for all of them.


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--no_such_flag=1", "no_such_flag"),
        ("stray", "unexpected argument 'stray'"),
        ("--epochs=0", "^--epochs=0: must be a whole number from 1 on "),
        ("--epochs=many", "^--epochs=many: must be a whole number from 1 on "),
        ("--epochs=1.5", "^--epochs=1.5: must be a whole number from 1 on "),
        ("--learning_rate=fast", "^--learning_rate=fast: must be a number from 0 on "),
        ("--learning_rate=inf", "^--learning_rate=inf: must be a number from 0 on "),
        ("--momentum=1", "^--momentum=1: must be a number from 0 to 0.999999 "),
        ("--view=LATERAL", "^--view=LATERAL: must be one of all, PA, AP "),
        ("--flip=perhaps", "^--flip=perhaps: must be one of true, false, yes, no, 1, 0 "),
        ("--noflip=1", "^--noflip=1 does not take an argument "),
        ("--augment_bank=-1", "^--augment_bank=-1: must be auto or a whole number from 0 on "),
    ],
)
def test_flags_are_checked(argument, message):
    with pytest.raises(InputError, match=message):
        _cli.parse(ExperimentConfig("p_vs_nf", "p_vs_nf"), "", [argument])


@pytest.mark.parametrize("home", ["~", f"~{getpass.getuser()}"])
def test_a_home_folder_is_meant_by_its_sign_in_every_path(home, monkeypatch):
    """Also where no shell puts it in, as behind `=`."""
    place = Path(home).expanduser()
    words = [f"--data_dir={home}/nih/", "--out=a/~b", f"--weights={home}"]
    run = _cli.parse(ExperimentConfig("p_vs_nf", "p_vs_nf"), "", words)
    assert (run.data_dir, run.out, run.weights) == (f"{place}/nih/", "a/~b", str(place))
    dreams = _cli.parse(deep_dream.DreamConfig(), "", [f"--run={home}/a,b,{home}/c"])
    assert dreams.run == f"{place}/a,b,{place}/c"
    films = _cli.parse(predict.PredictConfig(), "", [f"{home}/a.png", "--run=x", "b~.png"], "images").images
    assert films == (f"{place}/a.png", "b~.png")


def test_every_flag_that_names_a_place_is_a_path():
    names = {"data_dir", "external_dir", "weights", "out", "run", "masks", "source", "file", "reuse", "test", "labels"}
    names |= {"predictions", "recalibration", "runs", "ensemble", "compiler", "start_from", "weights_dir", "html"}
    for program in command.questions():
        module = importlib.import_module(f"experiments.{program}")
        for config in (value for value in vars(module).values() if dataclasses.is_dataclass(value)):
            for field in dataclasses.fields(config):
                place = field.name in names and "help" in field.metadata and "choices" not in field.metadata
                assert bool(field.metadata.get("path")) == place, f"{program}: {field.name}"


def test_a_word_may_be_written_in_capitals():
    run = _cli.parse(ExperimentConfig("p_vs_nf", "p_vs_nf"), "", ["--floors=True", "--flip=NO", "--lang=ES"])
    assert (run.floors, run.flip, run.lang) == (True, False, "es")


def test_a_flag_of_any_kind_has_its_rules():
    @dataclasses.dataclass(frozen=True)
    class Config:
        share: float | None = flag(None, "of it", kind=float, lower=0, upper=1)

    assert _cli.parse(Config(), "", ["--share=0.5"]).share == 0.5
    with pytest.raises(InputError, match="share"):
        _cli.parse(Config(), "", ["--share=1.5"])
