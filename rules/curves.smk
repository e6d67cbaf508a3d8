"""Learning curves of tensor and scalar models: `snakemake curves`, and on 29Si shieldings, `snakemake silicates`, where
the network is also measured on both splits. No part of the study itself: they take hours.
"""

CURVES = config.get("learning_curves", {"sizes": [], "repeats": 2, "learning_rates": {}})
SILICATES = config.get("silicates", {"sizes": [], "repeats": 0})
SILICATE_GROUPS = os.path.relpath(Path(workflow.basedir) / "resources" / "benchmarks" / "si29_groups.json")


rule curve_point:
    input:
        code=code("curve_point"),
        dataset=rules.ingest.output,
    output:
        f"{RESULTS}/curves/{{kind}}_{{size}}_{{repeat}}.csv",
    log:
        f"{RESULTS}/logs/curve_point_{{kind}}_{{size}}_{{repeat}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/curve_point_{{kind}}_{{size}}_{{repeat}}.tsv"
    wildcard_constraints:
        kind="tensor|invariants|coupling",
        size="[0-9]+",
        repeat="[0-9]+",
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        resume=lambda wildcards: resume("curve_point", wildcards.kind, wildcards.size, wildcards.repeat),
        isotope=config["material"]["isotope"],
        repeats=CURVES["repeats"],
        flags=TENSOR_FLAGS,
        # The last of two flags of one name counts.
        own=lambda wildcards: flags("learning_curves/learning_rates", learning_rate=wildcards.kind),
    shell:
        "python {input.code[0]} {input.dataset} --kind {wildcards.kind} --size {wildcards.size}"
        " --member {wildcards.repeat} --repeats {params.repeats} --isotope {params.isotope} {params.flags}"
        " {params.own} --resume {params.resume} --threads {threads} --out {output} > {log} 2>&1"


rule read_silicates:
    input:
        code=code("read_si29"),
        table=SILICATES.get("table", []),
        groups=SILICATE_GROUPS,
    output:
        f"{RESULTS}/silicates/si29.extxyz",
    log:
        f"{RESULTS}/logs/read_silicates.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_silicates.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --groups {input.groups} --out {output} > {log} 2>&1"


rule silicate_point:
    input:
        code=code("benchmark_si29"),
        dataset=rules.read_silicates.output,
    output:
        f"{RESULTS}/silicates/{{split}}_{{kind}}_{{size}}_{{repeat}}.csv",
    log:
        f"{RESULTS}/logs/silicate_point_{{split}}_{{kind}}_{{size}}_{{repeat}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/silicate_point_{{split}}_{{kind}}_{{size}}_{{repeat}}.tsv"
    wildcard_constraints:
        split="grouped|random",
        kind="tensor|invariants|isotropic",
        size="[0-9]+",
        repeat="[0-9]+",
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=480,
    params:
        resume=lambda wildcards: resume(
            "silicate_point", wildcards.split, wildcards.kind, wildcards.size, wildcards.repeat
        ),
        network=TENSOR_FLAGS,
        flags=flags("silicates", folds="folds", epochs="epochs", batch_size="batch_size"),
    shell:
        "python {input.code[0]} {input.dataset} --split {wildcards.split} --kind {wildcards.kind} --size {wildcards.size}"
        " --member {wildcards.repeat} {params.network} {params.flags} --resume {params.resume} --threads {threads}"
        " --out {output} > {log} 2>&1"


# The points of the curves in each folder; those of silicates are of the grouped split.
CURVE_POINTS = {
    "curves": expand(
        rules.curve_point.output,
        kind=["tensor", "invariants", "coupling"],
        size=[*CURVES["sizes"], 0],
        repeat=range(CURVES["repeats"]),
    ),
    "silicates": expand(
        rules.silicate_point.output,
        split="grouped",
        kind=["tensor", "invariants", "isotropic"],
        size=[*SILICATES["sizes"], 0],
        repeat=range(SILICATES["repeats"]),
    ),
}


rule curve_table:
    input:
        code=code("gather_tables"),
        tables=lambda wildcards: CURVE_POINTS[wildcards.curves],
    output:
        f"{RESULTS}/{{curves}}/curves.csv",
    log:
        f"{RESULTS}/logs/{{curves}}_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{curves}}_table.tsv"
    wildcard_constraints:
        curves="curves|silicates",
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.tables} --out {output} > {log} 2>&1"


rule curve_ratios:
    input:
        code=code("curve_ratios"),
        table=rules.curve_table.output,
    output:
        f"{RESULTS}/{{curves}}/ratios.csv",
    log:
        f"{RESULTS}/logs/{{curves}}_ratios.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{curves}}_ratios.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --out {output} > {log} 2>&1"


rule plot_curves:
    input:
        code=code("plot_curves"),
        table=curve_points_table,
    output:
        pdf="{root}/{curves}/curves.pdf",
        png="{root}/{curves}/curves.png",
    log:
        "{root}/logs/plot_{curves}.log",
    benchmark:
        "{root}/benchmarks/plot_{curves}.tsv"
    wildcard_constraints:
        root="|".join([RESULTS, f"results/published/{config['study']}"]),
        curves="curves|silicates",
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"
