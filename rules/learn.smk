"""Active learning: train, explore, pick what the committees disagree on, label it, train again.

Round n trains on <n>/dataset.extxyz and is judged by the validation groups; where it has learnt something new, what it
picks is labelled and joins the dataset of round n + 1.
"""

LEARN = config["active_learning"]
LOOP = f"{RESULTS}/active_learning"
ROUNDS = LEARN["iterations"]
LEARN_RUNS = range(len(LEARN["temperatures_K"]))


rule split_dataset:
    input:
        code=code("split_dataset"),
        dataset=rules.ingest.output,
    output:
        rest=f"{LOOP}/0/dataset.extxyz",
        validation=f"{LOOP}/validation.extxyz",
    log:
        f"{RESULTS}/logs/split_dataset.log",
    benchmark:
        f"{RESULTS}/benchmarks/split_dataset.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        groups=" ".join(map(shlex.quote, LEARN["validation_groups"])),
    shell:
        "python {input.code[0]} {input.dataset} --groups {params.groups} --out {output.rest}"
        " --out-aside {output.validation} > {log} 2>&1"


use rule train_potential as learn_potential with:
    input:
        code=code("train_potential"),
        dataset=f"{LOOP}/{{round}}/dataset.extxyz",
    output:
        config=f"{LOOP}/{{round}}/potential/config.json",
        members=[f"{LOOP}/{{round}}/potential/member_{n}.uf3" for n in POTENTIAL_MEMBERS],
    log:
        f"{RESULTS}/logs/learn_potential_{{round}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/learn_potential_{{round}}.tsv"


use rule train_tensors as learn_tensors with:
    input:
        code=code("train_tensors"),
        dataset=f"{LOOP}/{{round}}/dataset.extxyz",
    output:
        config=f"{LOOP}/{{round}}/tensor_model/member_{{member}}/config.json",
        state=f"{LOOP}/{{round}}/tensor_model/member_{{member}}/state.pt",
    log:
        f"{RESULTS}/logs/learn_tensors_{{round}}_{{member}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/learn_tensors_{{round}}_{{member}}.tsv"
    params:
        resume=lambda wildcards: resume("learn_tensors", wildcards.round, wildcards.member),
        start="",  # a model to start from may have seen the validation groups


rule validate_models:
    input:
        code=code("validate_models"),
        validation=rules.split_dataset.output.validation,
        dataset=f"{LOOP}/{{round}}/dataset.extxyz",
        potential=rules.learn_potential.output.config,
        members=rules.learn_potential.output.members,
        tensors=expand(rules.learn_tensors.output.state, member=MEMBERS, allow_missing=True),
    output:
        f"{LOOP}/{{round}}/errors.json",
    log:
        f"{RESULTS}/logs/validate_models_{{round}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/validate_models_{{round}}.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        element=flags("material", element="mobile"),
        potential=subpath(input.potential, parent=True),
        tensors=lambda wildcards: f"{LOOP}/{wildcards.round}/tensor_model",
    shell:
        "python {input.code[0]} {input.validation} --dataset {input.dataset} --potential {params.potential}"
        " --tensors {params.tensors} {params.element} --out {output} > {log} 2>&1"


use rule make_structure as learn_structure with:
    output:
        f"{LOOP}/{{round}}/start_{{run}}.extxyz",
    log:
        f"{RESULTS}/logs/learn_structure_{{round}}_{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/learn_structure_{{round}}_{{run}}.tsv"
    params:
        cell=" ".join(
            [flags("active_learning", repeat="supercell"), flags("md", min_distance="min_distance_A")],
        ),
        seed=lambda wildcards: LEARN["seed"] + 100 * int(wildcards.round) + int(wildcards.run),


rule explore:
    input:
        code=code("explore"),
        start=rules.learn_structure.output,
        potential=rules.learn_potential.output.config,
        members=rules.learn_potential.output.members,
    output:
        f"{LOOP}/{{round}}/run_{{run}}.h5",
    log:
        f"{RESULTS}/logs/explore_{{round}}_{{run}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/explore_{{round}}_{{run}}.tsv"
    conda:
        POTENTIAL_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        folder=subpath(input.potential, parent=True),
        resume=lambda wildcards: resume("explore", wildcards.round, wildcards.run),
        temperature=lambda wildcards: LEARN["temperatures_K"][int(wildcards.run)],
        length=flags("active_learning", length_ps="length_ps", interval_fs="interval_fs"),
        common=flags("md", timestep_fs="timestep_fs", damping_ps="damping_ps"),
        seed=lambda wildcards: LEARN["seed"] + 100 * int(wildcards.round) + int(wildcards.run),
        unit=host_unit(),
    shell:
        "python {input.code[0]} {input.start} --potential {params.folder} --temperature {params.temperature}"
        " {params.length} {params.common} --seed {params.seed} {params.unit} --resume {params.resume} --out {output}"
        " > {log} 2>&1"


checkpoint pick_snapshots:
    input:
        code=code("pick_snapshots"),
        runs=expand(rules.explore.output, run=LEARN_RUNS, allow_missing=True),
        dataset=f"{LOOP}/{{round}}/dataset.extxyz",
        errors=lambda wildcards: [f"{LOOP}/{n}/errors.json" for n in range(int(wildcards.round) + 1)],
    output:
        f"{LOOP}/{{round}}/picked.extxyz",
    log:
        f"{RESULTS}/logs/pick_snapshots_{{round}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pick_snapshots_{{round}}.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        folder=subpath(output[0], parent=True),
        material=flags("material", element="mobile", material="name", phase="phase"),
        pick=flags("active_learning", frames="frames", min_gain="min_gain", charge="charge"),
        group=lambda wildcards: f"{config['study']}_seed_{LEARN['seed']}_round_{wildcards.round}",
    shell:
        "python {input.code[0]} {input.runs} --dataset {input.dataset} --potential {params.folder}/potential"
        " --tensors {params.folder}/tensor_model --errors {input.errors} {params.material} {params.pick}"
        " --group {params.group} --out {output} > {log} 2>&1"


use rule label_snapshot as label_picked with:
    input:
        code=code("label_snapshot"),
        pool=f"{LOOP}/{{round}}/picked.extxyz",
        beside=f"{LOOP}/{{round}}/dataset.extxyz",
        datasets=expand(rules.make_paw_dataset.output, element=DFT["valence_electrons"]),
    output:
        f"{LOOP}/{{round}}/labels/{{frame}}.extxyz",
    log:
        f"{RESULTS}/logs/label_picked_{{round}}_{{frame}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/label_picked_{{round}}_{{frame}}.tsv"
    params:
        flags=lambda wildcards, input: f"{LEVEL} --beside {input.beside}",
        text=lambda wildcards: f"{RESULTS}/logs/gpaw_{wildcards.round}_{wildcards.frame}.txt",


use rule gather_labels as extend_dataset with:
    input:
        code=code("gather_labels"),
        frames=lambda wildcards: [
            f"{LOOP}/{int(wildcards.round) - 1}/dataset.extxyz",
            *picked_labels(checkpoints, LOOP, int(wildcards.round) - 1),
        ],
    output:
        f"{LOOP}/{{round}}/dataset.extxyz",
    log:
        f"{RESULTS}/logs/extend_dataset_{{round}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extend_dataset_{{round}}.tsv"
    wildcard_constraints:
        round="[1-9][0-9]*",
    params:
        flags="",


rule learning_table:
    input:
        code=code("learning_table"),
        errors=lambda wildcards: [f"{LOOP}/{n}/errors.json" for n in range(last_round(checkpoints, LOOP, ROUNDS) + 1)],
    output:
        f"{LOOP}/learning.csv",
    log:
        f"{RESULTS}/logs/learning_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/learning_table.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.errors} --out {output} > {log} 2>&1"


use rule gather_labels as learnt_dataset with:
    input:
        code=code("gather_labels"),
        frames=lambda wildcards: [
            f"{LOOP}/{last_round(checkpoints, LOOP, ROUNDS)}/dataset.extxyz",
            rules.split_dataset.output.validation,
        ],
    output:
        f"{LOOP}/dataset.extxyz",
    log:
        f"{RESULTS}/logs/learnt_dataset.log",
    benchmark:
        f"{RESULTS}/benchmarks/learnt_dataset.tsv"
    params:
        flags="",


rule plot_learning:
    input:
        code=code("plot_learning"),
        table=rules.learning_table.output,
    output:
        pdf=f"{LOOP}/learning.pdf",
        png=f"{LOOP}/learning.png",
    log:
        f"{RESULTS}/logs/plot_learning.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_learning.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"
