"""Write the examples of tests/examples, each with the tool that writes its format.

Each format needs its tool, in an environment of its own (no network is used after that):

    python -m venv examples && examples/bin/pip install lm-eval inspect-ai
    examples/bin/python benchmarks/write_reader_examples.py tests/examples

Models are lm-eval's ``dummy`` and inspect-ai's ``mockllm/model``: no language model is run, and the
scores mean nothing. The paper's format is written from the fields its code writes, with simulated
content.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHOICE = r"""
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: data/{data}.jsonl, train: data/train.jsonl}}}}
output_type: multiple_choice
training_split: train
test_split: test
doc_to_text: "Question: {{{{question}}}}\nAnswer:"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""
GROUP = """
group: sums
task: [sums_small, sums_large]
aggregate_metric_list:
  - {metric: acc, aggregation: mean, weight_by_size: true}
metadata: {version: 1.0}
"""
WORD = r"""
task: word
dataset_path: json
dataset_kwargs: {data_files: {test: data/small.jsonl, train: data/train.jsonl}}
output_type: generate_until
training_split: train
test_split: test
doc_to_text: "{{question}} Say a word:"
doc_to_target: "{{word}}"
generation_kwargs: {until: ["\n"], do_sample: false}
filter_list:
  - name: strict-match
    filter: [{function: regex, regex_pattern: "^(lol)$"}, {function: take_first}]
  - {name: first, filter: [{function: take_first}]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
TEXT = """
task: text
dataset_path: json
dataset_kwargs: {data_files: {test: data/small.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
metadata: {version: 1.0}
"""


def write_lm_eval(out):
    """Two models, 0 and 2 demonstrations; a group of two tasks, two filters, a perplexity."""
    sizes = {"small": 15, "large": 22, "train": 8}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "data").mkdir()
        (work / "tasks").mkdir()
        for name, n in sizes.items():
            rows = [
                {
                    "question": f"What is {i} plus {i + 1}?",
                    # Not as many choices in every item, so that chance is a mean.
                    "choices": [str(2 * i + 1 + d) for d in range(3 + i % 2)],
                    "answer": i % 3,
                    "word": "lol" if i % 3 == 0 else "no",
                    "text": f"The sum is {2 * i + 1}.",
                }
                for i in range(n)
            ]
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (work / "data" / f"{name}.jsonl").write_text(lines)
        for name in ("small", "large"):
            task = CHOICE.format(name=f"sums_{name}", data=name)
            (work / "tasks" / f"sums_{name}.yaml").write_text(task)
        for name, text in {"sums": GROUP, "word": WORD, "text": TEXT}.items():
            (work / "tasks" / f"{name}.yaml").write_text(text)
        for model, seed in {"example/tiny-1b": 1, "example/tiny-2b": 2}.items():
            for shots, tasks in {0: "sums,word,text", 2: "sums,word"}.items():
                command = [sys.executable, "-m", "lm_eval", "--model", "dummy"]
                command += ["--model_args", f"pretrained={model}", "--include_path", "tasks"]
                command += ["--tasks", tasks, "--num_fewshot", str(shots), "--log_samples"]
                command += ["--device", "cpu", "--seed", str(seed)]
                command += ["--output_path", str(out.resolve())]
                offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
                cache = {"HF_HOME": str(work / "cache")}
                subprocess.run(command, cwd=work, env=offline | cache, check=True)


def write_inspect(out):
    """Answers right and wrong, with usage; epochs; choices; two scorers; one log as JSON."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import choice, includes, match
    from inspect_ai.solver import generate, multiple_choice

    def answer(input, tools, tool_choice, config):
        text = input[-1].text
        sums = re.search(r"What is (\d+) plus 1", text)
        said = "ANSWER: A" if sums is None else str(int(sums[1]) + (2 if sums[1] in "258" else 1))
        output = ModelOutput.from_content("mockllm/model", said)
        n = len(text.split())
        output.usage = ModelUsage(
            input_tokens=n - 2, input_tokens_cache_read=2, output_tokens=2, total_tokens=n + 2
        )
        return output

    def sums(shots, scorers):
        demos = "".join(f"{i} plus {i} is {2 * i}.\n" for i in range(shots))
        samples = [
            Sample(id=i, input=f"{demos}What is {i} plus 1?", target=str(i + 1)) for i in range(10)
        ]
        data = MemoryDataset(samples, name="sums")
        return Task(dataset=data, solver=[generate()], scorer=scorers, name="sums")

    def letters():
        samples = [
            Sample(
                input=f"Which is letter {i}?",
                choices=["x", "y", "z", "w"][: 3 + i % 2],
                target="ABC"[i % 3],
            )
            for i in range(6)
        ]
        data = MemoryDataset(samples, name="letters")
        return Task(dataset=data, solver=[multiple_choice()], scorer=choice(), name="letters")

    from inspect_ai import task

    @task(name="sums")
    def with_shots(shots=0):
        return sums(shots, match() if shots < 4 else [match(), includes()])

    settings = {"log_dir": str(out), "display": "none"}

    def model():
        return get_model("mockllm/model", custom_outputs=answer, memoize=False)

    eval(with_shots(shots=0), model=model(), **settings)
    eval(with_shots(shots=2), model=model(), epochs=2, **settings)
    eval(with_shots(shots=4), model=model(), **settings)
    eval(letters(), model=model(), log_format="json", **settings)


def context_scaling_file(rng, dataset, model, shots, seed, n=250, config="", binary=True):
    """Name and content of one file of the paper's code, with simulated instances."""
    part = f",config={config}" if config else ""
    name = f"dataset={dataset},model={model}{part},shots={shots},local_seed={seed}.json"
    question = "A question of the usual length, which is some three hundred characters long. " * 4

    def instance(i, scored):
        value = float(rng.random() < 0.3) if binary else round(rng.random(), 6)
        return {
            "instance_id": i,
            "input_text": f"{question}{i}",
            "reference_output": "A",
            "predicted_output": " A" if value else " B",
            "prompt_length": 90 * (shots + 1) + rng.randrange(40) if scored else None,
            "generation_time": None,
            "generation_length": 5 if scored else None,
            "metric_value": value if scored else None,
        }

    instances = [instance(i, scored=True) for i in range(n)]
    content = {
        "name": dataset,
        "max_new_tokens": 5,
        "metric": "mc_match" if binary else "bleu_4",
        "stop_tokens": ["\n\n", "Question: "],
        "prefix_sequence": "Question: ",
        "suffix_sequence": "\nAnswer:",
        "separator_sequence": "\n\n",
        "n_shots": shots,
        "global_seed": 31337,
        "local_seed": seed,
        "instances": instances,
        "shots": [instance(i, scored=False) for i in range(shots)] or None,
        # numpy.mean in the paper's code; for values in this number the same to the last digits.
        "metric_value": sum(i["metric_value"] for i in instances) / n,
    }
    return name, content


def write_context_scaling(out):
    """Two checkpoints, 0 and 7 demonstrations; right or wrong, graded, and in parts."""
    rng = random.Random(1)
    for model in ("Simulated-7b", "Yarn-Simulated-7b-8k"):
        for shots in (0, 7):
            kinds = [
                ("piqa", "", True),
                ("wmt14-de-en", "", False),
                ("deepmind-math", "algebra__linear_1d", True),
                ("deepmind-math", "numbers__gcd", True),
            ]
            for dataset, config, binary in kinds:
                name, content = context_scaling_file(
                    rng, dataset, model, shots, 31337, 20, config, binary
                )
                folder = out / dataset
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(json.dumps(content, indent=4))


WRITERS = {
    "lm-eval": write_lm_eval,
    "inspect": write_inspect,
    "context-scaling": write_context_scaling,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("formats", nargs="*", default=list(WRITERS))
    arguments = parser.parse_args()
    for name in arguments.formats:
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        WRITERS[name](folder)
        print(f"{folder}: {sum(p.is_file() for p in folder.rglob('*'))} files")


if __name__ == "__main__":
    main()
