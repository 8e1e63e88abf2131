"""Suites: a study is a Python function that returns a list of experiments.

An experiment is a question with a recipe, an evaluation and its seeds; a script experiment is the same for a derived
window encoding. Recipes were chosen on in-range accuracy, those of scripts on the windows that the trained lengths
show; no length beyond the trained ones was looked at while choosing them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.engine import Engine, stack_size
from carryproof.benchmarks.script_runs import ScriptConfig, ScriptExperiment
from carryproof.theory import Prediction, Question, Task, TrainingRange, formats, predict, tasks
from carryproof.theory.errors import bad, unknown
from carryproof.theory.ranges import OperandLaw


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """One question, trained with one recipe from several seeds, measured in one way, on one engine.

    ``stack`` is how many seeds are trained together, if there are so many.
    """

    question: Question
    recipe: Recipe
    evaluation: Evaluation
    seeds: tuple[int, ...]
    engine: Engine = field(default_factory=Engine)
    stack: int = 1

    def runs(self) -> Iterator[RunConfig]:
        """One configuration a seed."""
        for first in range(0, len(self.seeds), self.stack):
            seeds = self.seeds[first : first + self.stack]
            for seed in seeds:
                yield RunConfig(
                    question=self.question,
                    recipe=self.recipe,
                    evaluation=self.evaluation,
                    seed=seed,
                    engine=self.engine,
                    stack=len(seeds),
                )

    def on(self, engine: Engine) -> "Experiment":
        """The same experiment on an engine, with as many seeds at once as suit it."""
        run = next(self.runs())
        form, task = self.question.format, self.question.task
        tokens = self.recipe.batch * len(form.layout(task, form.width or self.question.train.longest))
        stack = stack_size(run.decoder(), tokens=tokens, models=len(self.seeds), engine=engine)
        return replace(self, engine=engine, stack=stack)

    def prediction(self) -> Prediction:
        """What the theory says of every cell that is measured."""
        return predict(self.question, self.evaluation.test_digits, self.evaluation.laws)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A named study: its experiments, and the margin within which an accuracy counts as the predicted one.

    ``scripts`` are trained with derived encodings and certified.
    """

    name: str
    title: str
    experiments: tuple[Experiment, ...]
    scripts: tuple[ScriptExperiment, ...] = ()
    margin: float = 0.02
    in_range_threshold: float = 0.99

    def __post_init__(self) -> None:
        asked = [(each.question, each.evaluation.test_digits, each.evaluation.laws) for each in self.experiments]
        for index, each in enumerate(asked):
            if each in asked[:index]:  # their runs would be scored as seeds of one experiment
                raise bad("experiments", each[0].label, "every question once; vary recipes in suites of their own")
        scripts = [(dict(each.subject), each.lengths) for each in self.scripts]
        for index, script in enumerate(scripts):
            if script in scripts[:index]:
                raise bad("scripts", script, "every subject and training once; vary recipes in suites of their own")

    def runs(self) -> list[RunConfig]:
        """Every run of the study but those on scripts."""
        return [run for experiment in self.experiments for run in experiment.runs()]

    def on(self, engine: Engine) -> "Suite":
        """The same study, but for scripts, on an engine; runs that compute otherwise have other names."""
        return replace(self, experiments=tuple(experiment.on(engine) for experiment in self.experiments))

    def scripts_on(self, engine: Engine) -> "Suite":
        """The same study with its scripts on an engine."""
        return replace(self, scripts=tuple(replace(script, engine=engine) for script in self.scripts))

    def script_runs(self) -> list[ScriptConfig]:
        """Every run on scripts."""
        return [run for experiment in self.scripts for run in experiment.runs()]


DEMO_SEEDS = (0, 1, 2)
FULL_SEEDS = (0, 1, 2, 3, 4)
FULL_ENCODINGS = ("absolute", "sinusoidal", "none", "relative-t5", "relative-shaw", "rope", "alibi")  # a fixed study

DEMO_ENCODINGS = ("absolute", "relative-t5", "rope", "alibi", "none")
# Chosen by in-range accuracy alone. Muon needs about half of AdamW's steps, which ten minutes ask for; ALiBi and no
# encoding at all need eight heads and the most steps, and every encoding of a task gets the same.
DEMO_RECIPE = Recipe(
    d_model=64,
    n_heads=8,
    n_layers=2,
    d_mlp=128,
    activation="relu",
    batch=64,
    learning_rate=6e-3,
    beta2=0.99,
    weight_decay=0.1,
    warmup_steps=20,
    muon_rate=0.02,
)
# One layer, as a certificate asks; Muon halves the steps here too. A wider batch shows rare windows more often.
SCRIPT_RECIPE = Recipe(n_layers=1, n_heads=2, d_mlp=256, batch=256, learning_rate=3e-3, warmup_steps=50, muon_rate=0.02)
# Many problems where they are cheap, few where they are long: what they could refute is decided by the certificate.
SCRIPT_TESTS = (
    *((length, 1_000) for length in (1, 2, 3, 4, 5, 6, 10, 100)),
    (1_000, 200),
    (10_000, 20),
    (100_000, 3),
)


def smoke() -> Suite:
    """Two tiny experiments in under a minute: mod 10 against mod 11 in one-digit addition; certified binary sums."""
    recipe = replace(DEMO_RECIPE, d_model=32, n_heads=4, n_layers=1, steps=400)
    experiments = [
        _experiment(tasks.modular_addition(modulus), "absolute", (1,), (1, 2, 3), recipe, seeds=(0, 1), problems=500)
        for modulus in (10, 11)
    ]
    binary = replace(SCRIPT_RECIPE, d_model=32, d_mlp=128, steps=300, batch=128, learning_rate=5e-3, warmup_steps=30)
    script = ScriptExperiment(
        subject={"name": "addition", "base": 2},
        lengths=(1, 2, 3),
        recipe=binary,
        tests=((1, 100), (3, 100), (10, 100), (100, 100), (1_000, 10)),
        seeds=(0,),
    )
    return Suite(name="smoke", title="Modular addition, one digit", experiments=tuple(experiments), scripts=(script,))


def demo() -> Suite:
    """Sums, products, sums mod 100 and mod 101 under five encodings, and sums right at every length; ten minutes."""
    short, longer = (1, 2), (1, 2, 3, 4, 5, 6)
    cases: list[tuple[Task, tuple[int, ...], tuple[int, ...], Recipe]] = [
        (tasks.addition(), short, longer, replace(DEMO_RECIPE, steps=800)),
        (tasks.multiplication(), (1,), (1, 2, 3, 4), replace(DEMO_RECIPE, steps=300, batch=32)),
        (tasks.modular_addition(100), short, longer, replace(DEMO_RECIPE, steps=800)),
        (tasks.modular_addition(101), short, longer, replace(DEMO_RECIPE, steps=1_500)),
    ]
    experiments = [
        _experiment(task, encoding, trained, tested, recipe, seeds=DEMO_SEEDS)
        for task, trained, tested, recipe in cases
        for encoding in DEMO_ENCODINGS
    ]
    scripts = [
        ScriptExperiment(subject=subject, lengths=(1, 2, 3), recipe=recipe, tests=SCRIPT_TESTS, seeds=DEMO_SEEDS)
        for subject, recipe in (
            ({"name": "addition", "base": 10}, replace(SCRIPT_RECIPE, steps=800)),
            ({"name": "horner", "base": 10, "modulus": 101}, replace(SCRIPT_RECIPE, steps=1_500, batch=512)),
        )
    ]
    return Suite(
        name="demo",
        title="Short arithmetic, tested on longer numbers",
        experiments=tuple(experiments),
        scripts=tuple(scripts),
    )


def full() -> Suite:
    """About ten hours: every operation, plain and modular, seven encodings, on one to three digits, five seeds."""
    short, longer = (1, 2, 3), (1, 2, 3, 4, 5, 6, 8, 10)
    recipe = replace(DEMO_RECIPE, steps=4_000)
    whole = [tasks.addition(), tasks.addition(3), tasks.subtraction(), tasks.multiplication()]
    moduli = (50, 51, 100, 101, 150, 151, 200, 201, 1000)
    modular = [tasks.modular_addition(modulus) for modulus in moduli]
    modular += [tasks.modular_subtraction(100), tasks.modular_subtraction(101)]
    modular += [tasks.modular_multiplication(100), tasks.modular_multiplication(101)]
    experiments = [
        _experiment(task, encoding, short, longer, recipe, seeds=FULL_SEEDS)
        for task in (*whole, *modular)
        for encoding in FULL_ENCODINGS
    ]
    return Suite(name="full", title="Arithmetic of one to three digits", experiments=tuple(experiments))


# Chosen by in-range accuracy of seed 0 alone.
SOFT_RECIPE = Recipe(
    d_model=64, n_heads=4, n_layers=1, d_mlp=256, steps=1_500, batch=128, learning_rate=3e-3, muon_rate=0.02
)
SOFT_TESTS = (1, 2, 5, 10, 11, 12, 13, 14, 16, 18, 20, 23, 26, 30, 35, 40, 50, 60, 80, 100)


def soft() -> Suite:
    """Addition with coupled ids but soft attention over all keys, trained on 1 to 10 digits and tested to 100."""
    trained = TrainingRange(lengths=tuple(range(1, 11)))
    evaluation = Evaluation(test_digits=SOFT_TESTS, problems=1_000)
    deeper = replace(SOFT_RECIPE, n_layers=2, steps=3_000, learning_rate=1e-3, muon_rate=0.005)
    cases = [
        ("absolute", "coupled:104", SOFT_RECIPE),  # position coupling
        ("absolute", "abacus:104", deeper),  # one layer cannot find where the ids of a number start
        ("fire", "coupled", replace(SOFT_RECIPE, learning_rate=2e-2)),
        ("rope", "coupled", SOFT_RECIPE),
        ("relative-clipped", "coupled", SOFT_RECIPE),
    ]
    experiments = [
        Experiment(
            question=Question(
                task=tasks.addition(), format=formats.parse(f"free,ids={ids}"), encoding=encoding, train=trained
            ),
            recipe=recipe,
            evaluation=evaluation,
            seeds=DEMO_SEEDS,
        )
        for encoding, ids, recipe in cases
    ]
    return Suite(name="soft", title="Coupled ids under soft attention", experiments=tuple(experiments))


SUITES: dict[str, Callable[[], Suite]] = {"smoke": smoke, "demo": demo, "soft": soft, "full": full}


def build(name: str) -> Suite:
    """The suite of a name; ``ValueError`` with the nearest name if there is none."""
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]()


def _experiment(
    task: Task,
    encoding: str,
    trained: tuple[int, ...],
    tested: tuple[int, ...],
    recipe: Recipe,
    *,
    seeds: tuple[int, ...],
    problems: int = 2_000,
    laws: tuple[OperandLaw, ...] = ("exact", "unequal"),
) -> Experiment:
    """An experiment in the padded least-first format, as wide as its longest test."""
    question = Question(
        task=task, format=formats.padded(tested[-1]), encoding=encoding, train=TrainingRange(lengths=trained)
    )
    evaluation = Evaluation(test_digits=tested, laws=laws, problems=problems)
    return Experiment(question=question, recipe=recipe, evaluation=evaluation, seeds=seeds)
